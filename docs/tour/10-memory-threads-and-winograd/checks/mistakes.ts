import { type Tensor, noGrad, scope } from 'chainrule';
import type { Mistake } from '../../support/exercise.ts';
import type { meanLoss } from '../solutions/memory.ts';
import { chunkedSum } from '../solutions/threads.ts';
import { winograd } from '../solutions/winograd.ts';

const evaluation = (title: string, wrong: typeof meanLoss, says: RegExp): Mistake => ({
  exercise: 1,
  title,
  module: { meanLoss: wrong },
  says,
});

const threads = (title: string, wrong: typeof chunkedSum, says: RegExp): Mistake => ({
  exercise: 2,
  title,
  module: { chunkedSum: wrong },
  says,
});

/** winograd with another combination of the four products. */
const combined = (title: string, combine: (m: readonly number[]) => [number, number], says: RegExp): Mistake => ({
  exercise: 3,
  title,
  module: {
    winograd: (...[d, w, times]: Parameters<typeof winograd>) => {
      const products: number[] = [];
      winograd(d, w, (a, b) => {
        products.push(times(a, b));
        return 0;
      });
      return combine(products);
    },
  },
  says,
});

const other = (title: string, wrong: typeof winograd, says: RegExp): Mistake => ({ exercise: 3, title, module: { winograd: wrong }, says });

const mean = (losses: readonly number[]): number => losses.reduce((a, b) => a + b, 0) / losses.length;
const chunkSum = (values: readonly number[], size: number, chunk: number): number =>
  values.slice(chunk * size, (chunk + 1) * size).reduce((a, b) => a + b, 0);

function direct(...[[d0, d1, d2, d3], [w0, w1, w2], times]: Parameters<typeof winograd>): [number, number] {
  return [times(d0, w0) + times(d1, w1) + times(d2, w2), times(d1, w0) + times(d2, w1) + times(d3, w2)];
}

export const mistakes: readonly Mistake[] = [
  evaluation('no scope', (lossOf, batches) => mean(batches.map((batch) => lossOf(batch).item())), /bytes are left afterwards/),
  evaluation(
    'one scope around the loop',
    (lossOf, batches) => noGrad(() => mean(batches.map((batch) => lossOf(batch).item()))),
    /use one for each batch/,
  ),
  evaluation(
    'the sum as a tensor',
    (lossOf, batches) => {
      const losses: Tensor[] = batches.map((batch) => scope(() => lossOf(batch)));
      return mean(losses.map((loss) => loss.item()));
    },
    /bytes are left afterwards/,
  ),
  evaluation(
    'the sum',
    (lossOf, batches) => batches.length * mean(batches.map((b) => noGrad(() => lossOf(b).item()))),
    /number of batches/,
  ),
  threads(
    'as they finish',
    (values, size, finished) => finished.reduce((sum, c) => sum + chunkSum(values, size, c), 0),
    /add them by chunk/,
  ),
  threads('one long sum', (values) => values.reduce((a, b) => a + b, 0), /within each chunk first/),
  threads(
    'the shorter chunk is dropped',
    (values, size, finished) => chunkedSum(values.slice(0, Math.floor(values.length / size) * size), size, finished),
    /last chunk is shorter/,
  ),
  combined('the sign of m₃', ([a, b, c, d]) => [a! + b! + c!, b! - c! + d!], /sign of m₃/),
  combined('the sign of m₂', ([a, b, c, d]) => [a! + b! + c!, b! + c! - d!], /sign of m₂/),
  combined('no halves', ([a, b, c, d]) => [a! + 2 * b! + 2 * c!, 2 * b! - 2 * c! - d!], /are halves/),
  other('the weights are reversed', (d, [w0, w1, w2], times) => winograd(d, [w2, w1, w0], times), /weights are reversed/),
  other('six multiplications', direct, /take 6 calls/),
  other('does not count', (d, w) => direct(d, w, (a, b) => a * b), /did not call times/),
];
