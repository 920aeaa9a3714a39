export function operand(n: number, salt: number, scale?: number): Float32Array;
export function samples(elements: ArrayLike<number>): number[];
