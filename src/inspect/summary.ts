/**
 * Module.summary: a table of a model's modules.
 */
import { isTensor, noGrad, zeros, type Tensor } from '../autograd/index.ts';
import type { FloatDType } from '../core/dtype.ts';
import { ArgumentError } from '../core/errors.ts';
import { formatShape, type Shape } from '../core/shape.ts';

/** What a module must have to be looked at; an nn.Module has it. */
export interface Observed {
  training: boolean;
  namedModules(): [path: string, module: Observed][];
  namedParameters(): Iterable<readonly [name: string, parameter: Tensor]>;
  registerForwardHook(hook: (module: Observed, args: readonly unknown[], output: unknown) => unknown): () => void;
  multiplyAdds(x: Tensor, y: Tensor): number;
}

/** The table; with the shape of an input, what a forward of zeros shows too. */
export function summarize(model: Observed, inputShape: Shape | undefined): string {
  const modules = model.namedModules();
  const counts = ownParameters(model, modules);
  const seen = inputShape === undefined ? null : observe(model, modules, inputShape);
  const row = (path: string, type: string, output: string, ...numbers: (number | string)[]): string[] => {
    const right = numbers.map((n) => n.toLocaleString('en-US'));
    return seen === null ? [path, type, right[0]!] : [path, type, output, ...right];
  };
  const rows = modules.map(([path, m]) => {
    const { output, multiplyAdds } = seen?.get(m) ?? NOTHING;
    return row(path === '' ? '(model)' : path, m.constructor.name, output, counts.get(m)!, multiplyAdds);
  });
  const parameters = [...counts.values()].reduce((a, b) => a + b, 0);
  const total = [...(seen?.values() ?? [])].reduce((a, s) => a + s.multiplyAdds, 0);
  return table([row('path', 'type', 'output', 'parameters', 'multiply-adds'), ...rows, row('total', '', '', parameters, total)]);
}

/** Elements of the parameters that belong to each module itself; a shared one counts where it is met first. */
function ownParameters(model: Observed, modules: readonly (readonly [string, Observed])[]): Map<Observed, number> {
  const counts = new Map(modules.map(([, m]) => [m, 0]));
  const paths = [...modules].sort(([a], [b]) => b.length - a.length);
  for (const [name, p] of model.namedParameters()) {
    // The longest module path that the name continues is its owner.
    const owner = paths.find(([path]) => path === '' || name.startsWith(`${path}.`))![1];
    counts.set(owner, counts.get(owner)! + p.numel);
  }
  return counts;
}

interface Seen {
  /** The shape of the (last) output. */
  output: string;
  /** Over all calls. */
  multiplyAdds: number;
}

const NOTHING: Seen = { output: '', multiplyAdds: 0 };

/** What every module does with zeros of `inputShape`. */
function observe(model: Observed, modules: readonly (readonly [string, Observed])[], inputShape: Shape): Map<Observed, Seen> {
  const { forward } = model as { forward?: (x: Tensor) => unknown };
  if (typeof forward !== 'function') throw new ArgumentError(`summary: ${model.constructor.name} has no forward to run on an input`);
  const seen = new Map(modules.map(([, m]) => [m, { ...NOTHING }]));
  const dtype = ([...model.namedParameters()][0]?.[1].dtype ?? 'float32') as FloatDType;
  watched(
    modules,
    (m, [x], y) => {
      if (!isTensor(y)) return;
      const entry = seen.get(m)!;
      entry.output = formatShape(y.shape);
      entry.multiplyAdds += m.multiplyAdds(x as Tensor, y);
    },
    () => noGrad(() => void forward(zeros(inputShape, { dtype }))),
  );
  return seen;
}

/** Runs `fn` with `hook` on `modules`, all of them in evaluation mode; afterwards they are as before, also when `fn` throws. */
export function watched<M extends Observed>(
  modules: readonly (readonly [string, M])[],
  hook: (module: M, args: readonly unknown[], output: unknown) => unknown,
  fn: () => void,
): void {
  const undo = modules.map(([, m]) => {
    const { training } = m;
    const unhook = m.registerForwardHook((_, args, output) => hook(m, args, output));
    m.training = false;
    return () => {
      unhook();
      m.training = training;
    };
  });
  try {
    fn();
  } finally {
    for (const restore of undo) restore();
  }
}

/** Columns of equal width, numbers right-aligned, rules under the head and above the foot. */
function table(rows: readonly (readonly string[])[]): string {
  const widths = rows[0]!.map((_, c) => Math.max(...rows.map((r) => r[c]!.length)));
  const numeric = rows[0]!.indexOf('parameters');
  const align = (cell: string, c: number): string => (c < numeric ? cell.padEnd(widths[c]!) : cell.padStart(widths[c]!));
  const lines = rows.map((r) => r.map(align).join('  '));
  const rule = '─'.repeat(lines[0]!.length);
  return [lines[0]!, rule, ...lines.slice(1, -1), rule, lines.at(-1)!].join('\n');
}
