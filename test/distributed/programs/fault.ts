/**
 * Ranks that add and compute in turns, until the last rank fails in the way that the first argument names. The second is the timeout,
 * also that of the start if the fault comes before it.
 */
import { ones, rand, zeros } from 'chainrule';
import { init } from 'chainrule/distributed';

const [, , fault = '', timeout = '30'] = process.argv;
const isLast = Number(process.env.PMI_RANK) === Number(process.env.PMI_SIZE) - 1;

function standStill(): never {
  for (;;) Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0);
}

if (isLast && fault === 'before init') standStill();
const group = init({ timeout: Number(timeout), ...(fault === 'before init' && { startTimeout: Number(timeout) }) });
// A program that does not handle them ends at once.
let isInterrupted = false;
process.on('SIGINT', () => {
  isInterrupted = true;
});

const faults: Readonly<Record<string, () => unknown>> = {
  throw: () =>
    setImmediate(() => {
      throw new TypeError('the last rank has no data');
    }),
  reject: () => Promise.reject(new TypeError('the last rank has no data')),
  exit: () => process.exit(3),
  leave: () => process.exit(0),
  'kill while others wait': () => process.kill(process.pid, 'SIGKILL'),
  'kill during an all-reduce': () => {
    group.startAllReduce(ones([1_000_000]));
    process.kill(process.pid, 'SIGKILL');
  },
  suspend: () => process.kill(process.pid, 'SIGSTOP'),
  'stand still': standStill,
  shape: () => group.allReduce(zeros([3])),
};
const t = zeros([1000]);
for (let step = 0; ; step++) {
  group.allReduce(t);
  rand([64, 64])
    .matmul(ones([64, 64]))
    .dispose();
  if (group.any(isInterrupted)) break;
  if (isLast && step === 5) void faults[fault]?.();
  if (step === 0 && group.rank === 0) console.log('ready');
  // Signals and rejections arrive between two tasks.
  await new Promise(setImmediate);
}
group.barrier();
if (group.rank === 0) console.log('rank 0 saves');
