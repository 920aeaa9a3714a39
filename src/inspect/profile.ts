/**
 * Measures the time of every operation, forward and backward, and sums it by operation and module.
 */
import { kindOfLaterWork } from '../core/describe.ts';
import { ITEM_SIZE } from '../core/dtype.ts';
import { ArgumentError } from '../core/errors.ts';
import { checkFunction, refuseOptions } from '../core/options.ts';
import { sizeOf, type Shape } from '../core/shape.ts';
import type { View } from '../kernels/view.ts';
import type { Node, RecordedOp } from '../autograd/tape.ts';
import { addInstrumentation, moduleStack, placeOf, type ModuleFrame, type Instrumentation } from '../autograd/instrumentation.ts';

/** All calls of one operation from one module, in one direction. */
export interface ProfileRow {
  readonly op: string;
  readonly phase: 'forward' | 'backward';
  /** The innermost module that called it, such as `blocks.0.conv (Conv2d)`; '' outside all modules. */
  readonly module: string;
  readonly calls: number;
  /** A deferred call is counted where its result is read: batch norm's last pass at the ReLU after it, for example. */
  readonly seconds: number;
  /** Bytes of the results. For a backward: of the results of its operations (gradients from fused kernels are not counted). */
  readonly bytes: number;
  /** Billions of multiplications and additions per second, counted as in the direct algorithm; null except for products and convolutions. */
  readonly gflops: number | null;
}

/** The result of `profile`. Prints as a table. */
export interface Profile<T> {
  /** The function's return value. */
  readonly value: T;
  /** Duration of the whole call. */
  readonly seconds: number;
  /** Slowest first. */
  readonly rows: readonly ProfileRow[];
  /** The table. The time between operations is JavaScript's and the optimizers'. */
  toString(): string;
  /** A timeline in the trace event format, for chrome://tracing or ui.perfetto.dev: write `JSON.stringify(p.toChromeTrace())` to a file. */
  toChromeTrace(): { readonly traceEvents: readonly TraceEvent[] };
}

/** One operation on the timeline: a complete event, times in microseconds. */
export interface TraceEvent {
  readonly name: string;
  readonly cat: 'forward' | 'backward';
  readonly ph: 'X';
  readonly ts: number;
  readonly dur: number;
  readonly pid: 0;
  readonly tid: 0;
  readonly args: { readonly module: string; readonly shapes: readonly Shape[] };
}

/** An operation that has started. */
interface Span {
  readonly op: RecordedOp | null;
  readonly name: string;
  readonly phase: 'forward' | 'backward';
  readonly module: string;
  readonly start: number;
  flops: number;
  bytes: number;
  shapes: readonly Shape[];
}

/** An operation that has ended. */
interface EndedSpan extends Span {
  readonly end: number;
}

/**
 * Runs `fn` once and measures every operation in it. Timing costs about a microsecond an operation. Run `fn` a few times before,
 * so that V8 has compiled the code.
 * Throws: ArgumentError if `fn` is asynchronous: the work after its Promise would not be measured
 * @example console.log(`${profile(() => loss(model.forward(x), y).backward())}`)
 */
export function profile<T>(fn: () => T): Profile<T> {
  checkFunction('profile', 'fn', fn);
  refuseOptions('profile', arguments[1]);
  const ended: EndedSpan[] = [];
  const stop = addInstrumentation(recorder(ended));
  const start = performance.now();
  try {
    const value = fn();
    const seconds = (performance.now() - start) / 1000;
    const later = kindOfLaterWork(value);
    if (later !== null) throw new ArgumentError(`profile: the function returned ${later}; profile its synchronous parts`);
    const rows = rowsOf(ended);
    return {
      value,
      seconds,
      rows,
      toString: () => table(rows, seconds),
      toChromeTrace: () => ({ traceEvents: ended.map((s) => eventOf(s, start)) }),
    };
  } finally {
    stop();
  }
}

/** Returns a watcher that appends ended spans to `ended`. Operations inside a backward or another's forward count as part of it. */
function recorder(ended: EndedSpan[]): Instrumentation {
  const open: Span[] = [];
  const modules = new WeakMap<Node, string>();
  // Cached, as finding a module's path in its tree takes longer than a small operation.
  const places = new Map<ModuleFrame, string>();
  const currentModule = (): string => {
    const frame = moduleStack.at(-1);
    if (frame === undefined) return '';
    const place = places.get(frame) ?? placeOf(frame);
    places.set(frame, place);
    return place;
  };
  const end = (span: Span): void => {
    if (open.length === 0) ended.push({ ...span, end: performance.now() });
  };
  return {
    starting(op) {
      open.push({ op, name: op.name, phase: 'forward', module: currentModule(), start: performance.now(), flops: 0, bytes: 0, shapes: [] });
    },
    computed(op, args, results) {
      // Operations above it on the stack have thrown and never end.
      while (open.at(-1)?.op !== op) open.pop();
      const span = open.pop()!;
      span.flops += flopsOf(op.name, args as View[], results[0]!);
      span.bytes += results.reduce((n, r) => n + sizeOf(r.shape) * ITEM_SIZE[r.dtype], 0);
      span.shapes = results.map((r) => r.shape);
      const outer = open.at(-1);
      if (outer !== undefined) {
        outer.flops += span.flops;
        outer.bytes += span.bytes;
      }
      end(span);
    },
    recorded(node) {
      modules.set(node, currentModule());
    },
    visiting(node) {
      if (node.op === null) return;
      open.length = 0;
      const module = modules.get(node) ?? '';
      open.push({
        op: null,
        name: node.name,
        phase: 'backward',
        module,
        start: performance.now(),
        flops: 0,
        bytes: 0,
        shapes: [node.output.shape],
      });
    },
    visited() {
      const span = open.pop();
      if (span !== undefined) end(span);
    },
  };
}

/** Returns the multiplications and additions of a product or convolution by the direct algorithm; 0 for other operations. */
function flopsOf(op: string, args: readonly View[], y: View): number {
  const w = op === 'conv2dGradW' ? y : args[1];
  switch (op) {
    case 'matmul':
      return 2 * sizeOf(y.shape) * args[0]!.shape.at(-1)!;
    // Each output element is a dot product with the weights of one output channel.
    case 'conv2d':
      return (2 * sizeOf(y.shape) * sizeOf(w!.shape)) / Math.max(w!.shape[0]!, 1);
    case 'conv2dGradX':
    case 'conv2dGradW':
      return (2 * sizeOf(args[0]!.shape) * sizeOf(w!.shape)) / Math.max(w!.shape[0]!, 1);
    default:
      return 0;
  }
}

/** Sums the spans by phase, operation and module; slowest first. */
function rowsOf(spans: readonly EndedSpan[]): ProfileRow[] {
  const groups = new Map<string, EndedSpan[]>();
  for (const s of spans) {
    const key = `${s.phase} ${s.name} ${s.module}`;
    const group = groups.get(key);
    if (group === undefined) groups.set(key, [s]);
    else group.push(s);
  }
  const rows = [...groups.values()].map((all): ProfileRow => {
    const { name: op, phase, module } = all[0]!;
    const total = (f: (s: EndedSpan) => number): number => all.reduce((n, s) => n + f(s), 0);
    const seconds = total((s) => s.end - s.start) / 1000;
    const flops = total((s) => s.flops);
    return {
      op,
      phase,
      module,
      calls: all.length,
      seconds,
      bytes: total((s) => s.bytes),
      gflops: flops === 0 ? null : flops / seconds / 1e9,
    };
  });
  return rows.sort((a, b) => b.seconds - a.seconds);
}

/** The table sums up rows below this share of the time. */
const MIN_SHARE = 0.001;

function table(rows: readonly ProfileRow[], seconds: number): string {
  const sum = (of: readonly ProfileRow[]): number => of.reduce((n, r) => n + r.seconds, 0);
  const large = rows.filter((r) => r.seconds >= MIN_SHARE * seconds);
  const small = rows.filter((r) => r.seconds < MIN_SHARE * seconds);
  const timing = (s: number): string[] => [(s * 1000).toFixed(3), `${((100 * s) / seconds).toFixed(1)} %`];
  const cells = [['operation', 'module', 'calls', 'ms', 'share', 'MB', 'GFLOP/s']];
  for (const { op, phase, module, calls, seconds: time, bytes, gflops } of large) {
    const operation = phase === 'backward' ? `${op} (backward)` : op;
    const rate = gflops === null ? '' : gflops.toFixed(1);
    cells.push([operation, module, String(calls), ...timing(time), (bytes / 1e6).toFixed(2), rate]);
  }
  if (small.length > 0) {
    const calls = small.reduce((n, r) => n + r.calls, 0);
    cells.push([`${small.length} smaller rows`, '', String(calls), ...timing(sum(small))]);
  }
  cells.push(['between operations', '', '', ...timing(seconds - sum(rows))], ['total', '', '', ...timing(seconds)]);
  const widths = cells[0]!.map((_, i) => Math.max(...cells.map((row) => row[i]?.length ?? 0)));
  const line = (row: readonly string[]): string =>
    row.map((cell, i) => (i < 2 ? cell.padEnd(widths[i]!) : cell.padStart(widths[i]!))).join('  ');
  return cells.map((row) => line(row).trimEnd()).join('\n');
}

/** Converts a span to a trace event, relative to `origin`. */
function eventOf({ name, phase, module, start, end, shapes }: EndedSpan, origin: number): TraceEvent {
  return { name, cat: phase, ph: 'X', ts: (start - origin) * 1000, dur: (end - start) * 1000, pid: 0, tid: 0, args: { module, shapes } };
}
