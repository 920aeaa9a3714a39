/**
 * The gradient of scaling each channel of each image by a number.
 */
import { Input, OptionalOutput, Output } from '../runtime/abi';
import { blockRows } from './row-statistics';
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

/**
 * dx = g·s for `rows` rows of g at p, with dx at p + toDx. A row is completed before the next one: outside the caches, writes out of order take
 * several times as long.
 */
// @ts-ignore: decorator
@inline
function scaleRows<T>(p: usize, toDx: usize, rows: i32, rowBytes: usize, s: usize): void {
  const whole = rowBytes & ~63;
  for (const end = p + <usize>rows * rowBytes; p < end; ) {
    let q = s;
    for (const stop = s + whole; q < stop; q += 64, p += 64) {
      const d0 = v128.mul<T>(v128.load(p), v128.load(q)), d1 = v128.mul<T>(v128.load(p, 16), v128.load(q, 16));
      const d2 = v128.mul<T>(v128.load(p, 32), v128.load(q, 32)), d3 = v128.mul<T>(v128.load(p, 48), v128.load(q, 48));
      const to = p + toDx;
      v128.store(to, d0);
      v128.store(to, d1, 16);
      v128.store(to, d2, 32);
      v128.store(to, d3, 48);
    }
    for (const stop = s + rowBytes; q < stop; q += sizeof<T>(), p += sizeof<T>()) store<T>(p + toDx, load<T>(p) * load<T>(q));
  }
}

/** Reads each cache line of `rows` rows at p in order. The sums then read them out of order, some channels at a time. */
// @ts-ignore: decorator
@inline
function prefetch(p: usize, rows: i32, rowBytes: usize): void {
  for (const end = p + <usize>rows * rowBytes; p < end; p += 64) load<u8>(p);
}

/** ds[n,c] = Σ g·x over the pixels of image n, and dx = g·s, block by block. A chunk is an image. For sums see row-statistics.ts. */
// @ts-ignore: decorator
@inline
function scaleGrad<T>(args: ScaleChannelsGradArgs, first: i32, last: i32): void {
  const toX = args.x - args.g;
  const toDx = args.dx - args.g;
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
      if (args.dx != 0) scaleRows<T>(block, toDx, rows, rowBytes, s);
      prefetch(block + toX, rows, rowBytes);
      let c = 0;
      for (; c + 4 * lanes<T>() <= C; c += 4 * lanes<T>()) {
        let a0 = v128.splat<T>(0), a1 = a0, a2 = a0, a3 = a0;
        let p = block + <usize>c * sizeof<T>();
        for (let i = 0; i < rows; i++, p += rowBytes) {
          const g0 = v128.load(p), g1 = v128.load(p, 16), g2 = v128.load(p, 32), g3 = v128.load(p, 48);
          const x = p + toX;
          a0 = v128.add<T>(a0, v128.mul<T>(g0, v128.load(x)));
          a1 = v128.add<T>(a1, v128.mul<T>(g1, v128.load(x, 16)));
          a2 = v128.add<T>(a2, v128.mul<T>(g2, v128.load(x, 32)));
          a3 = v128.add<T>(a3, v128.mul<T>(g3, v128.load(x, 48)));
        }
        const o = out + <usize>c * 8;
        addWide<T>(o, a0);
        addWide<T>(o + 8 * lanes<T>(), a1);
        addWide<T>(o + 16 * lanes<T>(), a2);
        addWide<T>(o + 24 * lanes<T>(), a3);
      }
      for (; c + 2 * lanes<T>() <= C; c += 2 * lanes<T>()) {
        let a0 = v128.splat<T>(0), a1 = a0;
        let p = block + <usize>c * sizeof<T>();
        for (let i = 0; i < rows; i++, p += rowBytes) {
          const g0 = v128.load(p), g1 = v128.load(p, 16);
          a0 = v128.add<T>(a0, v128.mul<T>(g0, v128.load(p + toX)));
          a1 = v128.add<T>(a1, v128.mul<T>(g1, v128.load(p + toX, 16)));
        }
        addWide<T>(out + <usize>c * 8, a0);
        addWide<T>(out + <usize>c * 8 + 8 * lanes<T>(), a1);
      }
      for (; c < C; c++) {
        let a = <T>0;
        let p = block + <usize>c * sizeof<T>();
        for (let i = 0; i < rows; i++, p += rowBytes) a += load<T>(p) * load<T>(p + toX);
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
