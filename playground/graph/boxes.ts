/**
 * The boxes of nodes and the lines between them, as they are drawn.
 */
import { type Grid, formatShape, gridOf } from './format.ts';
import type { NodeView } from './walk.ts';

export interface Point {
  readonly x: number;
  readonly y: number;
}

/** A node's rectangle, and how its numbers are laid out in it. */
export interface Box {
  /** The top left corner, in pixels. */
  readonly x: number;
  readonly y: number;
  readonly width: number;
  readonly height: number;
  readonly grid: Grid;
  /** Whether it shows numbers; otherwise a picture. */
  readonly hasNumbers: boolean;
  /** The size of one number, or of one pixel. */
  readonly cell: { readonly width: number; readonly height: number };
}

/** An edge from a node to one that uses it. */
export interface EdgePath {
  readonly from: number;
  readonly to: number;
  /** The position among the inputs of `to`. */
  readonly input: number;
  readonly points: readonly Point[];
}

export interface Placed {
  readonly width: number;
  readonly height: number;
  readonly boxes: readonly Box[];
  readonly edges: readonly EdgePath[];
}

/** The space around the parts of a box. */
export const BOX = { padding: 10, title: 40, label: 38, gap: 6 } as const;
const NUMBER = { width: 54, height: 18 } as const;
/** Pictures are at most this large, and so are the pixels in them. */
const PICTURE = { width: 168, height: 72, pixel: 9 } as const;

/** Whether numbers fit in a node: up to 4 rows and 4 columns, 12 in all. */
export function showsNumbers({ rows, columns }: Grid): boolean {
  return rows <= 4 && columns <= 4 && rows * columns <= 12;
}

/** Returns the second line of a node: its operation and shape. */
export function subtitleOf({ op, kind, shape }: NodeView): string {
  if (kind === 'operation') return `${op} ${formatShape(shape)}`;
  return `${kind} ${formatShape(shape)}`;
}

/** Whether a node is a number that is written without a box of its own parts. */
export function isBareNumber({ kind, shape, name }: NodeView): boolean {
  return kind === 'constant' && shape.length === 0 && /^[−\d]|^NaN$|^∞$/.test(name);
}

/** Returns the size of a node's box. */
export function sizeOf(node: NodeView): Omit<Box, 'x' | 'y'> {
  const grid = gridOf(node.shape);
  const hasNumbers = showsNumbers(grid);
  if (isBareNumber(node)) return { grid, hasNumbers, cell: NUMBER, width: 18 + 8 * node.name.length, height: 28 };
  const pixel = Math.max(1, Math.min(PICTURE.pixel, PICTURE.width / grid.columns, PICTURE.height / grid.rows));
  const cell = hasNumbers ? NUMBER : { width: pixel, height: pixel };
  const rows = node.kind === 'constant' ? 1 : 2;
  const title = Math.max(8.2 * node.name.length, 6.4 * subtitleOf(node).length);
  const content = BOX.label + cell.width * grid.columns;
  return {
    grid,
    hasNumbers,
    cell,
    width: Math.max(title, content) + 2 * BOX.padding,
    height: BOX.title + rows * (cell.height * grid.rows + BOX.gap) + BOX.padding,
  };
}

/** Returns a smooth path through points. */
export function pathOf(points: readonly Point[]): string {
  const [first, ...rest] = points;
  if (first === undefined) return '';
  const parts = [`M${text(first)}`];
  rest.forEach((p, i) => {
    const next = rest[i + 1];
    if (next === undefined) parts.push(`L${text(p)}`);
    else parts.push(`Q${text(p)} ${text({ x: (p.x + next.x) / 2, y: (p.y + next.y) / 2 })}`);
  });
  return parts.join(' ');
}

function text({ x, y }: Point): string {
  return `${x.toFixed(1)} ${y.toFixed(1)}`;
}
