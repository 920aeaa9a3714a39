/**
 * The multiply-add loop that measures a core's SIMD peak. bench/peak.ts compiles it; the package does not contain it.
 */

/** The most vectors of a round. */
const VECTORS = 24;

/** The arguments, as bench/peak.ts writes them. */
@unmanaged
class PeakArgs {
  /** VECTORS vectors for each chunk. */
  out: usize;
  rounds: i32;
  /** The factor and the addend. */
  operands: usize;
}

/**
 * Each chunk runs `rounds` rounds of independent multiply-adds of whole vectors. There are as many as the registers hold: 12 of 128 bits, or 24
 * which V8 joins into 12 of 256 bits. It joins what is stored side by side.
 */
// @ts-ignore: decorator
@inline
function peak<T>(vectors: i32, args: PeakArgs, first: i32, last: i32): void {
  const out = args.out;
  const rounds = args.rounds;
  const m = v128.load_splat<T>(args.operands);
  const a = v128.load_splat<T>(args.operands, sizeof<T>());
  for (let chunk = first; chunk < last; chunk++) {
    let c0 = v128.splat<T>(<T>1), c1 = v128.splat<T>(<T>2), c2 = v128.splat<T>(<T>3), c3 = v128.splat<T>(<T>4);
    let c4 = v128.splat<T>(<T>5), c5 = v128.splat<T>(<T>6), c6 = v128.splat<T>(<T>7), c7 = v128.splat<T>(<T>8);
    let c8 = v128.splat<T>(<T>9), c9 = v128.splat<T>(<T>10), c10 = v128.splat<T>(<T>11), c11 = v128.splat<T>(<T>12);
    let c12 = v128.splat<T>(<T>13), c13 = v128.splat<T>(<T>14), c14 = v128.splat<T>(<T>15), c15 = v128.splat<T>(<T>16);
    let c16 = v128.splat<T>(<T>17), c17 = v128.splat<T>(<T>18), c18 = v128.splat<T>(<T>19), c19 = v128.splat<T>(<T>20);
    let c20 = v128.splat<T>(<T>21), c21 = v128.splat<T>(<T>22), c22 = v128.splat<T>(<T>23), c23 = v128.splat<T>(<T>24);
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
      if (vectors > 12) {
        c12 = v128.add<T>(v128.mul<T>(c12, m), a);
        c13 = v128.add<T>(v128.mul<T>(c13, m), a);
        c14 = v128.add<T>(v128.mul<T>(c14, m), a);
        c15 = v128.add<T>(v128.mul<T>(c15, m), a);
        c16 = v128.add<T>(v128.mul<T>(c16, m), a);
        c17 = v128.add<T>(v128.mul<T>(c17, m), a);
        c18 = v128.add<T>(v128.mul<T>(c18, m), a);
        c19 = v128.add<T>(v128.mul<T>(c19, m), a);
        c20 = v128.add<T>(v128.mul<T>(c20, m), a);
        c21 = v128.add<T>(v128.mul<T>(c21, m), a);
        c22 = v128.add<T>(v128.mul<T>(c22, m), a);
        c23 = v128.add<T>(v128.mul<T>(c23, m), a);
      }
    }
    const to = out + <usize>chunk * (VECTORS * 16);
    v128.store(to, c0, 0);
    v128.store(to, c1, 16);
    v128.store(to, c2, 32);
    v128.store(to, c3, 48);
    v128.store(to, c4, 64);
    v128.store(to, c5, 80);
    v128.store(to, c6, 96);
    v128.store(to, c7, 112);
    v128.store(to, c8, 128);
    v128.store(to, c9, 144);
    v128.store(to, c10, 160);
    v128.store(to, c11, 176);
    if (vectors > 12) {
      v128.store(to, c12, 192);
      v128.store(to, c13, 208);
      v128.store(to, c14, 224);
      v128.store(to, c15, 240);
      v128.store(to, c16, 256);
      v128.store(to, c17, 272);
      v128.store(to, c18, 288);
      v128.store(to, c19, 304);
      v128.store(to, c20, 320);
      v128.store(to, c21, 336);
      v128.store(to, c22, 352);
      v128.store(to, c23, 368);
    }
  }
}

export function peak12_f32(args: PeakArgs, first: i32, last: i32): void {
  peak<f32>(12, args, first, last);
}

export function peak24_f32(args: PeakArgs, first: i32, last: i32): void {
  peak<f32>(24, args, first, last);
}

export function peak12_f64(args: PeakArgs, first: i32, last: i32): void {
  peak<f64>(12, args, first, last);
}

export function peak24_f64(args: PeakArgs, first: i32, last: i32): void {
  peak<f64>(24, args, first, last);
}
