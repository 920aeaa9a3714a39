/**
 * The multiply-add loop that measures a core's SIMD peak. bench/peak.ts compiles it; the package does not contain it.
 */

/** The arguments, as bench/peak.ts writes them. */
@unmanaged
class PeakArgs {
  /** A vector for each chunk. */
  out: usize;
  rounds: i32;
  /** A vector of factors, then one of addends. */
  operands: usize;
}

/** Each chunk runs `rounds` rounds of 12 independent multiply-adds of whole vectors. Stores their sum, so that nothing is optimised away. */
// @ts-ignore: decorator
@inline
function peak<T>(args: PeakArgs, first: i32, last: i32): void {
  const out = args.out;
  const rounds = args.rounds;
  const m = v128.load(args.operands);
  const a = v128.load(args.operands, 16);
  for (let chunk = first; chunk < last; chunk++) {
    let c0 = v128.splat<T>(<T>1), c1 = v128.splat<T>(<T>2), c2 = v128.splat<T>(<T>3), c3 = v128.splat<T>(<T>4);
    let c4 = v128.splat<T>(<T>5), c5 = v128.splat<T>(<T>6), c6 = v128.splat<T>(<T>7), c7 = v128.splat<T>(<T>8);
    let c8 = v128.splat<T>(<T>9), c9 = v128.splat<T>(<T>10), c10 = v128.splat<T>(<T>11), c11 = v128.splat<T>(<T>12);
    for (let i = 0; i < rounds; i++) {
      c0 = v128.add<T>(v128.mul<T>(c0, m), a);
      c1 = v128.add<T>(v128.mul<T>(c1, m), a);
      c2 = v128.add<T>(v128.mul<T>(c2, m), a);
      c3 = v128.add<T>(v128.mul<T>(c3, m), a);
      c4 = v128.add<T>(v128.mul<T>(c4, m), a);
      c5 = v128.add<T>(v128.mul<T>(c5, m), a);
      c6 = v128.add<T>(v128.mul<T>(c6, m), a);
      c7 = v128.add<T>(v128.mul<T>(c7, m), a);
      c8 = v128.add<T>(v128.mul<T>(c8, m), a);
      c9 = v128.add<T>(v128.mul<T>(c9, m), a);
      c10 = v128.add<T>(v128.mul<T>(c10, m), a);
      c11 = v128.add<T>(v128.mul<T>(c11, m), a);
    }
    c0 = v128.add<T>(v128.add<T>(v128.add<T>(c0, c1), v128.add<T>(c2, c3)), v128.add<T>(v128.add<T>(c4, c5), v128.add<T>(c6, c7)));
    c8 = v128.add<T>(v128.add<T>(c8, c9), v128.add<T>(c10, c11));
    v128.store(out + (<usize>chunk << 4), v128.add<T>(c0, c8));
  }
}

export function peak_f32(args: PeakArgs, first: i32, last: i32): void {
  peak<f32>(args, first, last);
}

export function peak_f64(args: PeakArgs, first: i32, last: i32): void {
  peak<f64>(args, first, last);
}
