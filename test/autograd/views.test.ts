/** Which results share memory with their input: those that are documented as views, and no others. */
import { graph, noGrad, ones, scope, tensor, type Tensor } from 'chainrule';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { grad } from '../../src/autograd/index.ts';
import { Draw } from '../support/arbitraries.ts';
import { holds } from '../support/properties.ts';
import { TABLE } from '../support/table.ts';

/** Lines whose results may be views. */
const VIEWS = new Set(
  'reshape view flatten unflatten permute transpose movedim expand broadcastTo split chunk unbind squeeze unsqueeze slice select'
    .concat(' contiguous identity sumTo')
    .split(' '),
);

describe('a write to a result leaves the inputs as they were', () => {
  test.each(TABLE.filter((line) => !VIEWS.has(line.name)))('$name', (line) => {
    const property = fc.property(fc.gen(), (g) =>
      scope(() => {
        const { fn, inputs } = line.draw(new Draw(g));
        const xs = inputs.map((sample) => sample.tensor().detach().requiresGrad_());
        const before = xs.map((x) => x.toArray());
        const results = [fn(...xs)].flat() as Tensor[];
        noGrad(() => {
          for (const y of results) y.detach().fill_(77);
        });
        const after = xs.map((x) => x.toArray());
        if (JSON.stringify(after) !== JSON.stringify(before)) throw new Error(`${line.name}: a write to the result changed an input`);
      }),
    );
    holds(property, process.env.CHAINRULE_LONG === '1' ? 200 : 12);
  });
});

describe('no view', () => {
  const x = tensor([[1, 2]]).keep();
  const scalar = tensor(2).keep();
  test.each([
    ['prod over a dim of size 1', () => x.prod(0)],
    ['prod of a scalar', () => scalar.prod()],
    ['repeat by ones', () => x.repeat([1, 1])],
    ['repeat of a dim of size 1', () => x.slice(1, 0, 1).repeat([3, 1])],
    ['roll of no dims', () => x.roll([], [])],
    ['max of a scalar', () => scalar.max(0)[0]],
    ['sum over a dim of size 1', () => x.sum(0)],
  ])('%s', (_, call) =>
    scope(() => {
      call().fill_(9);
      expect([x.toArray(), scalar.item()]).toEqual([[[1, 2]], 2]);
    }),
  );

  test('the gradient that passes through unchanged', () =>
    scope(() => {
      const leaf = tensor([1, 2], { requiresGrad: true });
      const g = tensor([3, 4]);
      grad(leaf.reshape([2]), leaf, { gradOutputs: g }).fill_(9);
      expect(g.toArray()).toEqual([3, 4]);
    }));

  test.each([false, true])('the gradients of one walk, createGraph %s', (createGraph) =>
    scope(() => {
      const leaves = [1, 2, 3].map((v) => tensor([v, v], { requiresGrad: true }));
      const [a, b, c] = leaves as [Tensor, Tensor, Tensor];
      const y = a
        .add(b)
        .add(c.reshape([2]))
        .mul(2)
        .sum();
      const grads = grad(y, leaves, { createGraph });
      noGrad(() => grads.forEach((g, i) => g.copy_(tensor([i, i]))));
      expect(grads.map((g) => g.toArray())).toEqual([
        [0, 0],
        [1, 1],
        [2, 2],
      ]);
    }),
  );

  test('the gradients of a node of a graph', () =>
    scope(() => {
      const y = tensor([1, 2], { requiresGrad: true }).add(tensor([3, 4], { requiresGrad: true }));
      const [a, b] = [...graph(y)].find((node) => node.op === 'add')!.vjp(ones([2])) as [Tensor, Tensor];
      a.fill_(9);
      expect(b.toArray()).toEqual([1, 1]);
    }));
});

describe('a 0-d view', () => {
  const views: readonly (readonly [string, (x: Tensor) => Tensor])[] = [
    ['select', (x) => x.select(0, 0)],
    ['squeeze', (x) => x.slice(0, 0, 1).squeeze()],
    ['reshape', (x) => x.slice(0, 0, 1).reshape([])],
    ['detach', (x) => x.select(0, 0).detach().requiresGrad_()],
  ];

  test.each(views)('%s: a write after backward reaches the vector', (_, view) =>
    scope(() => {
      const x = tensor([1, 2], { requiresGrad: true });
      const v = view(x);
      v.mul(3).backward();
      noGrad(() => v.fill_(9));
      expect([x.toArray(), v.item()]).toEqual([[9, 2], 9]);
    }),
  );

  test('after the next recorded operation, it has its value, and a write throws', () =>
    scope(() => {
      const x = tensor([1, 2], { requiresGrad: true });
      const v = x.select(0, 0);
      v.mul(3).backward();
      x.mul(2);
      expect(v.item()).toBe(1);
      expect(v.mul(2).item()).toBe(2);
      expect(() => noGrad(() => v.fill_(9))).toThrow(
        'a tensor [] (result of reshape) was freed: backward consumed its graph, and a recorded operation followed. ' +
          'Read it before that, or give backward { retainGraph: true }, or keep() it',
      );
      expect(x.toArray()).toEqual([1, 2]);
    }));

  test('a loop over such losses leaves nothing', () => {
    const x = tensor([1, 2], { requiresGrad: true });
    for (let i = 0; i < 3; i++) x.select(0, i % 2).backward();
    expect(x.grad!.toArray()).toEqual([2, 1]);
    x.dispose();
  });
});
