/**
 * A matrix as a picture: one pixel of the canvas per number, enlarged by CSS.
 */
import { h } from './dom.ts';
import { color } from './theme.ts';

/** A matrix in row-major order. */
export interface Matrix {
  readonly values: ArrayLike<number>;
  readonly rows: number;
  readonly columns: number;
}

export interface HeatMapOptions {
  /** Says in words what the picture shows. */
  readonly label: string;
  /** The numbers at the two ends of the scale. Default: the range of the values; with `diverging` symmetric about 0. */
  readonly range?: readonly [low: number, high: number];
  /** Two colours about the middle of the range, for numbers of both signs. Default: one colour, from faint to full. */
  readonly diverging?: boolean;
}

/** Returns a canvas that shows the matrix. */
export function heatMap(matrix: Matrix, options: HeatMapOptions): HTMLCanvasElement {
  const canvas = blankHeatMap(options.label);
  drawHeatMap(canvas, matrix, options);
  return canvas;
}

/** Returns a canvas for a matrix that is not known yet. */
export function blankHeatMap(label: string): HTMLCanvasElement {
  return h('canvas', { class: 'heat-map', role: 'img', 'aria-label': label, width: 1, height: 1 });
}

/** Draws the matrix into a canvas that one of the above made. */
export function drawHeatMap(canvas: HTMLCanvasElement, { values, rows, columns }: Matrix, options: HeatMapOptions): void {
  const { label, diverging = false } = options;
  const [low, high] = options.range ?? rangeOf(values, diverging);
  canvas.width = columns;
  canvas.height = rows;
  canvas.setAttribute('aria-label', label);
  canvas.title = label;
  const context = canvas.getContext('2d')!;
  const pixels = context.createImageData(columns, rows);
  const paper = rgb(color('panel'));
  const [below, above] = diverging ? [rgb(color('plain')), rgb(color('se'))] : [paper, rgb(color('se'))];
  const middle = diverging ? (low + high) / 2 : low;
  const halfRange = Math.max(high - middle, Number.MIN_VALUE);
  for (let i = 0; i < rows * columns; i++) {
    const share = Math.max(-1, Math.min(1, (values[i]! - middle) / halfRange));
    const end = share < 0 ? below : above;
    for (let c = 0; c < 3; c++) pixels.data[4 * i + c] = paper[c]! + Math.abs(share) * (end[c]! - paper[c]!);
    pixels.data[4 * i + 3] = Number.isNaN(values[i]!) ? 0 : 255;
  }
  context.putImageData(pixels, 0, 0);
}

/** Returns the smallest and the largest finite value; symmetric about 0 if `symmetric`. */
function rangeOf(values: ArrayLike<number>, symmetric: boolean): readonly [number, number] {
  let low = Infinity;
  let high = -Infinity;
  for (let i = 0; i < values.length; i++) {
    if (!Number.isFinite(values[i]!)) continue;
    low = Math.min(low, values[i]!);
    high = Math.max(high, values[i]!);
  }
  if (low > high) return [0, 1];
  if (!symmetric) return [low, high];
  const most = Math.max(Math.abs(low), Math.abs(high));
  return [-most, most];
}

/** Returns red, green and blue of a colour as six hexadecimal digits. */
function rgb(hex: string): readonly [number, number, number] {
  const value = Number.parseInt(hex.slice(1), 16);
  return [value >> 16, (value >> 8) & 255, value & 255];
}
