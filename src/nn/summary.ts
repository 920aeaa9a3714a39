/**
 * Module.summary: a table of a model's modules.
 */
import { isTensor, noGrad, zeros, type Tensor } from '../autograd/index.ts';
import type { FloatDType } from '../core/dtype.ts';
import { ArgumentError } from '../core/errors.ts';
import { formatShape, type Shape } from '../core/shape.ts';
import type { Module } from './module.ts';

export function summarize(model: Module, inputShape: Shape | undefined): string {
  const modules = model.namedModules();
  const outputs = inputShape === undefined ? null : outputShapes(model, modules, inputShape);
  const counts = ownParameters(model, modules);
  const rows = modules.map(([path, m]) => [
    path === '' ? '(model)' : path,
    m.constructor.name,
    ...(outputs === null ? [] : [outputs.get(m) ?? '']),
    counts.get(m)!.toLocaleString('en-US'),
  ]);
  const head = ['path', 'type', ...(outputs === null ? [] : ['output']), 'parameters'];
  const total = [...counts.values()].reduce((a, b) => a + b, 0);
  const foot = ['total', ...head.slice(1, -1).map(() => ''), total.toLocaleString('en-US')];
  return table([head, ...rows, foot]);
}

/** Elements of the parameters that belong to each module itself; a shared one counts where it is met first. */
function ownParameters(model: Module, modules: readonly (readonly [string, Module])[]): Map<Module, number> {
  const counts = new Map(modules.map(([, m]) => [m, 0]));
  const paths = [...modules].sort(([a], [b]) => b.length - a.length);
  for (const [name, p] of model.namedParameters()) {
    // The longest module path that the name continues is its owner.
    const owner = paths.find(([path]) => path === '' || name.startsWith(`${path}.`))![1];
    counts.set(owner, counts.get(owner)! + p.numel);
  }
  return counts;
}

/** The shape of every module's (last) output for zeros of `inputShape`. */
function outputShapes(model: Module, modules: readonly (readonly [string, Module])[], inputShape: Shape): Map<Module, string> {
  const { forward } = model as { forward?: (x: Tensor) => unknown };
  if (typeof forward !== 'function') throw new ArgumentError(`summary: ${model.constructor.name} has no forward to run on an input`);
  const shapes = new Map<Module, string>();
  const unhook = modules.map(([, m]) =>
    m.registerForwardHook((_, __, y) => {
      if (isTensor(y)) shapes.set(m, formatShape(y.shape));
    }),
  );
  const modes = modules.map(([, m]) => m.training);
  try {
    model.eval();
    const dtype = (model.parameters()[0]?.dtype ?? 'float32') as FloatDType;
    noGrad(() => void forward(zeros(inputShape, { dtype })));
  } finally {
    modules.forEach(([, m], i) => (m.training = modes[i]!));
    for (const remove of unhook) remove();
  }
  return shapes;
}

/** Columns of equal width, the last one right-aligned, rules under the head and above the foot. */
function table(rows: readonly (readonly string[])[]): string {
  const widths = rows[0]!.map((_, c) => Math.max(...rows.map((r) => r[c]!.length)));
  const lines = rows.map((r) => r.map((cell, c) => (c === r.length - 1 ? cell.padStart(widths[c]!) : cell.padEnd(widths[c]!))).join('  '));
  const rule = '─'.repeat(lines[0]!.length);
  return [lines[0]!, rule, ...lines.slice(1, -1), rule, lines.at(-1)!].join('\n');
}
