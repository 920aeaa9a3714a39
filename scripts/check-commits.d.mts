export declare function faultsOf(subject: string): string[];
export declare function commitsAfter(base: string, cwd: string): { commits: { hash: string; subject: string }[]; note: string };
