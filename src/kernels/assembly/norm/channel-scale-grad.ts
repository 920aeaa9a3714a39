/**
 * The gradient of scaling each channel of each image by a number.
 */
import { Input, OptionalOutput, Output } from '../runtime/abi';
import { blockRows, numberAt, vectorAt } from './row-statistics';
import { addWide, lanes } from '../simd/vector';

@unmanaged
class ScaleChannelsGradArgs {
  g: Input;
  x: Input;
  dx: OptionalOutput;
  s: Input;
  ds: Output;
  /** Sums [N, C], float64. */
  sums: usize;
  /** The number of pixels of an image. */
  pixels: i32;
  C: i32;
}

/** ds[n,c] = Σ g·x over the pixels of image n, and dx = g·s in the same pass. A chunk is an image. For sums see row-statistics.ts. */
// @ts-ignore: decorator
@inline
function scaleGrad<T>(args: ScaleChannelsGradArgs, first: i32, last: i32): void {
  const toX = args.x - args.g;
  const dx = args.dx;
  const toDx = dx - args.g;
  const pixels = args.pixels;
  const C = args.C;
  const rowBytes = <usize>C * sizeof<T>();
  const step = blockRows<T>(C);
  for (let image = first; image < last; image++) {
    const g = args.g + <usize>image * <usize>pixels * rowBytes;
    const s = args.s + <usize>image * rowBytes;
    const out = args.sums + <usize>image * <usize>C * 8;
    memory.fill(out, 0, <usize>C * 8);
    for (let r = 0; r < pixels; r += step) {
      const rows = min(step, pixels - r);
      const block = g + <usize>r * rowBytes;
      let c = 0;
      for (; c + 2 * lanes<T>() <= C; c += 2 * lanes<T>()) {
        let a0 = v128.splat<T>(0), a1 = a0;
        const s0 = vectorAt<T>(s, c), s1 = vectorAt<T>(s, c + lanes<T>());
        let p = block + <usize>c * sizeof<T>();
        for (let i = 0; i < rows; i++, p += rowBytes) {
          const g0 = v128.load(p), g1 = v128.load(p, 16);
          a0 = v128.add<T>(a0, v128.mul<T>(g0, v128.load(p + toX)));
          a1 = v128.add<T>(a1, v128.mul<T>(g1, v128.load(p + toX, 16)));
          if (dx == 0) continue;
          const d0 = v128.mul<T>(g0, s0), d1 = v128.mul<T>(g1, s1);
          v128.store(p + toDx, d0);
          v128.store(p + toDx, d1, 16);
        }
        addWide<T>(out + <usize>c * 8, a0);
        addWide<T>(out + <usize>c * 8 + 8 * lanes<T>(), a1);
      }
      for (; c < C; c++) {
        let a = <T>0;
        const scale = numberAt<T>(s, c);
        let p = block + <usize>c * sizeof<T>();
        for (let i = 0; i < rows; i++, p += rowBytes) {
          const v = load<T>(p);
          a += v * load<T>(p + toX);
          if (dx != 0) store<T>(p + toDx, v * scale);
        }
        const o = out + <usize>c * 8;
        store<f64>(o, load<f64>(o) + <f64>a);
      }
    }
    const ds = args.ds + <usize>image * rowBytes;
    for (let c = 0; c < C; c++) store<T>(ds + <usize>c * sizeof<T>(), <T>load<f64>(out + <usize>c * 8));
  }
}

export function scaleChannelsGrad_f32(args: ScaleChannelsGradArgs, first: i32, last: i32): void {
  scaleGrad<f32>(args, first, last);
}

export function scaleChannelsGrad_f64(args: ScaleChannelsGradArgs, first: i32, last: i32): void {
  scaleGrad<f64>(args, first, last);
}
