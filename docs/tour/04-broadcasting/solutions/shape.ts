/** Returns the shape of a + b. Throws an Error if the shapes do not broadcast. */
export function broadcastShape(a: readonly number[], b: readonly number[]): number[] {
  const rank = Math.max(a.length, b.length);
  return Array.from({ length: rank }, (_, i) => {
    const sizeA = a[i - rank + a.length] ?? 1;
    const sizeB = b[i - rank + b.length] ?? 1;
    if (sizeA !== sizeB && sizeA !== 1 && sizeB !== 1) throw new Error(`shapes [${a.join()}] and [${b.join()}] do not broadcast`);
    return sizeA === 1 ? sizeB : sizeA;
  });
}
