/** Chapter 10: the same results with less memory, on more threads, and with fewer multiplications. */
import { getNumThreads, manualSeed, memory, randn, scope, setNumThreads, tensor } from 'chainrule';

// Memory: four operations on four float32 numbers make four tensors of 16 bytes.
const x = tensor([1, 2, 3, 4]);
const start = memory().bytes;
x.exp().add(1).log().mul(2);
console.log(`without a scope: ${memory().bytes - start} bytes are left`);
const before = memory().bytes;
const y = scope(() => x.exp().add(1).log().mul(2));
console.log(`with a scope: ${memory().bytes - before} bytes are left, the result of shape [${y.shape.join()}]`);

// Threads: the order of additions determines the last bits.
console.log(`(0.1 + 0.2) + 0.3 = ${0.1 + 0.2 + 0.3},  0.1 + (0.2 + 0.3) = ${0.1 + (0.2 + 0.3)}`);

// A large sum is split into chunks, and the chunks depend on its length alone. So one thread and two give the same bits.
manualSeed(0);
const large = randn([1_000_000]);
const threads = getNumThreads();
const sums = [1, 2].map((n) => {
  setNumThreads(n);
  return large.sum().item();
});
setNumThreads(threads);
console.log(`one thread and two give the same sum: ${sums[0] === sums[1]}`);

// Winograd: two outputs of a filter with three weights. `times` counts the multiplications.
let count = 0;
const times = (a: number, b: number): number => {
  count++;
  return a * b;
};
const [d0, d1, d2, d3] = [1, 2, 4, 3] as const;
const [w0, w1, w2] = [2, -1, 3] as const;
const direct = [times(d0, w0) + times(d1, w1) + times(d2, w2), times(d1, w0) + times(d2, w1) + times(d3, w2)];
console.log(`direct: [${direct.join(', ')}] with ${count} multiplications`);
