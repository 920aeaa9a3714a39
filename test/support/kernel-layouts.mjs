// Prints, as JSON, how the AssemblyScript compiler lays out the classes of kernel arguments: those of the kernels, and those of a sample,
// for which it also prints the generated TypeScript. The test runs it as a process of its own.
import * as assemblyscript from 'assemblyscript';
import asc from 'assemblyscript/asc';
import { collectArguments } from '../../scripts/kernel-arguments.mjs';

const { ElementKind } = assemblyscript.default ?? assemblyscript;

/** Classes whose fields need padding, also between a base and the class that extends it. */
const SAMPLE = `
import { Flag, Input, Pointer, Records } from './runtime/abi';
@unmanaged export class Loop { size: u32; }
@unmanaged export class Odd { flag: Flag; factor: f64; count: i32; }
@unmanaged export class OddArgs extends Odd { next: i32; x: Input; last: f64; one: Pointer<Odd>; loops: Records<Loop>; end: usize; }
export function odd_f32(args: OddArgs, first: i32, last: i32): void { store<f64>(args.x, args.last + args.factor); }
`;
const SAMPLE_FILE = 'src/kernels/assembly/sample.ts';

/** Compiles `entry` and returns the layout of the classes it uses. */
async function layoutsOf(entry, transform = {}) {
  let program;
  let messages = '';
  const { error } = await asc.main([entry, '--noEmit', '--runtime', 'stub', '--enable', 'simd,threads'], {
    readFile: (name, base) => (name === SAMPLE_FILE ? SAMPLE : readSource(name, base)),
    stderr: { write: (text) => (messages += text) },
    transforms: [transform, { afterInitialize: (p) => (program = p) }],
  });
  if (error) throw new Error(messages);
  const layouts = [];
  for (const element of program.elementsByName.values()) {
    const isOwn = element.kind === ElementKind.ClassPrototype && element.internalName.startsWith('src/kernels/assembly/');
    for (const instance of isOwn ? (element.instances?.values() ?? []) : []) layouts.push(layoutOf(instance));
  }
  return layouts;
}

function layoutOf({ prototype, members, nextMemoryOffset }) {
  const fields = [...members.values()].map(({ name, fieldDeclaration, instance }) => {
    const { type } = fieldDeclaration;
    const of = type.typeArguments?.[0]?.name.identifier.text ?? null;
    return { name, type: type.name.identifier.text, of, offset: instance.memoryOffset };
  });
  return { name: prototype.name, fields, end: nextMemoryOffset };
}

async function readSource(name, base) {
  const { readFile } = await import('node:fs/promises');
  const { join } = await import('node:path');
  return readFile(join(base, name), 'utf8').catch(() => null);
}

const { transform, text } = collectArguments();
const kernels = await layoutsOf('src/kernels/assembly/index.ts');
const sample = await layoutsOf(SAMPLE_FILE, transform);
process.stdout.write(JSON.stringify({ kernels, sample, sampleText: text() }));
