/**
 * The micro-kernels that matrix products and convolutions share.
 *
 *   C[i, j] = Σₖ A[i, k] · B[k, j]   for up to 2 rows i and up to 4 vectors j
 *
 * 2 rows × 4 vectors is the largest tile whose accumulators, B vectors and A splats all stay in the 15 SSE registers that V8
 * gives on x64. The sum runs over sweeps × runs × steps: within a run A and B are read step by step, runs and sweeps lie
 * anywhere. A convolution's sweeps are kernel rows, its steps channels. A strip is a row of tiles that share B.
 *
 * What costs most besides the arithmetic is decoding: so pointers are advanced before they are used, as V8 copies those whose
 * old value lives on, and loops nest deep, as V8 unrolls the more the deeper.
 */

/** Columns in one vector. */
// @ts-ignore: decorator
@inline
export function lanes<T>(): i32 {
  return 16 / <i32>sizeof<T>();
}

/** How many vectors the next panel has where `columns` are left: 4, 2 or 1, so that only a last vector is ever partial. */
// @ts-ignore: decorator
@inline
export function panelVectors<T>(columns: i32): i32 {
  return columns > 3 * lanes<T>() ? 4 : columns > lanes<T>() ? 2 : 1;
}

/** Writes a whole vector, or adds it. */
// @ts-ignore: decorator
@inline
function put<T>(c: usize, v: v128, add: bool): void {
  v128.store(c, add ? v128.add<T>(v128.load(c), v) : v);
}

/** Writes the first `n` lanes of a vector, or adds them; all of them where n is larger. */
export function putSome<T>(c: usize, v: v128, n: i32, add: bool): void {
  if (n >= lanes<T>()) {
    put<T>(c, v, add);
    return;
  }
  if (n > 0) store<T>(c, add ? load<T>(c) + v128.extract_lane<T>(v, 0) : v128.extract_lane<T>(v, 0));
  if (sizeof<T>() == 4) {
    if (n > 1) store<T>(c, add ? load<T>(c, 4) + v128.extract_lane<T>(v, 1) : v128.extract_lane<T>(v, 1), 4);
    if (n > 2) store<T>(c, add ? load<T>(c, 8) + v128.extract_lane<f32>(v, 2) : v128.extract_lane<f32>(v, 2), 8);
  }
}

/** The first `n` lanes of a vector in memory, the others 0; all of them where n is larger. Reads nothing behind them. */
// @ts-ignore: decorator
@inline
export function loadSome<T>(p: usize, n: i32): v128 {
  if (n >= lanes<T>()) return v128.load(p);
  let v = v128.replace_lane<T>(v128.splat<T>(0), 0, load<T>(p));
  if (sizeof<T>() == 4) {
    if (n > 1) v = v128.replace_lane<T>(v, 1, load<T>(p, 4));
    if (n > 2) v = v128.replace_lane<f32>(v, 2, load<f32>(p, 8));
  }
  return v;
}

/** Writes or adds one row of a tile, `columns` of it. */
// @ts-ignore: decorator
@inline
function putRow<T>(vectors: i32, c: usize, v0: v128, v1: v128, v2: v128, v3: v128, columns: i32, add: bool): void {
  if (vectors > 1) put<T>(c, v0, add);
  else putSome<T>(c, v0, columns, add);
  if (vectors == 2) putSome<T>(c + 16, v1, columns - lanes<T>(), add);
  if (vectors == 4) {
    put<T>(c + 16, v1, add);
    put<T>(c + 32, v2, add);
    putSome<T>(c + 48, v3, columns - 3 * lanes<T>(), add);
  }
}

// @ts-ignore: decorator
@inline
function stripOf<T>(
  rows: i32, vectors: i32,
  a0: usize, a1: usize, aRun: usize, aSweep: usize, aNext: usize, b: usize, bSweep: usize, run: i32, runs: i32, sweeps: i32,
  c0: usize, c1: usize, cNext: usize, columns: i32, add: bool, count: i32,
): void {
  if (run <= 0) sweeps = 0;
  // Two steps an iteration, the last of an odd number alone. The branch between them keeps V8 from loading both steps at once,
  // for which there are not enough registers.
  const element = sizeof<T>();
  const step: usize = <usize>vectors * 16;
  const bRun = <usize>run * step;
  a0 -= 2 * element;
  a1 -= 2 * element;
  b -= 2 * step;
  for (; count > 0; count--) {
    let c00 = v128.splat<T>(0), c01 = v128.splat<T>(0), c02 = v128.splat<T>(0), c03 = v128.splat<T>(0);
    let c10 = v128.splat<T>(0), c11 = v128.splat<T>(0), c12 = v128.splat<T>(0), c13 = v128.splat<T>(0);
    let sweep = 0;
    let aAt: usize = 0;
    let bAt = b;
    for (let i = sweeps; i > 0; i--) {
      let at = aAt;
      let q = bAt;
      for (let r = runs; r > 0; r--) {
        let p0 = a0 + at;
        let p1 = a1 + at;
        const last = q + bRun;
        const lastOdd = last + step;
        do {
          p0 += 2 * element;
          if (rows > 1) p1 += 2 * element;
          q += 2 * step;
          const b0 = v128.load(q);
          const b1 = vectors > 1 ? v128.load(q, 16) : b0;
          const b2 = vectors > 2 ? v128.load(q, 32) : b0;
          const b3 = vectors > 2 ? v128.load(q, 48) : b0;
          const s0 = v128.load_splat<T>(p0);
          c00 = v128.add<T>(c00, v128.mul<T>(s0, b0));
          if (vectors > 1) c01 = v128.add<T>(c01, v128.mul<T>(s0, b1));
          if (vectors > 2) {
            c02 = v128.add<T>(c02, v128.mul<T>(s0, b2));
            c03 = v128.add<T>(c03, v128.mul<T>(s0, b3));
          }
          if (rows > 1) {
            const s1 = v128.load_splat<T>(p1);
            c10 = v128.add<T>(c10, v128.mul<T>(s1, b0));
            if (vectors > 1) c11 = v128.add<T>(c11, v128.mul<T>(s1, b1));
            if (vectors > 2) {
              c12 = v128.add<T>(c12, v128.mul<T>(s1, b2));
              c13 = v128.add<T>(c13, v128.mul<T>(s1, b3));
            }
          }
          if (q == lastOdd) break;
          const d0 = vectors > 2 ? v128.load(q, 64) : vectors > 1 ? v128.load(q, 32) : v128.load(q, 16);
          const d1 = vectors > 2 ? v128.load(q, 80) : vectors > 1 ? v128.load(q, 48) : d0;
          const d2 = vectors > 2 ? v128.load(q, 96) : d0;
          const d3 = vectors > 2 ? v128.load(q, 112) : d0;
          const u0 = v128.load_splat<T>(p0, sizeof<T>());
          c00 = v128.add<T>(c00, v128.mul<T>(u0, d0));
          if (vectors > 1) c01 = v128.add<T>(c01, v128.mul<T>(u0, d1));
          if (vectors > 2) {
            c02 = v128.add<T>(c02, v128.mul<T>(u0, d2));
            c03 = v128.add<T>(c03, v128.mul<T>(u0, d3));
          }
          if (rows > 1) {
            const u1 = v128.load_splat<T>(p1, sizeof<T>());
            c10 = v128.add<T>(c10, v128.mul<T>(u1, d0));
            if (vectors > 1) c11 = v128.add<T>(c11, v128.mul<T>(u1, d1));
            if (vectors > 2) {
              c12 = v128.add<T>(c12, v128.mul<T>(u1, d2));
              c13 = v128.add<T>(c13, v128.mul<T>(u1, d3));
            }
          }
        } while (q != last);
        at += aRun;
        q = last;
      }
      aAt += aSweep;
      bAt += bSweep;
    }
    putRow<T>(vectors, c0, c00, c01, c02, c03, columns, add);
    if (rows > 1) putRow<T>(vectors, c1, c10, c11, c12, c13, columns, add);
    a0 += aNext;
    a1 += aNext;
    c0 += cNext;
    c1 += cNext;
  }
}

// @ts-ignore: decorator
@inline
function outerOf<T>(
  rows: i32, vectors: i32,
  a: usize, aStep: usize, aRun: usize, aSweep: usize, b: usize, bStep: usize, bRun: usize, bSweep: usize,
  run: i32, runs: i32, sweeps: i32, c: usize, cRow: usize, count: i32,
): void {
  const length = <usize>run * bStep;
  a -= aStep;
  b -= bStep;
  for (; count > 0; count--) {
    let c00 = v128.splat<T>(0), c01 = v128.splat<T>(0), c02 = v128.splat<T>(0), c03 = v128.splat<T>(0);
    let c10 = v128.splat<T>(0), c11 = v128.splat<T>(0), c12 = v128.splat<T>(0), c13 = v128.splat<T>(0);
    let aAt = a;
    let bAt = b;
    for (let i = sweeps; i > 0; i--) {
      let aFrom = aAt;
      let bFrom = bAt;
      for (let r = runs; r > 0; r--) {
        let p0 = aFrom;
        let q = bFrom;
        const last = q + length;
        do {
          p0 += aStep;
          q += bStep;
          const b0 = v128.load(q);
          const b1 = vectors > 1 ? v128.load(q, 16) : b0;
          const b2 = vectors > 2 ? v128.load(q, 32) : b0;
          const b3 = vectors > 2 ? v128.load(q, 48) : b0;
          const s0 = v128.load_splat<T>(p0);
          c00 = v128.add<T>(c00, v128.mul<T>(s0, b0));
          if (vectors > 1) c01 = v128.add<T>(c01, v128.mul<T>(s0, b1));
          if (vectors > 2) {
            c02 = v128.add<T>(c02, v128.mul<T>(s0, b2));
            c03 = v128.add<T>(c03, v128.mul<T>(s0, b3));
          }
          if (rows > 1) {
            const s1 = v128.load_splat<T>(p0, sizeof<T>());
            c10 = v128.add<T>(c10, v128.mul<T>(s1, b0));
            if (vectors > 1) c11 = v128.add<T>(c11, v128.mul<T>(s1, b1));
            if (vectors > 2) {
              c12 = v128.add<T>(c12, v128.mul<T>(s1, b2));
              c13 = v128.add<T>(c13, v128.mul<T>(s1, b3));
            }
          }
        } while (q != last);
        aFrom += aRun;
        bFrom += bRun;
      }
      aAt += aSweep;
      bAt += bSweep;
    }
    putRow<T>(vectors, c, c00, c01, c02, c03, 4 * lanes<T>(), true);
    if (rows > 1) putRow<T>(vectors, c + cRow, c10, c11, c12, c13, 4 * lanes<T>(), true);
    a += <usize>rows * sizeof<T>();
    c += <usize>rows * cRow;
  }
}

function strip2x4<T>(
  a0: usize, a1: usize, aRun: usize, aSweep: usize, aNext: usize, b: usize, bSweep: usize, run: i32, runs: i32, sweeps: i32,
  c0: usize, c1: usize, cNext: usize, columns: i32, add: bool, count: i32,
): void {
  stripOf<T>(2, 4, a0, a1, aRun, aSweep, aNext, b, bSweep, run, runs, sweeps, c0, c1, cNext, columns, add, count);
}

function strip2x2<T>(
  a0: usize, a1: usize, aRun: usize, aSweep: usize, aNext: usize, b: usize, bSweep: usize, run: i32, runs: i32, sweeps: i32,
  c0: usize, c1: usize, cNext: usize, columns: i32, add: bool, count: i32,
): void {
  stripOf<T>(2, 2, a0, a1, aRun, aSweep, aNext, b, bSweep, run, runs, sweeps, c0, c1, cNext, columns, add, count);
}

function strip2x1<T>(
  a0: usize, a1: usize, aRun: usize, aSweep: usize, aNext: usize, b: usize, bSweep: usize, run: i32, runs: i32, sweeps: i32,
  c0: usize, c1: usize, cNext: usize, columns: i32, add: bool, count: i32,
): void {
  stripOf<T>(2, 1, a0, a1, aRun, aSweep, aNext, b, bSweep, run, runs, sweeps, c0, c1, cNext, columns, add, count);
}

function strip1x4<T>(
  a0: usize, aRun: usize, aSweep: usize, aNext: usize, b: usize, bSweep: usize, run: i32, runs: i32, sweeps: i32,
  c0: usize, cNext: usize, columns: i32, add: bool, count: i32,
): void {
  stripOf<T>(1, 4, a0, a0, aRun, aSweep, aNext, b, bSweep, run, runs, sweeps, c0, c0, cNext, columns, add, count);
}

function strip1x2<T>(
  a0: usize, aRun: usize, aSweep: usize, aNext: usize, b: usize, bSweep: usize, run: i32, runs: i32, sweeps: i32,
  c0: usize, cNext: usize, columns: i32, add: bool, count: i32,
): void {
  stripOf<T>(1, 2, a0, a0, aRun, aSweep, aNext, b, bSweep, run, runs, sweeps, c0, c0, cNext, columns, add, count);
}

function strip1x1<T>(
  a0: usize, aRun: usize, aSweep: usize, aNext: usize, b: usize, bSweep: usize, run: i32, runs: i32, sweeps: i32,
  c0: usize, cNext: usize, columns: i32, add: bool, count: i32,
): void {
  stripOf<T>(1, 1, a0, a0, aRun, aSweep, aNext, b, bSweep, run, runs, sweeps, c0, c0, cNext, columns, add, count);
}

function outer2x4<T>(
  a: usize, aStep: usize, aRun: usize, aSweep: usize, b: usize, bStep: usize, bRun: usize, bSweep: usize,
  run: i32, runs: i32, sweeps: i32, c: usize, cRow: usize, count: i32,
): void {
  outerOf<T>(2, 4, a, aStep, aRun, aSweep, b, bStep, bRun, bSweep, run, runs, sweeps, c, cRow, count);
}

function outer2x2<T>(
  a: usize, aStep: usize, aRun: usize, aSweep: usize, b: usize, bStep: usize, bRun: usize, bSweep: usize,
  run: i32, runs: i32, sweeps: i32, c: usize, cRow: usize, count: i32,
): void {
  outerOf<T>(2, 2, a, aStep, aRun, aSweep, b, bStep, bRun, bSweep, run, runs, sweeps, c, cRow, count);
}

function outer2x1<T>(
  a: usize, aStep: usize, aRun: usize, aSweep: usize, b: usize, bStep: usize, bRun: usize, bSweep: usize,
  run: i32, runs: i32, sweeps: i32, c: usize, cRow: usize, count: i32,
): void {
  outerOf<T>(2, 1, a, aStep, aRun, aSweep, b, bStep, bRun, bSweep, run, runs, sweeps, c, cRow, count);
}

function outer1x4<T>(
  a: usize, aStep: usize, aRun: usize, aSweep: usize, b: usize, bStep: usize, bRun: usize, bSweep: usize,
  run: i32, runs: i32, sweeps: i32, c: usize,
): void {
  outerOf<T>(1, 4, a, aStep, aRun, aSweep, b, bStep, bRun, bSweep, run, runs, sweeps, c, 0, 1);
}

function outer1x2<T>(
  a: usize, aStep: usize, aRun: usize, aSweep: usize, b: usize, bStep: usize, bRun: usize, bSweep: usize,
  run: i32, runs: i32, sweeps: i32, c: usize,
): void {
  outerOf<T>(1, 2, a, aStep, aRun, aSweep, b, bStep, bRun, bSweep, run, runs, sweeps, c, 0, 1);
}

function outer1x1<T>(
  a: usize, aStep: usize, aRun: usize, aSweep: usize, b: usize, bStep: usize, bRun: usize, bSweep: usize,
  run: i32, runs: i32, sweeps: i32, c: usize,
): void {
  outerOf<T>(1, 1, a, aStep, aRun, aSweep, b, bStep, bRun, bSweep, run, runs, sweeps, c, 0, 1);
}

/**
 * C = A · B, or C += A · B, for `count` tiles of 2 rows × `vectors` (4, 2 or 1), of which the first `columns` are written. The sum
 * is formed apart and added at the end, so that long sums are sums of partial sums; an empty one gives 0.
 *
 * a0, a1: the rows of the first tile, their elements side by side within a run · b: packed, a run behind the other ·
 * aRun, aSweep, bSweep, aNext, cNext: bytes from one run, sweep, tile to the next.
 */
// @ts-ignore: decorator
@inline
export function strip2<T>(
  vectors: i32,
  a0: usize, a1: usize, aRun: usize, aSweep: usize, aNext: usize, b: usize, bSweep: usize, run: i32, runs: i32, sweeps: i32,
  c0: usize, c1: usize, cNext: usize, columns: i32, add: bool, count: i32,
): void {
  if (vectors == 4) strip2x4<T>(a0, a1, aRun, aSweep, aNext, b, bSweep, run, runs, sweeps, c0, c1, cNext, columns, add, count);
  else if (vectors == 2) strip2x2<T>(a0, a1, aRun, aSweep, aNext, b, bSweep, run, runs, sweeps, c0, c1, cNext, columns, add, count);
  else strip2x1<T>(a0, a1, aRun, aSweep, aNext, b, bSweep, run, runs, sweeps, c0, c1, cNext, columns, add, count);
}

/** The same for tiles of one row. */
// @ts-ignore: decorator
@inline
export function strip1<T>(
  vectors: i32,
  a0: usize, aRun: usize, aSweep: usize, aNext: usize, b: usize, bSweep: usize, run: i32, runs: i32, sweeps: i32,
  c0: usize, cNext: usize, columns: i32, add: bool, count: i32,
): void {
  if (vectors == 4) strip1x4<T>(a0, aRun, aSweep, aNext, b, bSweep, run, runs, sweeps, c0, cNext, columns, add, count);
  else if (vectors == 2) strip1x2<T>(a0, aRun, aSweep, aNext, b, bSweep, run, runs, sweeps, c0, cNext, columns, add, count);
  else strip1x1<T>(a0, aRun, aSweep, aNext, b, bSweep, run, runs, sweeps, c0, cNext, columns, add, count);
}

/**
 * C += Aᵀ · B for `count` tiles of 2 neighbouring columns of A, side by side, × `vectors` whole vectors; steps of any length.
 * cRow: bytes from one row of C to the next.
 */
// @ts-ignore: decorator
@inline
export function outer2<T>(
  vectors: i32,
  a: usize, aStep: usize, aRun: usize, aSweep: usize, b: usize, bStep: usize, bRun: usize, bSweep: usize,
  run: i32, runs: i32, sweeps: i32, c: usize, cRow: usize, count: i32,
): void {
  if (vectors == 4) outer2x4<T>(a, aStep, aRun, aSweep, b, bStep, bRun, bSweep, run, runs, sweeps, c, cRow, count);
  else if (vectors == 2) outer2x2<T>(a, aStep, aRun, aSweep, b, bStep, bRun, bSweep, run, runs, sweeps, c, cRow, count);
  else outer2x1<T>(a, aStep, aRun, aSweep, b, bStep, bRun, bSweep, run, runs, sweeps, c, cRow, count);
}

/** The same for one column of A. */
// @ts-ignore: decorator
@inline
export function outer1<T>(
  vectors: i32,
  a: usize, aStep: usize, aRun: usize, aSweep: usize, b: usize, bStep: usize, bRun: usize, bSweep: usize,
  run: i32, runs: i32, sweeps: i32, c: usize,
): void {
  if (vectors == 4) outer1x4<T>(a, aStep, aRun, aSweep, b, bStep, bRun, bSweep, run, runs, sweeps, c);
  else if (vectors == 2) outer1x2<T>(a, aStep, aRun, aSweep, b, bStep, bRun, bSweep, run, runs, sweeps, c);
  else outer1x1<T>(a, aStep, aRun, aSweep, b, bStep, bRun, bSweep, run, runs, sweeps, c);
}
