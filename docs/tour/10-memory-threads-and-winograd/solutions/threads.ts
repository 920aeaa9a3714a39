/** Adds partial sums by the number of their chunk, whichever was finished first. */
export function chunkedSum(values: readonly number[], size: number, finished: readonly number[]): number {
  const partial: number[] = [];
  for (const chunk of finished) {
    partial[chunk] = values.slice(chunk * size, (chunk + 1) * size).reduce((sum, value) => sum + value, 0);
  }
  return partial.reduce((sum, value) => sum + value, 0);
}
