import { readFileSync } from 'node:fs';
import { gradcheck, gradgradcheck, ShapeError, scope, zeros } from 'chainrule';
import { expect, test, vi } from 'vitest';
import { expectClose, fill, wave } from './nn/fixture.ts';

// The code of docs/adding-an-attention-block.md runs, its gradients are right, and its block agrees with PyTorch.

const read = (path: string): string => readFileSync(new URL(`../${path}`, import.meta.url), 'utf8').replaceAll('\r\n', '\n');

/** Importing the example runs the code of the whole page; what it prints is recorded. */
const log = vi.spyOn(console, 'log').mockReturnValue();
const { ScSE } = await import('../examples/scse.ts');
const printed = log.mock.calls.map(([line]) => String(line));
log.mockRestore();

test('the page’s blocks of code are examples/scse.ts', () => {
  const blocks = [...read('docs/adding-an-attention-block.md').matchAll(/```ts\n([\s\S]*?)```/g)].map((m) => m[1]);
  expect(blocks.join('\n')).toBe(read('examples/scse.ts'));
});

test('it prints the result of gradcheck, the summary of the net, and the spread of the gate’s scales', () => {
  expect(printed[0]).toMatch(/^gradcheck: all 74 gradients are right/);
  expect(printed[1]).toMatch(/^3\.spatial +Conv2d +\[1,1,16,16\] +16 +4,096$/m);
  expect(printed[2]).toMatch(/^3\.channel: class means of a channel's scale differ by 0\.0\d\d at most$/);
});

interface Case {
  channels: number;
  options: object;
  shape: number[];
  keys: Record<string, number[]>;
  y: number[];
  dx: number[];
  grads: number[][];
}

const { scSE } = JSON.parse(read('test/fixtures/se.json')) as { scSE: Case[] };

test.each(scSE)('$channels channels, $options: agrees with PyTorch within 1e-10, and gradients of both orders are right', (c) => {
  scope(() => {
    const block = fill(new ScSE(c.channels, { ...c.options, dtype: 'float64' }));
    expect(Object.fromEntries(Object.entries(block.stateDict()).map(([k, t]) => [k, t.shape]))).toEqual(c.keys);
    const x = wave(c.shape, { requiresGrad: true });
    const y = block.forward(x);
    expectClose(y, c.y);
    y.backward(wave(c.shape, { k: 3 }));
    expectClose(x.grad!, c.dx);
    block.parameters().forEach((p, i) => expectClose(p.grad!, c.grads[i]!));
    expect(gradcheck(block, x).ok).toBe(true);
    expect(gradgradcheck(block, x).ok).toBe(true);
    expect(() => block.forward(zeros([1, 3, 2, 2]))).toThrow(
      new ShapeError(`channel (SqueezeExcite): squeezeExcite: x has 3 channels, expected ${c.channels} (x [1,3,2,2])`),
    );
    block.dispose();
  });
});
