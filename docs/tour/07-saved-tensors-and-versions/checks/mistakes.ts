import { type Tensor, defineOp, grad, noGrad } from 'chainrule';
import type { Mistake } from '../../support/exercise.ts';
import * as versions from '../solutions/versions.ts';
import type { Cell, Saved } from '../solutions/versions.ts';

type Loss = (w: Tensor) => Tensor;
type Rule = (g: Tensor, saved: { readonly x: Tensor; readonly y: Tensor }) => Tensor;

const cell = (title: string, change: Partial<typeof versions>, says: RegExp): Mistake => ({
  exercise: 1,
  title,
  module: { ...versions, ...change },
  says,
});

/** A root that saves y, with another formula. */
const root = (title: string, rule: (g: Tensor, y: Tensor) => Tensor, says: RegExp): Mistake => ({
  exercise: 2,
  title,
  module: {
    root: defineOp({
      name: 'root',
      forward: (_kernels, x: Tensor) => x.sqrt(),
      save: (_needs, _args, [y]) => ({ y }),
      backward: (g, { y }) => [rule(g, y)],
    }),
  },
  says,
});

/** A root with the right formula that saves something else. */
const saving = (title: string, save: (x: Tensor, y: Tensor) => { x: Tensor; y: Tensor }, rule: Rule, says: RegExp): Mistake => ({
  exercise: 2,
  title,
  module: {
    root: defineOp({
      name: 'root',
      forward: (_kernels, x: Tensor) => x.sqrt(),
      save: (_needs, [x], [y]) => save(x, y),
      backward: (g, saved) => [rule(g, saved)],
    }),
  },
  says,
});

const fromX: Rule = (g, { x }) => g.div(x.sqrt().mul(2));

const train = (title: string, twoSteps: (w: Tensor, a: Loss, b: Loss, rate: number) => void, says: RegExp): Mistake => ({
  exercise: 3,
  title,
  module: { twoSteps },
  says,
});

const update = (w: Tensor, dw: Tensor, rate: number): unknown => noGrad(() => w.add_(dw.mul(-rate)));

export const mistakes: readonly Mistake[] = [
  cell('write does not count', { write: (c: Cell, value) => void (c.value = value) }, /write must count the write/),
  cell('save copies', { save: (c: Cell) => ({ cell: { ...c }, version: c.version }) }, /saving copies nothing/),
  cell('read does not compare', { read: (saved: Saved) => saved.cell.value }, /read\(saved\) must throw/),
  cell(
    'the error names no versions',
    {
      read: (saved: Saved) => {
        if (saved.cell.version !== saved.version) throw new Error('the cell was overwritten');
        return saved.cell.value;
      },
    },
    /must name both versions/,
  ),
  saving('saves x', (x, y) => ({ x, y }), fromX, /backward reads x/),
  saving('saves a copy of x', (x, y) => ({ x: x.clone(), y }), fromX, /A copy costs memory/),
  root('the incoming gradient is left out', (_g, y) => y.mul(2).reciprocal(), /incoming gradient g is missing/),
  root('no factor 2', (g, y) => g.div(y), /factor 2 is missing/),
  root('multiplies', (g, y) => g.mul(y.mul(2)), /where the formula divides/),
  train(
    'both losses first',
    (w, lossA, lossB, rate) => {
      const losses = [lossA(w), lossB(w)];
      for (const loss of losses) update(w, grad(loss, w), rate);
    },
    /Compute each loss when it is needed/,
  ),
  train(
    'both gradients first',
    (w, lossA, lossB, rate) => {
      const gradients = [grad(lossA(w), w), grad(lossB(w), w)];
      for (const dw of gradients) update(w, dw, rate);
    },
    /taken at the old w/,
  ),
  train(
    'gradients add up',
    (w, lossA, lossB, rate) => {
      for (const lossOf of [lossA, lossB]) {
        lossOf(w).backward();
        update(w, w.grad!, rate);
      }
    },
    /adds over calls/,
  ),
  train('no update in place', (w, lossA, lossB, rate) => void lossB(w.sub(grad(lossA(w), w).mul(rate))), /update it in place/),
];
