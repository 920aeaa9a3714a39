export function playgroundPage(): Promise<string>;
export function buildPlayground(): Promise<{ readonly path: string; readonly bytes: number; readonly packed: number }>;
