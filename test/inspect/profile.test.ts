import { runInNewContext } from 'node:vm';
import { ArgumentError, memory, profile, randn, tensor, type ProfileRow } from 'chainrule';
import * as nn from 'chainrule/nn';
import { expect, test } from 'vitest';

class Net extends nn.Module {
  conv = new nn.Conv2d(3, 8, 3, { padding: 1, bias: false });
  head = new nn.Sequential(new nn.Flatten(), new nn.Linear(8 * 6 * 6, 5));

  forward(x: ReturnType<typeof randn>): ReturnType<typeof randn> {
    return this.head.forward(this.conv.forward(x).relu());
  }
}

const find = (rows: readonly ProfileRow[], op: string, phase: string, module: string): ProfileRow => {
  const row = rows.find((r) => r.op === op && r.phase === phase && r.module === module);
  expect(row, `${op} ${phase} ${module}`).toBeDefined();
  return row!;
};

test('counts operations by module and direction, with their arithmetic and bytes', () => {
  const net = new Net();
  const x = randn([2, 3, 6, 6]);
  const p = profile(() => {
    const loss = net.forward(x).square().sum();
    loss.backward();
    return loss.item();
  });
  expect(p.value).toBeGreaterThan(0);
  const conv = find(p.rows, 'conv2d', 'forward', 'conv (Conv2d)');
  expect(conv.calls).toBe(1);
  expect(conv.bytes).toBe(4 * 2 * 8 * 6 * 6);
  const flops = 2 * (2 * 8 * 6 * 6) * (3 * 3 * 3);
  expect(conv.gflops! * conv.seconds * 1e9).toBeCloseTo(flops, 3);
  // The images require no gradient, so backward computes only the weights' gradient.
  const back = find(p.rows, 'conv2d', 'backward', 'conv (Conv2d)');
  expect(back.gflops! * back.seconds * 1e9).toBeCloseTo(flops, 3);
  expect(back.bytes).toBe(4 * 8 * 3 * 3 * 3);
  find(p.rows, 'relu', 'forward', 'Net');
  const product = find(p.rows, 'matmul', 'forward', 'head.1 (Linear)');
  expect(product.gflops! * product.seconds * 1e9).toBeCloseTo(2 * 2 * 5 * 288, 3);
  // Both factors require a gradient.
  const gradients = find(p.rows, 'matmul', 'backward', 'head.1 (Linear)');
  expect(gradients.gflops! * gradients.seconds * 1e9).toBeCloseTo(2 * 2 * 2 * 5 * 288, 3);
  find(p.rows, 'square', 'backward', '');
  expect(p.rows.map((r) => r.seconds)).toEqual(p.rows.map((r) => r.seconds).toSorted((a, b) => b - a));
  expect(p.rows.reduce((n, r) => n + r.seconds, 0)).toBeLessThanOrEqual(p.seconds);
});

test('a profile within another leaves that one running', () => {
  const x = randn([2]);
  const inner: number[] = [];
  const outer = profile(() => {
    inner.push(profile(() => x.exp()).rows.length);
    x.exp();
  });
  expect([inner, outer.rows.map((row) => row.calls)]).toEqual([[1], [2]]);
  expect(profile(() => x.exp()).rows.map((row) => row.calls)).toEqual([1]);
});

test('prints a table, and a timeline whose events do not overlap', () => {
  const net = new Net();
  const x = randn([2, 3, 6, 6]);
  const p = profile(() => net.forward(x).sum().backward());
  const lines = p.toString().split('\n');
  expect(lines[0]).toMatch(/^operation +module +calls +ms +share +MB +GFLOP\/s$/);
  expect(lines.some((l) => /^conv2d \(backward\) +conv \(Conv2d\) +1 /.test(l))).toBe(true);
  expect(lines.at(-2)).toMatch(/^between operations +[\d.]+ +[\d.]+ %$/);
  expect(lines.at(-1)).toMatch(/^total +[\d.]+ +100\.0 %$/);
  const small = p.rows.filter((r) => r.seconds < 0.001 * p.seconds);
  expect(lines.length).toBe(p.rows.length - small.length + (small.length === 0 ? 3 : 4));
  const { traceEvents } = JSON.parse(JSON.stringify(p.toChromeTrace())) as ReturnType<typeof p.toChromeTrace>;
  expect(traceEvents.length).toBe(p.rows.reduce((n, r) => n + r.calls, 0));
  expect(traceEvents.every((e) => e.ph === 'X' && e.dur >= 0 && e.ts >= 0)).toBe(true);
  expect(traceEvents.every((e, i) => i === 0 || e.ts >= traceEvents[i - 1]!.ts + traceEvents[i - 1]!.dur - 1e-3)).toBe(true);
  expect(traceEvents[0]).toMatchObject({ name: 'conv2d', cat: 'forward', args: { module: 'conv (Conv2d)', shapes: [[2, 8, 6, 6]] } });
});

test('an error ends the measurement; a caught error does not affect later rows', () => {
  const x = tensor([1, 2]);
  expect(() =>
    profile(() => {
      throw new RangeError('mine');
    }),
  ).toThrow(new RangeError('mine'));
  for (const [fn, what] of [
    [async () => 1, 'a Promise'],
    [() => runInNewContext('Promise.resolve()'), 'a Promise'],
    [function* () {}, 'an iterator'],
  ] as const)
    expect(() => profile<unknown>(fn)).toThrow(new ArgumentError(`profile: the function returned ${what}; profile its synchronous parts`));
  const { rows } = profile(() => {
    expect(() => x.matmul(tensor([1, 2, 3]))).toThrow();
    x.add(1);
    x.add(1);
  });
  expect(rows.map((r) => [r.op, r.calls])).toEqual([['add', 2]]);
  // No watcher is active any more.
  const before = memory().tensors;
  expect(profile(() => 3).rows).toEqual([]);
  expect(memory().tensors).toBe(before);
});
