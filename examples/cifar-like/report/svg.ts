/**
 * Parts of the drawings: boxes, arrows and text, in units of about a pixel. style.css has the colours.
 */
import { type Html, html } from './html.ts';

/** A drawing that scales with its column, and never above its own size. */
export function svg(width: number, height: number, title: string, parts: readonly Html[]): Html {
  return html`<svg class="drawing" viewBox="0 0 ${width} ${height}" style="max-width:${width}px" role="img" aria-label="${title}">${parts}</svg>`;
}

export interface Box {
  readonly x: number;
  readonly y: number;
  readonly width: number;
  readonly height: number;
}

/** A box with a centred label. `kind` is a class of style.css. */
export function box({ x, y, width, height }: Box, label: string, kind = 'layer'): Html {
  return html`<g class="${kind}"><rect x="${x}" y="${y}" width="${width}" height="${height}" rx="6"/>${text(x + width / 2, y + height / 2, label)}</g>`;
}

/** Text that is centred vertically at y. */
export function text(x: number, y: number, label: string, { anchor = 'middle', kind = '' } = {}): Html {
  return html`<text x="${x}" y="${y}" dy="0.35em" text-anchor="${anchor}" class="${kind}">${label}</text>`;
}

/** An arrow through the given points, with its head at the last one; each piece is horizontal or vertical. */
export function arrow(...points: readonly (readonly [x: number, y: number])[]): Html {
  const [x, y] = points.at(-1)!;
  const [fromX, fromY] = points.at(-2)!;
  const dx = Math.sign(x - fromX);
  const dy = Math.sign(y - fromY);
  const line = points.map(([px, py], i) => `${i === 0 ? 'M' : 'L'}${px} ${py}`).join('');
  const base = [x - 7 * dx, y - 7 * dy] as const;
  const head = `M${x} ${y}L${base[0] + 4 * dy} ${base[1] + 4 * dx}L${base[0] - 4 * dy} ${base[1] - 4 * dx}Z`;
  return html`<path class="line" d="${line}"/><path class="head" d="${head}"/>`;
}
