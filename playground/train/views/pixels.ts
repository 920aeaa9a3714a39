/**
 * Draws images and filters: canvases of one pixel per number, enlarged by CSS.
 */
import type { Filters } from '../observe.ts';
import type { Pictures } from '../messages.ts';
import { h } from '../../ui/dom.ts';

/** Returns an empty canvas for pictures. `label` says in words what it shows. */
export function pictureCanvas(label = ''): HTMLCanvasElement {
  return h('canvas', { class: 'picture', role: 'img', 'aria-label': label, width: 1, height: 1 });
}

/** Draws test image `index`. Images of one channel are grey. */
export function drawImage(canvas: HTMLCanvasElement, { pixels, shape: [C, H, W] }: Pictures, index: number, label: string): void {
  canvas.width = W;
  canvas.height = H;
  canvas.setAttribute('aria-label', label);
  const context = canvas.getContext('2d')!;
  const image = context.createImageData(W, H);
  const start = index * C * H * W;
  for (let i = 0; i < H * W; i++) {
    for (let c = 0; c < 3; c++) image.data[4 * i + c] = pixels[start + (C === 3 ? c : 0) * H * W + i]!;
    image.data[4 * i + 3] = 255;
  }
  context.putImageData(image, 0, 0);
}

/** Draws filters [O,C,K,K] in rows of `columns`, each scaled by its largest weight, with 0 as middle grey. */
export function drawFilters(canvas: HTMLCanvasElement, { shape, values }: Filters, columns: number, label: string): void {
  const [O, C, K] = shape as [number, number, number];
  canvas.width = columns * (K + 1) - 1;
  canvas.height = Math.ceil(O / columns) * (K + 1) - 1;
  canvas.setAttribute('aria-label', label);
  const context = canvas.getContext('2d')!;
  const tile = context.createImageData(K, K);
  const size = C * K * K;
  for (let o = 0; o < O; o++) {
    const filter = values.subarray(o * size, (o + 1) * size);
    let most = Number.MIN_VALUE;
    for (const w of filter) most = Math.max(most, Math.abs(w));
    for (let i = 0; i < K * K; i++) {
      for (let c = 0; c < 3; c++) tile.data[4 * i + c] = 127.5 + (127.5 * filter[(C === 3 ? c : 0) * K * K + i]!) / most;
      tile.data[4 * i + 3] = 255;
    }
    context.putImageData(tile, (o % columns) * (K + 1), Math.floor(o / columns) * (K + 1));
  }
}
