/**
 * Reference convolutions. Sums are float64, rounded once.
 */
import type { ConvParams, Kernels } from '../interface.ts';
import { viewOf } from '../memory/wasm-memory.ts';
import type { View } from '../view.ts';
import { at, position, Sums, type Four, type Place } from './strided.ts';

type Visit = (x: number, w: number, g: number) => void;

/**
 * Visits the terms of the trilinear form ⟨g, x ⋆ w⟩ = Σ g·x·w, whose partial derivatives are the three convolution kernels. A term has
 * the positions of x[n, first channel of the group + c, h, v], w[o, c, i, j] and g[n, o, oh, ow], where
 *   h = oh·stride − padding + i·dilation, and v likewise along the width
 */
function convTerms(sizes: { x: View; w: View; g: View }, X: Place, W: Place, G: Place, p: ConvParams, visit: Visit): void {
  const [N, O, OH, OW] = sizes.g.shape as Four;
  const [, , H, width] = sizes.x.shape as Four;
  const [, CG, KH, KW] = sizes.w.shape as Four;
  const [, xStep] = X.strides as Four;
  const [, wStep] = W.strides as Four;
  for (let n = 0; n < N; n++) {
    for (let o = 0; o < O; o++) {
      const channel = Math.floor(o / (O / p.groups)) * CG;
      for (let oh = 0; oh < OH; oh++) {
        for (let ow = 0; ow < OW; ow++) {
          const g = position(G, n, o, oh, ow);
          for (let i = 0; i < KH; i++) {
            const h = oh * p.stride[0] - p.padding[0] + i * p.dilation[0];
            if (h < 0 || h >= H) continue;
            for (let j = 0; j < KW; j++) {
              const v = ow * p.stride[1] - p.padding[1] + j * p.dilation[1];
              if (v < 0 || v >= width) continue;
              let x = position(X, n, channel, h, v);
              let w = position(W, o, 0, i, j);
              for (let c = 0; c < CG; c++, x += xStep, w += wStep) visit(x, w, g);
            }
          }
        }
      }
    }
  }
}

export const convolutions: Pick<Kernels, 'conv2d' | 'conv2dGradX' | 'conv2dGradW'> = {
  /** y = Σ x·w over the terms of each y */
  conv2d(x, w, y, p) {
    const X = viewOf(x.dtype);
    const W = viewOf(w.dtype);
    const sums = new Sums(y);
    convTerms({ x, w, g: y }, at(x), at(w), sums.place, p, (i, k, o) => (sums.values[o]! += X[i]! * W[k]!));
    sums.storeIn(viewOf(y.dtype));
  },

  /** dx = Σ g·w over the terms of each x */
  conv2dGradX(g, w, dx, p) {
    const G = viewOf(g.dtype);
    const W = viewOf(w.dtype);
    const sums = new Sums(dx);
    convTerms({ x: dx, w, g }, sums.place, at(w), at(g), p, (i, k, o) => (sums.values[i]! += G[o]! * W[k]!));
    sums.storeIn(viewOf(dx.dtype));
  },

  /** dw = Σ g·x over the terms of each w */
  conv2dGradW(g, x, dw, p) {
    const G = viewOf(g.dtype);
    const X = viewOf(x.dtype);
    const sums = new Sums(dw);
    convTerms({ x, w: dw, g }, at(x), sums.place, at(g), p, (i, k, o) => (sums.values[k]! += G[o]! * X[i]!));
    sums.storeIn(viewOf(dw.dtype));
  },
};
