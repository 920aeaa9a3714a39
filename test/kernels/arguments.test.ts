import { execFileSync, spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, describe, expect, test } from 'vitest';
import { allocate } from '../../src/kernels/memory/allocator.ts';
import { memoryViews, type MemoryViews } from '../../src/kernels/memory/wasm-memory.ts';
import * as generated from '../../src/kernels/wasm/arguments.generated.ts';
import { launch } from '../../src/kernels/wasm/launch.ts';
import { read, view } from './layouts.ts';

// Kernel arguments: the generated TypeScript stores each field where the compiled kernels read it, and the TypeScript compiler accepts
// exactly the fields of a kernel's class.

const root = fileURLToPath(new URL('../..', import.meta.url));

interface Field {
  readonly name: string;
  readonly type: string;
  /** T of a type Records<T> or Pointer<T>. */
  readonly of: string | null;
  readonly offset: number;
}

/** A class as the AssemblyScript compiler lays it out; see test/support/kernel-layouts.mjs. */
interface Layout {
  readonly name: string;
  readonly fields: readonly Field[];
  /** The byte after the last field. */
  readonly end: number;
}

interface Layouts {
  readonly kernels: readonly Layout[];
  readonly sample: readonly Layout[];
  /** The TypeScript that is generated for the sample. */
  readonly sampleText: string;
}

const script = join(root, 'test/support/kernel-layouts.mjs');
const layouts = JSON.parse(execFileSync(process.execPath, [script], { cwd: root, encoding: 'utf8' })) as Layouts;
const layoutOf = (name: string): Layout => layouts.kernels.find((l) => l.name === name)!;

/** Bytes from record to record of a class. */
function sizeOf({ fields, end }: Layout): number {
  return fields.some((f) => f.type === 'f64') ? Math.ceil(end / 8) * 8 : end;
}

let count = 0;

/** Makes a value for a field; numbers and addresses are all different. */
function valueOf({ type, of }: Field): unknown {
  const number = ++count;
  if (/Input|Output/.test(type)) return { storage: { ptr: number, pendingCalls: [] }, offset: 0, dtype: 'bool' };
  if (type === 'Flag') return true;
  if (type === 'Records') return [argumentsOf(layoutOf(of!)), argumentsOf(layoutOf(of!))];
  if (type === 'Pointer') return argumentsOf(layoutOf(of!));
  return number;
}

function argumentsOf(layout: Layout): Record<string, unknown> {
  return Object.fromEntries(layout.fields.map((f) => [f.name, valueOf(f)]));
}

/** Reads the fields of a class from the memory, as a kernel does. */
function stored(layout: Layout, args: Record<string, unknown>, at: number): Record<string, unknown> {
  const { i32, f64 } = memoryViews();
  const valueAt = ({ name, type, of, offset }: Field): unknown => {
    const word = i32[(at + offset) / 4]!;
    if (/Input|Output/.test(type)) return { storage: { ptr: word, pendingCalls: [] }, offset: 0, dtype: 'bool' };
    if (type === 'Flag') return word === 1;
    if (type === 'f64') return f64[(at + offset) / 8];
    if (type === 'Pointer') return stored(layoutOf(of!), args[name] as Record<string, unknown>, word);
    if (type !== 'Records') return word;
    const record = layoutOf(of!);
    return (args[name] as Record<string, unknown>[]).map((r, i) => stored(record, r, word + i * sizeOf(record)));
  };
  return Object.fromEntries(layout.fields.map((f) => [f.name, valueAt(f)]));
}

type Writer = (args: unknown, at: number, views: MemoryViews) => void;
const writerOf = (name: string): Writer | undefined => (generated as unknown as Record<string, Writer>)[`write${name}`];
const written = layouts.kernels.filter((l) => writerOf(l.name) !== undefined);

describe('the generated writers', () => {
  test.each(written.map((layout) => [layout.name, layout] as const))('store each field of %s where kernels read it', (name, layout) => {
    const block = allocate(4096);
    const args = argumentsOf(layout);
    writerOf(name)!(args, block.ptr, memoryViews());
    expect(stored(layout, args, block.ptr)).toEqual(args);
    expect((generated.BYTES as Record<string, number>)[name]).toBe(sizeOf(layout));
    block.free();
  });

  test('exist for the arguments of every kernel', () => {
    expect(written.length).toBeGreaterThan(30);
    expect(Object.keys(generated.argumentClasses).filter((name) => !written.some((l) => l.name === name))).toEqual([]);
  });

  test('pad fields as the compiler does, also behind the fields of a base class', () => {
    const layout = layouts.sample.find((l) => l.name === 'OddArgs')!;
    const writer = /function writeOddArgs[\s\S]*?^\}/m.exec(layouts.sampleText)![0];
    const offsets = [...writer.matchAll(/\[\(at \+ (\d+)\)/g)].map((m) => Number(m[1]));
    expect(offsets).toEqual(layout.fields.map((f) => f.offset));
    for (const l of layouts.sample) expect(layouts.sampleText).toContain(`\n  ${l.name}: ${sizeOf(l)},\n`);
  });
});

describe('a launched kernel', () => {
  const one = { chunks: 1, work: 0 };

  test('reads a list of records', () => {
    const x = view([2, 2, 3], 'float64', 'row-major', [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11]);
    const y = view([2, 3], 'float64');
    const kept = [
      { size: 3, xStride: 8, yStride: 8 },
      { size: 2, xStride: 48, yStride: 24 },
    ];
    const tasks = { tasks: 6, tasksPerChunk: 6, rowsPerSegment: 2, rows: 2, segments: 1, run: 1, tail: 1, runStride: 8 };
    const loops = { kept, keptCount: 2, reduced: [{ size: 2, xStride: 24 }], reducedCount: 1 };
    launch('reduce_rows_sum_f64', one, { x, y, partials: 0, ...tasks, ...loops });
    expect(read(y)).toEqual([3, 5, 7, 15, 17, 19]);
  });

  test('reads the records behind its pointers', () => {
    const x = view([1, 1, 2, 4], 'float64', 'sliced', [1, 2, 8, 4, 7, 6, 5, 3]);
    const y = view([1, 1, 1, 2], 'float64');
    const index = view([1, 1, 1, 2], 'int32');
    const sizes = { C: 1, H: 2, W: 4, OH: 1, OW: 2, KH: 2, KW: 2 };
    const windows = { strideH: 2, strideW: 2, paddingH: 0, paddingW: 0, dilationH: 1, dilationW: 1 };
    const strides = {
      xStrides: { n: 16, c: 16, h: 8, w: 2 },
      yStrides: { n: 2, c: 2, h: 2, w: 1 },
      indexStrides: { n: 2, c: 2, h: 2, w: 1 },
    };
    launch('maxPool2d_f64', one, { x, y, index, ...sizes, ...windows, ...strides });
    expect(read(y)).toEqual([7, 8]);
    expect(read(index)).toEqual([4, 2]);
  });
});

describe('the TypeScript compiler', () => {
  const folder = mkdtempSync(join(tmpdir(), 'chainrule-arguments-'));
  afterAll(() => rmSync(folder, { recursive: true }));

  /** Returns the errors, each as line and code, of a program that launches kernels. */
  function errorsOf(...lines: string[]): string[] {
    const compilerOptions = { rewriteRelativeImportExtensions: false, typeRoots: [join(root, 'node_modules/@types')] };
    const config = { extends: join(root, 'tsconfig.json'), compilerOptions, include: [], files: ['program.ts'] };
    writeFileSync(join(folder, 'tsconfig.json'), JSON.stringify(config));
    writeFileSync(join(folder, 'package.json'), '{ "type": "module" }');
    const head = `import { launch } from '${join(root, 'src/kernels/wasm/launch.ts').replaceAll('\\', '/')}';`;
    writeFileSync(join(folder, 'program.ts'), [head, ...lines].join('\n'));
    const tsc = join(root, 'node_modules/typescript/bin/tsc');
    const { stdout } = spawnSync(process.execPath, [tsc, '-p', folder, '--pretty', 'false'], { encoding: 'utf8', cwd: root });
    return [...stdout.matchAll(/program\.ts\((\d+),\d+\): error (TS\d+)/g)].map((m) => `line ${Number(m[1]) - 1}: ${m[2]}`);
  }

  test('rejects a missing field, an extra field and a field of another type', () => {
    const errors = errorsOf(
      "launch('fill_f32', { chunks: 1, work: 0 }, { value: 1, nest: 0 });",
      "launch('fill_f32', { chunks: 1, work: 0 }, { value: 1 });",
      "launch('fill_f32', { chunks: 1, work: 0 }, { value: 1, nest: 0, other: 2 });",
      "launch('fill_f32', { chunks: 1, work: 0 }, { value: true, nest: 0 });",
      "launch('fill_f16', { chunks: 1, work: 0 }, { value: 1, nest: 0 });",
    );
    expect(errors).toEqual(['line 2: TS2741', 'line 3: TS2353', 'line 4: TS2322', 'line 5: TS2345']);
  });
});
