/**
 * Writes numbers into the text of a program.
 */

/** Returns the program with the numbers of a leaf replaced. */
export function withValues(
  program: string,
  { name, line }: { readonly name: string; readonly line: number },
  shape: readonly number[],
  values: readonly number[],
): string {
  const lines = program.split('\n');
  const comment = /\s*\/\/.*$/.exec(lines[line - 1]!)?.[0] ?? '';
  lines[line - 1] = `${name} = ${literal(values, shape)}${comment}`;
  return lines.join('\n');
}

function literal(values: readonly number[], shape: readonly number[]): string {
  if (shape.length === 0) return String(values[0]);
  const size = values.length / shape[0]!;
  const parts = Array.from({ length: shape[0]! }, (_, i) => literal(values.slice(i * size, (i + 1) * size), shape.slice(1)));
  return `[${parts.join(', ')}]`;
}
