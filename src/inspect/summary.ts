/**
 * Module.summary: a table of a model's modules, their parameters and multiply-adds.
 */
import { isTensor, noGrad, zeros, type Tensor } from '../autograd/index.ts';
import type { FloatDType } from '../core/dtype.ts';
import { ArgumentError } from '../core/errors.ts';
import { formatShape, type Shape } from '../core/shape.ts';

/** The part of nn.Module that the instruments use: inspect must not import nn. */
export interface ObservedModule {
  training: boolean;
  namedModules(): [path: string, module: ObservedModule][];
  namedParameters(): Iterable<readonly [name: string, parameter: Tensor]>;
  registerForwardHook(hook: (module: ObservedModule, args: readonly unknown[], output: unknown) => unknown): () => void;
  multiplyAdds(x: Tensor, y: Tensor): number;
}

/** Returns the table. Given an input shape, runs a forward on zeros and adds output shapes and multiply-adds. */
export function summarize(model: ObservedModule, inputShape: Shape | undefined): string {
  const modules = model.namedModules();
  const counts = ownParameters(model, modules);
  const observations = inputShape === undefined ? null : observe(model, modules, inputShape);
  const row = (path: string, type: string, output: string, parameters: number | string, multiplyAdds: number | string): string[] => {
    const parameterText = parameters.toLocaleString('en-US');
    if (observations === null) return [path, type, parameterText];
    return [path, type, output, parameterText, multiplyAdds.toLocaleString('en-US')];
  };
  const rows = modules.map(([path, m]) => {
    const { output, multiplyAdds } = observations?.get(m) ?? NOT_OBSERVED;
    return row(path === '' ? '(model)' : path, m.constructor.name, output, counts.get(m)!, multiplyAdds);
  });
  let totalParameters = 0;
  for (const count of counts.values()) totalParameters += count;
  let totalMultiplyAdds = 0;
  for (const { multiplyAdds } of observations?.values() ?? []) totalMultiplyAdds += multiplyAdds;
  const head = row('path', 'type', 'output', 'parameters', 'multiply-adds');
  return table([head, ...rows, row('total', '', '', totalParameters, totalMultiplyAdds)]);
}

/** Counts the elements of each module's own parameters. A shared parameter counts for the module that namedParameters lists first. */
function ownParameters(model: ObservedModule, modules: readonly (readonly [string, ObservedModule])[]): Map<ObservedModule, number> {
  const counts = new Map(modules.map(([, m]) => [m, 0]));
  const longestPathFirst = [...modules].sort(([a], [b]) => b.length - a.length);
  for (const [name, p] of model.namedParameters()) {
    // The owner is the module with the longest path that is a prefix of the parameter's name.
    const owner = longestPathFirst.find(([path]) => path === '' || name.startsWith(`${path}.`))![1];
    counts.set(owner, counts.get(owner)! + p.numel);
  }
  return counts;
}

/** What the hook of one module recorded. */
interface Observation {
  /** The shape of the last output. */
  output: string;
  /** Sum over all calls. */
  multiplyAdds: number;
}

const NOT_OBSERVED: Observation = { output: '', multiplyAdds: 0 };

/** Runs the model's forward on zeros of `inputShape`; returns what each module did. */
function observe(
  model: ObservedModule,
  modules: readonly (readonly [string, ObservedModule])[],
  inputShape: Shape,
): Map<ObservedModule, Observation> {
  const { forward } = model as { forward?: (x: Tensor) => unknown };
  if (typeof forward !== 'function') throw new ArgumentError(`summary: ${model.constructor.name} has no forward to run on an input`);
  const observations = new Map(modules.map(([, m]) => [m, { ...NOT_OBSERVED }]));
  const [firstParameter] = model.namedParameters();
  const dtype = (firstParameter?.[1].dtype ?? 'float32') as FloatDType;
  withForwardHooks(
    modules,
    (m, [x], y) => {
      // Of several results, as those of a recurrent layer, the first is shown.
      const output: unknown = Array.isArray(y) ? y[0] : y;
      if (!isTensor(output)) return;
      const observation = observations.get(m)!;
      observation.output = formatShape(output.shape);
      observation.multiplyAdds += m.multiplyAdds(x as Tensor, output);
    },
    () => noGrad(() => void forward(zeros(inputShape, { dtype }))),
  );
  return observations;
}

/** Runs `fn` with `hook` as forward hook of all `modules`, in evaluation mode. Restores hooks and modes afterwards, also if `fn` throws. */
export function withForwardHooks<M extends ObservedModule>(
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

/** Lays rows out in columns, numbers right-aligned, with rules under the head and above the total. */
function table(rows: readonly (readonly string[])[]): string {
  const widths = rows[0]!.map((_, c) => Math.max(...rows.map((r) => r[c]!.length)));
  const firstNumber = rows[0]!.indexOf('parameters');
  const align = (cell: string, c: number): string => (c < firstNumber ? cell.padEnd(widths[c]!) : cell.padStart(widths[c]!));
  const lines = rows.map((r) => r.map(align).join('  '));
  const rule = '─'.repeat(lines[0]!.length);
  return [lines[0]!, rule, ...lines.slice(1, -1), rule, lines.at(-1)!].join('\n');
}
