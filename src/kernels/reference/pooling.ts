/**
 * Reference pooling.
 */
import type { Kernels } from '../interface.ts';
import { viewOf } from '../memory/wasm-memory.ts';
import { adaptiveWindows, averageWindows, type Windows } from '../pool-windows.ts';
import { at, position, Sums, type Four, type Place } from './strided.ts';
import type { View } from '../view.ts';

/** Calls `fn` for each term x / divisor of every y, with the positions of x and y. The gradient has the same terms. */
function averageTerms(y: View, w: Windows, X: Place, Y: Place, fn: (x: number, y: number, divisor: number) => void): void {
  const [N, C] = y.shape as Four;
  for (let n = 0; n < N; n++) {
    for (let c = 0; c < C; c++) {
      w.rows.forEach((row, oh) => {
        w.columns.forEach((column, ow) => {
          const o = position(Y, n, c, oh, ow);
          const divisor = w.divisor * row.size * column.size;
          for (let h = row.first; h < row.end; h++) {
            for (let v = column.first; v < column.end; v++) fn(position(X, n, c, h, v), o, divisor);
          }
        });
      });
    }
  }
}

/** y = Σ x / divisor over the terms of each y */
function average(x: View, y: View, w: Windows): void {
  const X = viewOf(x.dtype);
  const sums = new Sums(y);
  averageTerms(y, w, at(x), sums.place, (i, o, divisor) => (sums.values[o]! += X[i]! / divisor));
  sums.storeIn(viewOf(y.dtype));
}

/** dx = Σ g / divisor over the terms of each x */
function averageGrad(g: View, dx: View, w: Windows): void {
  const G = viewOf(g.dtype);
  const sums = new Sums(dx);
  averageTerms(g, w, sums.place, at(g), (i, o, divisor) => (sums.values[i]! += G[o]! / divisor));
  sums.storeIn(viewOf(dx.dtype));
}

type Pooling = 'maxPool2d' | 'maxPool2dGrad' | 'avgPool2d' | 'avgPool2dGrad' | 'adaptiveAvgPool2d' | 'adaptiveAvgPool2dGrad';

export const pooling: Pick<Kernels, Pooling> = {
  /** y = max x over the window, index of the first, or of the last NaN; −∞ and index 0 for a window without taps inside the image */
  maxPool2d(x, y, index, p) {
    const X = viewOf(x.dtype);
    const Y = viewOf(y.dtype);
    const I = viewOf(index.dtype);
    const [N, C, OH, OW] = y.shape as Four;
    const [, , H, W] = x.shape as Four;
    const px = at(x);
    const py = at(y);
    const pi = at(index);
    for (let n = 0; n < N; n++) {
      for (let c = 0; c < C; c++) {
        for (let oh = 0; oh < OH; oh++) {
          for (let ow = 0; ow < OW; ow++) {
            let best = -Infinity;
            let where = -1;
            for (let i = 0; i < p.kernel[0]; i++) {
              const h = oh * p.stride[0] - p.padding[0] + i * p.dilation[0];
              if (h < 0 || h >= H) continue;
              for (let j = 0; j < p.kernel[1]; j++) {
                const w = ow * p.stride[1] - p.padding[1] + j * p.dilation[1];
                if (w < 0 || w >= W) continue;
                const v = X[position(px, n, c, h, w)]!;
                if (where < 0 || v > best || v !== v) {
                  best = v;
                  where = h * W + w;
                }
              }
            }
            Y[position(py, n, c, oh, ow)] = best;
            I[position(pi, n, c, oh, ow)] = Math.max(where, 0);
          }
        }
      }
    }
  },

  /** dx at index += g, for each window with a tap inside the image */
  maxPool2dGrad(g, index, dx, p) {
    const G = viewOf(g.dtype);
    const I = viewOf(index.dtype);
    const [, C, H, W] = dx.shape as Four;
    const pg = at(g);
    const pi = at(index);
    const sums = new Sums(dx);
    /** Returns whether window o along a dim of `size` has a tap inside the image. */
    const hasTap = (side: 0 | 1, o: number, size: number): boolean =>
      Array.from({ length: p.kernel[side] }, (_, i) => o * p.stride[side] - p.padding[side] + i * p.dilation[side]).some(
        (t) => t >= 0 && t < size,
      );
    const [N, , OH, OW] = g.shape as Four;
    for (let oh = 0; oh < OH; oh++) {
      for (let ow = 0; ow < OW; ow++) {
        if (!hasTap(0, oh, H) || !hasTap(1, ow, W)) continue;
        for (let n = 0; n < N; n++) {
          for (let c = 0; c < C; c++) {
            const target = (n * C + c) * H * W + I[position(pi, n, c, oh, ow)]!;
            sums.values[target]! += G[position(pg, n, c, oh, ow)]!;
          }
        }
      }
    }
    sums.storeIn(viewOf(dx.dtype));
  },

  avgPool2d(x, y, p) {
    average(x, y, averageWindows(x.shape, y.shape, p));
  },

  avgPool2dGrad(g, dx, p) {
    averageGrad(g, dx, averageWindows(dx.shape, g.shape, p));
  },

  adaptiveAvgPool2d(x, y) {
    average(x, y, adaptiveWindows(x.shape, y.shape));
  },

  adaptiveAvgPool2dGrad(g, dx) {
    averageGrad(g, dx, adaptiveWindows(dx.shape, g.shape));
  },
};
