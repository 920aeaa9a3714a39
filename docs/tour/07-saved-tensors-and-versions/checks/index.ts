import { InPlaceError, type Tensor, memory, noGrad, tensor } from 'chainrule';
import { type Exercise, Wrong, exercise, expect, expectNumber, expectTensor } from '../../support/exercise.ts';
import { bytesInUse } from '../../support/memory.ts';
import type * as Root from '../exercises/root.ts';
import type * as Train from '../exercises/train.ts';
import type * as Versions from '../exercises/versions.ts';

/** Runs `fn`. An error about an overwritten tensor becomes a message. */
function withoutOverwriting<T>(what: string, why: string, fn: () => T): T {
  try {
    return fn();
  } catch (error) {
    if (!(error instanceof InPlaceError)) throw error;
    throw new Wrong(`${what}: InPlaceError: ${error.message.split('. ')[0]}. ${why}`);
  }
}

function checkVersions({ write, save, read }: typeof Versions): void {
  const cell = { value: 3, version: 0 };
  const saved = save(cell);
  const made: unknown = saved;
  expect(typeof made === 'object' && made !== null && 'cell' in made && 'version' in made, 'save must return an object { cell, version }');
  expectNumber('a cell with 3, saved: read(saved)', read(saved), 3);
  expect(saved.cell === cell, 'saved.cell must be the cell that was passed in: saving copies nothing');
  write(cell, 5);
  expectNumber('after write(cell, 5): cell.value', cell.value, 5);
  expectNumber('after write(cell, 5): cell.version', cell.version, 1, { 'write must count the write': 0 });
  let message: string | null = null;
  try {
    read(saved);
  } catch (error) {
    message = String(error);
  }
  expect(message !== null, 'saved, then write(cell, 5): read(saved) must throw, as backward would use 5 where forward used 3');
  expect(/\b0\b/.test(message) && /\b1\b/.test(message), `the error must name both versions, 0 and 1; it is "${message}"`);
  const again = save(cell);
  expectNumber('saved again after the write: read', read(again), 5);
  expectNumber('the version of the second save', again.version, 1, { 'save must note the version that the cell has now': 0 });
  write(cell, 6);
  write(cell, 5);
  let threw = false;
  try {
    read(again);
  } catch {
    threw = true;
  }
  expect(threw, 'written twice since: read must throw, though the value is 5 again. Compare versions, not values');
}

function checkRoot({ root }: typeof Root): void {
  const x = tensor([1, 4, 16], { requiresGrad: true });
  const before = bytesInUse();
  const y = root(x);
  const used = memory().bytes - before;
  expectTensor('root([1, 4, 16])', y, tensor([1, 2, 4]));
  const bytes = 3 * 4;
  expect(
    used <= bytes,
    `root of 3 elements holds ${used} bytes for its result and what it saved; the result alone takes ${bytes}. \
A copy costs memory in every step. Save a tensor that exists anyway`,
  );
  noGrad(() => x.fill_(100));
  const why = 'backward reads x. Express the gradient in terms of y, and save that';
  withoutOverwriting('x was overwritten after root(x), then backward', why, () => y.backward(tensor([1, 1, 4])));
  expectTensor('g = [1, 1, 4], x = [1, 4, 16]: the gradient of x', x.grad, tensor([0.5, 0.25, 0.5]), {
    'The incoming gradient g is missing': tensor([0.5, 0.25, 0.125]),
    'The factor 2 is missing': tensor([1, 0.5, 1]),
    'y was multiplied where the formula divides': tensor([2, 4, 32]),
  });
}

function checkTrain({ twoSteps }: typeof Train): void {
  // w = 1, rate 0.1. A = w²: gradient 2, w becomes 0.8. B = 9w²: gradient 18 · 0.8 = 14.4, w becomes −0.64.
  const w = tensor(1, { dtype: 'float64', requiresGrad: true });
  const before = w;
  const square = (t: Tensor): Tensor => t.mul(t);
  const what = 'A = w², B = 9w² at w = 1, rate 0.1';
  const why = 'A loss was computed before w changed, and its backward came after. Compute each loss when it is needed';
  withoutOverwriting(what, why, () => twoSteps(w, square, (t) => square(t).mul(9), 0.1));
  expect(before.requiresGrad, `${what}: w no longer requires a gradient`);
  expectTensor(`${what}: w`, w, tensor(-0.64), {
    'The gradient of B was taken at the old w': tensor(1 - 0.2 - 1.8),
    'The second step used both gradients: .grad adds over calls of backward': tensor(0.8 - 0.1 * (14.4 + 2)),
    'Only the first step was made': tensor(0.8),
    'w did not change: update it in place': tensor(1),
    'The update has the wrong sign': tensor(1.2 + 0.1 * 18 * 1.2),
  });
}

export const exercises: readonly Exercise[] = [
  exercise<typeof Versions>({
    title: 'A storage with a version',
    file: 'versions',
    functions: ['write', 'save', 'read'],
    hint: 'write adds 1 to the version, save notes it, read compares.',
    check: checkVersions,
  }),
  exercise<typeof Root>({
    title: 'An operation that saves its result',
    file: 'root',
    functions: ['root'],
    hint: '1 / (2√x) is 1 / (2y).',
    check: checkRoot,
  }),
  exercise<typeof Train>({
    title: 'Two updates of one parameter',
    file: 'train',
    functions: ['twoSteps'],
    hint: 'The order is: loss A, its gradient, the update, and only then loss B.',
    check: checkTrain,
  }),
];
