/**
 * Optimizer updates: one launch over a table of parameters. A chunk is a range of elements of one of them.
 */
import { floatArg, intArg, ptrArg } from './abi';
import { lanes } from './lanes';

/** Float64 numbers a table row has: param, grad, velocity or 0, elements, first step (0 or 1), index of its first chunk. */
const ROW: i32 = 6;

/** See reference.ts for the formula. args: table, rows, lr, momentum, dampening, nesterov, weight decay, elements a chunk */
// @ts-ignore: decorator
@inline
function sgd<T>(args: usize, first: i32, last: i32): void {
  const table = ptrArg(args, 0);
  const entries = intArg(args, 1);
  const lr = <T>floatArg(args, 2);
  const momentum = <T>floatArg(args, 3);
  const fresh = <T>(1 - floatArg(args, 4));
  const nesterov = intArg(args, 5) != 0;
  const decay = <T>floatArg(args, 6);
  const chunkSize = intArg(args, 7);
  const lrs = v128.splat<T>(lr);
  const momenta = v128.splat<T>(momentum);
  const freshes = v128.splat<T>(fresh);
  const decays = v128.splat<T>(decay);
  let e = 0;
  for (let chunk = first; chunk < last; chunk++) {
    while (e + 1 < entries && intArg(table, (e + 1) * ROW + 5) <= chunk) e++;
    const row = table + <usize>(e * ROW) * 8;
    const starts = intArg(row, 4) != 0;
    const offset = (chunk - intArg(row, 5)) * chunkSize;
    const n = min(chunkSize, intArg(row, 3) - offset);
    const skip = <usize>offset * sizeof<T>();
    const velocity: usize = ptrArg(row, 2) == 0 ? 0 : ptrArg(row, 2) + skip;
    const param = ptrArg(row, 0) + skip;
    const grad = ptrArg(row, 1) + skip;
    let i = 0;
    for (; i + lanes<T>() <= n; i += lanes<T>()) {
      const at = <usize>i * sizeof<T>();
      const p = v128.load(param + at);
      let g = v128.load(grad + at);
      if (decay != 0) g = v128.add<T>(g, v128.mul<T>(decays, p));
      if (velocity != 0) {
        let v = g;
        if (!starts) v = v128.add<T>(v128.mul<T>(momenta, v128.load(velocity + at)), v128.mul<T>(freshes, g));
        v128.store(velocity + at, v);
        g = nesterov ? v128.add<T>(g, v128.mul<T>(momenta, v)) : v;
      }
      v128.store(param + at, v128.sub<T>(p, v128.mul<T>(lrs, g)));
    }
    for (; i < n; i++) {
      const at = <usize>i * sizeof<T>();
      const p = load<T>(param + at);
      let g = load<T>(grad + at);
      if (decay != 0) g += decay * p;
      if (velocity != 0) {
        const v = starts ? g : momentum * load<T>(velocity + at) + fresh * g;
        store<T>(velocity + at, v);
        g = nesterov ? g + momentum * v : v;
      }
      store<T>(param + at, p - lr * g);
    }
  }
}

export function sgd_f32(args: usize, first: i32, last: i32): void {
  sgd<f32>(args, first, last);
}

export function sgd_f64(args: usize, first: i32, last: i32): void {
  sgd<f64>(args, first, last);
}
