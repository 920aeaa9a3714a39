/**
 * Where the time goes: every operation, forward and backward, timed and counted, by operation and module.
 */
import { ITEM_SIZE } from '../core/dtype.ts';
import { ArgumentError } from '../core/errors.ts';
import { sizeOf, type Shape } from '../core/shape.ts';
import type { View } from '../kernels/view.ts';
import type { AnyOp } from '../autograd/op.ts';
import type { Node } from '../autograd/tape.ts';
import { callers, placeOf, watch, type Caller, type Watcher } from '../autograd/watch.ts';

/** All calls of one operation from one module, in one direction. */
export interface ProfileRow {
  readonly op: string;
  readonly phase: 'forward' | 'backward';
  /** The innermost module that called it, such as `blocks.0.conv (Conv2d)`; '' outside all modules. */
  readonly module: string;
  readonly calls: number;
  /** What is only computed when it is read counts there: batch norm's result at the ReLU behind it, for example. */
  readonly seconds: number;
  /** Bytes of the results; of a backward, those of the operations it is made of (fused kernels' gradients are not counted). */
  readonly bytes: number;
  /** Billions of multiplications and additions per second, of products and convolutions counted as the direct algorithm has them; null for others. */
  readonly gflops: number | null;
}

/** What `profile` found. Prints as a table. */
export interface Profile<T> {
  /** What the function returned. */
  readonly value: T;
  /** Of the whole call. */
  readonly seconds: number;
  /** Slowest first. */
  readonly rows: readonly ProfileRow[];
  /** The table; what is left of the time went to JavaScript between operations and to optimizers. */
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

/** An operation that has begun. */
interface Span {
  readonly op: AnyOp | null;
  readonly name: string;
  readonly phase: 'forward' | 'backward';
  readonly module: string;
  readonly start: number;
  flops: number;
  bytes: number;
  shapes: readonly Shape[];
}

interface Ended extends Span {
  readonly end: number;
}

/**
 * Runs `fn` once and measures every operation in it. Timing costs about a microsecond an operation; run `fn` a few times before,
 * so that V8 has compiled what it runs.
 * Throws: ArgumentError where `fn` is asynchronous: the time of its Promise would be no one's
 * @example console.log(`${profile(() => loss(model.forward(x), y).backward())}`)
 */
export function profile<T>(fn: () => T): Profile<T> {
  const ended: Ended[] = [];
  const before = watch(recorder(ended));
  const start = performance.now();
  try {
    const value = fn();
    const seconds = (performance.now() - start) / 1000;
    if (value instanceof Promise) throw new ArgumentError('profile: the function returned a Promise; profile its synchronous parts');
    const rows = rowsOf(ended);
    return {
      value,
      seconds,
      rows,
      toString: () => table(rows, seconds),
      toChromeTrace: () => ({ traceEvents: ended.map((s) => eventOf(s, start)) }),
    };
  } finally {
    watch(before);
  }
}

/** Writes what ends to `ended`. Operations inside a backward, or inside another's forward, count as part of it. */
function recorder(ended: Ended[]): Watcher {
  const open: Span[] = [];
  const modules = new WeakMap<Node, string>();
  // Looking a module up in its tree takes longer than many an operation.
  const places = new Map<Caller, string>();
  const here = (): string => {
    const caller = callers.at(-1);
    if (caller === undefined) return '';
    const place = places.get(caller) ?? placeOf(caller);
    places.set(caller, place);
    return place;
  };
  const end = (span: Span): void => {
    if (open.length === 0) ended.push({ ...span, end: performance.now() });
  };
  return {
    starting(op) {
      open.push({ op, name: op.name, phase: 'forward', module: here(), start: performance.now(), flops: 0, bytes: 0, shapes: [] });
    },
    computed(op, args, results) {
      // Those above it have thrown.
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
      modules.set(node, here());
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

/** Multiplications and additions of the operations that are made of them. */
function flopsOf(op: string, args: readonly View[], y: View): number {
  const w = op === 'conv2dGradW' ? y : args[1];
  switch (op) {
    case 'matmul':
      return 2 * sizeOf(y.shape) * args[0]!.shape.at(-1)!;
    // Every element of the output's side meets the weights of its channel once.
    case 'conv2d':
      return (2 * sizeOf(y.shape) * sizeOf(w!.shape)) / Math.max(w!.shape[0]!, 1);
    case 'conv2dGradX':
    case 'conv2dGradW':
      return (2 * sizeOf(args[0]!.shape) * sizeOf(w!.shape)) / Math.max(w!.shape[0]!, 1);
    default:
      return 0;
  }
}

function rowsOf(spans: readonly Ended[]): ProfileRow[] {
  const groups = new Map<string, Ended[]>();
  for (const s of spans) {
    const key = `${s.phase} ${s.name} ${s.module}`;
    const group = groups.get(key);
    if (group === undefined) groups.set(key, [s]);
    else group.push(s);
  }
  const rows = [...groups.values()].map((all): ProfileRow => {
    const { name: op, phase, module } = all[0]!;
    const total = (f: (s: Ended) => number): number => all.reduce((n, s) => n + f(s), 0);
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

/** Rows below this share of the time are summed up in the table. */
const SHOWN = 0.001;

function table(rows: readonly ProfileRow[], seconds: number): string {
  const sum = (of: readonly ProfileRow[]): number => of.reduce((n, r) => n + r.seconds, 0);
  const [large, small] = [rows.filter((r) => r.seconds >= SHOWN * seconds), rows.filter((r) => r.seconds < SHOWN * seconds)];
  const timing = (s: number): string[] => [(s * 1000).toFixed(3), `${((100 * s) / seconds).toFixed(1)} %`];
  const cells = [
    ['operation', 'module', 'calls', 'ms', 'share', 'MB', 'GFLOP/s'],
    ...large.map((r) => [
      `${r.op}${r.phase === 'backward' ? ' (backward)' : ''}`,
      r.module,
      String(r.calls),
      ...timing(r.seconds),
      (r.bytes / 1e6).toFixed(2),
      r.gflops === null ? '' : r.gflops.toFixed(1),
    ]),
    ...(small.length === 0
      ? []
      : [[`${small.length} smaller rows`, '', String(small.reduce((n, r) => n + r.calls, 0)), ...timing(sum(small))]]),
    ['between operations', '', '', ...timing(seconds - sum(rows))],
    ['total', '', '', ...timing(seconds)],
  ];
  const widths = cells[0]!.map((_, i) => Math.max(...cells.map((row) => row[i]?.length ?? 0)));
  const line = (row: readonly string[]): string =>
    row.map((cell, i) => (i < 2 ? cell.padEnd(widths[i]!) : cell.padStart(widths[i]!))).join('  ');
  return cells.map((row) => line(row).trimEnd()).join('\n');
}

function eventOf({ name, phase, module, start, end, shapes }: Ended, origin: number): TraceEvent {
  return { name, cat: phase, ph: 'X', ts: (start - origin) * 1000, dur: (end - start) * 1000, pid: 0, tid: 0, args: { module, shapes } };
}
