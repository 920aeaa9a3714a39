// Generates the TypeScript side of the kernels' arguments from their AssemblyScript sources, while these are compiled.
//
// A kernel is an exported function (args, first, last). Its arguments are the fields of an `@unmanaged` class:
//
//   @unmanaged
//   class ScaleArgs {
//     x: Input;
//     y: Output;
//     factor: f64;
//   }
//   export function scale_f32(args: ScaleArgs, first: i32, last: i32): void { … }
//
// The generated module, src/kernels/wasm/arguments.generated.ts, has in this order
//
//   export interface ScaleArgs {…}                 for each class, the object that TypeScript passes:
//                                                  { readonly x: View; readonly y: View; readonly factor: number }
//   export interface KernelArguments {…}           the class of each kernel's arguments: readonly scale_f32: ScaleArgs
//   export function writeScaleArgs(a, at, v) {…}   for each class, a function that stores the fields at byte `at`:
//                                                    v.i32[(at + 0) >> 2] = materializedAddressOf(a.x);
//                                                    v.i32[(at + 4) >> 2] = materializedAddressOf(a.y);
//                                                    v.f64[(at + 8) >> 3] = a.factor;
//   function materializeScaleArgs(a) {…}           for each kernel's class, a function that runs the tensors' deferred calls
//   export const argumentClasses = {…}             both functions of each kernel's class
//   export const kernelsByClass = {…}              the kernels that take each class: ScaleArgs: 'scale'
//   export const BYTES = {…}                       the size of each class: ScaleArgs: 16
//
// So a field that only one side has is an error of the TypeScript compiler. The types of fields are in assembly/runtime/abi.ts.
import * as assemblyscript from 'assemblyscript';

const { CommonFlags, NodeKind } = assemblyscript.default ?? assemblyscript;

/** Bytes of a field, unless it is an f64: addresses, flags and 32-bit numbers. */
const WORD = 4;
const DOUBLE = 8;

/** Types that are numbers in TypeScript. */
const NUMBERS = ['i32', 'u32', 'usize', 'f64'];

/** Types of tensors: their type in TypeScript, and the kernel's access. */
const VIEWS = {
  Input: { type: 'View', access: 'read' },
  Output: { type: 'View', access: 'write' },
  OptionalInput: { type: 'View | null', access: 'read' },
  OptionalOutput: { type: 'View | null', access: 'write' },
};

/**
 * Returns a transform of the compiler, which collects classes and kernels after parsing, and `text`, which then returns the generated
 * module.
 */
export function collectArguments() {
  const classes = new Map();
  const kernels = [];
  const transform = {
    afterParse({ sources }) {
      for (const { internalPath, statements } of sources) {
        if (!internalPath.startsWith('src/kernels/assembly/')) continue;
        for (const statement of statements) {
          if (statement.kind === NodeKind.ClassDeclaration) classes.set(statement.name.text, readClass(statement));
          else if (isKernel(statement)) kernels.push(readKernel(statement));
        }
      }
    },
  };
  const text = () => render(layOut(classes), kernels);
  return { transform, text };
}

// — Step 1: read the syntax tree —

/** Returns the name and base of a class, and its own fields with their types: `name` of a type `name<of>`. */
function readClass(statement) {
  const fields = statement.members
    .filter((m) => m.kind === NodeKind.FieldDeclaration)
    .map((m) => ({ field: m.name.text, type: readType(m.type) }));
  return { base: statement.extendsType?.name.identifier.text ?? null, fields };
}

function readType(type) {
  return { name: type.name.identifier.text, of: type.typeArguments?.[0]?.name.identifier.text ?? null };
}

/** Returns whether a statement exports a function (args, first, last). */
function isKernel(statement) {
  if (statement.kind !== NodeKind.FunctionDeclaration || (statement.flags & CommonFlags.Export) === 0) return false;
  const { parameters } = statement.signature;
  return parameters.length === 3 && parameters[1].name.text === 'first' && parameters[2].name.text === 'last';
}

/** Returns a kernel's name and the class of its arguments. */
function readKernel(statement) {
  return { name: statement.name.text, args: statement.signature.parameters[0].type.name.identifier.text };
}

// — Step 2: compute offsets —

/** Returns the classes with the offset of every field, those of the base class first, as the compiler lays them out. */
function layOut(classes) {
  const done = new Map();
  const visit = (name) => {
    if (!done.has(name)) {
      const { base, fields } = classes.get(name);
      const inherited = base === null ? { fields: [], end: 0 } : visit(base);
      done.set(name, { base, ...placeFields(inherited, fields) });
    }
    return done.get(name);
  };
  for (const name of classes.keys()) visit(name);
  return done;
}

/** Appends fields to the inherited ones, each at a multiple of its size. `end` is the byte after the last field. */
function placeFields(inherited, own) {
  let { end } = inherited;
  const fields = [...inherited.fields];
  for (const { field, type } of own) {
    const bytes = type.name === 'f64' ? DOUBLE : WORD;
    const offset = roundUp(end, bytes);
    fields.push({ field, type, offset });
    end = offset + bytes;
  }
  // A class with f64 fields takes a multiple of 8 bytes, so that its records can follow each other.
  const hasDoubles = fields.some((f) => f.type.name === 'f64');
  return { fields, end, size: hasDoubles ? roundUp(end, DOUBLE) : end };
}

function roundUp(n, multiple) {
  return Math.ceil(n / multiple) * multiple;
}

// — Step 3: write the module —

function render(classes, kernels) {
  const names = [...classes.keys()];
  const kernelsOf = new Map(names.map((name) => [name, kernels.filter((k) => k.args === name)]));
  const taken = names.filter((name) => kernelsOf.get(name).length > 0);
  // A class that only serves as the base of others is never stored by itself.
  const bases = new Set([...classes.values()].map((c) => c.base));
  const records = new Set([...classes.values()].flatMap((c) => c.fields.map((f) => f.type.of)));
  const stored = names.filter((name) => taken.includes(name) || records.has(name) || !bases.has(name));
  const withViews = taken.filter((name) => hasViews(classes.get(name)));
  return [
    [
      "import type { MemoryViews } from '../memory/wasm-memory.ts';",
      "import { addressOf, materialize, materializedAddressOf, type View } from '../view.ts';",
    ].join('\n'),
    ...names.map((name) => interfaceOf(name, classes)),
    block(
      "The class of each kernel's arguments.",
      'export interface KernelArguments {',
      kernels.map((k) => `readonly ${k.name}: ${k.args};`),
      '}',
    ),
    ...stored.map((name) => writerOf(name, classes, taken.includes(name))),
    ...withViews.map((name) => materializerOf(name, classes.get(name))),
    block(
      "The functions of each kernel's class: one stores its fields, one materializes the tensors among them.",
      'export const argumentClasses = {',
      taken.map((name) => `${name}: { write: write${name}, materialize: ${withViews.includes(name) ? `materialize${name}` : 'null'} },`),
      '} as const;',
    ),
    block(
      'The kernels that take each class, without the element type at the end of their names.',
      'export const kernelsByClass: Readonly<Record<keyof typeof argumentClasses, string>> = {',
      taken.map((name) => `${name}: '${stemsOf(kernelsOf.get(name))}',`),
      '};',
    ),
    block(
      'The size of each class in bytes.',
      'export const BYTES = {',
      stored.map((name) => `${name}: ${classes.get(name).size},`),
      '} as const;',
    ),
  ].join('\n\n');
}

/** Returns a documented declaration with indented lines. */
function block(comment, head, lines, end) {
  return [`/** ${comment} */`, head, ...lines.map((line) => `  ${line}`), end].join('\n');
}

/** Returns the different names of kernels, without the element type at their ends, joined by spaces. */
function stemsOf(kernels) {
  const stems = kernels.map((k) => k.name.replace(/_(f32|f64|i32|u8|8|32|64)$/, ''));
  return [...new Set(stems)].join(' ');
}

function hasViews({ fields }) {
  return fields.some((f) => VIEWS[f.type.name] !== undefined);
}

function interfaceOf(name, classes) {
  const lines = classes.get(name).fields.map((f) => `readonly ${f.field}: ${tsTypeOf(f.type, classes)};`);
  return block(`The fields of assembly's ${name}.`, `export interface ${name} {`, lines, '}');
}

function tsTypeOf({ name, of }, classes) {
  if (VIEWS[name] !== undefined) return VIEWS[name].type;
  if (name === 'Flag') return 'boolean';
  if (name === 'Records') return `readonly ${of}[]`;
  if (name === 'Pointer') return of;
  if (NUMBERS.includes(name) || classes.has(name)) return 'number';
  throw new Error(`scripts/kernel-arguments.mjs: a field has the unknown type ${name}`);
}

/** Returns the function that stores a class. `isTaken`: a kernel takes the class as its arguments. */
function writerOf(name, classes, isTaken) {
  const { fields, size } = classes.get(name);
  // `launch` materializes the tensors among a kernel's arguments before it stores them. Records materialize theirs when they are stored.
  const address = isTaken ? 'materializedAddressOf' : 'addressOf';
  const lines = [];
  // Records that fields point to are stored behind the class, from `tail` on.
  const firstRecords = fields.find((f) => isRecords(f.type));
  for (const f of fields) {
    if (f === firstRecords) lines.push(`let tail = at + ${roundUp(size, DOUBLE)};`);
    lines.push(...storesOf(f, address, classes));
  }
  const head = `export function write${name}(a: ${name}, at: number, v: MemoryViews): void {`;
  return block(`Stores ${name} at byte \`at\`.`, head, lines, '}');
}

function isRecords({ name }) {
  return name === 'Records' || name === 'Pointer';
}

/** Returns the statements that store one field; `address` is the function that returns a tensor's address. */
function storesOf({ field, type, offset }, address, classes) {
  const value = `a.${field}`;
  const word = `v.i32[(at + ${offset}) >> 2]`;
  switch (type.name) {
    case 'Input':
    case 'Output':
      return [`${word} = ${address}(${value});`];
    case 'OptionalInput':
    case 'OptionalOutput':
      return [`${word} = ${value} === null ? 0 : ${address}(${value});`];
    case 'Flag':
      return [`${word} = ${value} ? 1 : 0;`];
    case 'Records': {
      const bytes = recordBytes(classes, type.of);
      return [`${word} = tail;`, `for (const r of ${value}) {`, `  write${type.of}(r, tail, v);`, `  tail += ${bytes};`, '}'];
    }
    case 'Pointer':
      return [`${word} = tail;`, `write${type.of}(${value}, tail, v);`, `tail += ${recordBytes(classes, type.of)};`];
    case 'f64':
      return [`v.f64[(at + ${offset}) >> 3] = ${value};`];
    default:
      return [`${word} = ${value};`];
  }
}

/**
 * Returns the bytes of a record that is stored behind arguments. It may have no tensors: materializing them could run a deferred call, whose
 * arguments would overwrite those that are stored already.
 */
function recordBytes(classes, name) {
  const record = classes.get(name);
  if (hasViews(record)) throw new Error(`scripts/kernel-arguments.mjs: ${name} has tensors: store its records in a workspace`);
  return record.size;
}

function materializerOf(name, { fields }) {
  const lines = [];
  for (const { field, type } of fields) {
    const view = VIEWS[type.name];
    if (view === undefined) continue;
    const call = `materialize(a.${field}, '${view.access}');`;
    lines.push(view.type === 'View' ? call : `if (a.${field} !== null) ${call}`);
  }
  return block(`Materializes the tensors among ${name}.`, `function materialize${name}(a: ${name}): void {`, lines, '}');
}
