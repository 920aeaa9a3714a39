// Generates the TypeScript side of the kernels' arguments from their AssemblyScript sources, while these are compiled.
//
// A kernel is an exported function (args, first, last), whose arguments are the fields of an `@unmanaged` class. For each such class this
// writes an interface of the same names and a function that stores its fields where the kernel reads them; for each kernel, which class it
// takes. A field that only one side has is therefore an error of the TypeScript compiler. The types of fields are in assembly/runtime/abi.ts.
import * as assemblyscript from 'assemblyscript';

const { NodeKind } = assemblyscript.default ?? assemblyscript;

/** Of each type of a field: its bytes, its type in TypeScript, and how `value` is stored at `at` + offset. */
const WORD = 4;
const NUMBERS = {
  i32: { bytes: WORD, array: 'i32' },
  u32: { bytes: WORD, array: 'i32' },
  usize: { bytes: WORD, array: 'i32' },
  f64: { bytes: 8, array: 'f64' },
};
const VIEWS = {
  Input: { type: 'View', access: 'read' },
  Output: { type: 'View', access: 'write' },
  OptionalInput: { type: 'View | null', access: 'read' },
  OptionalOutput: { type: 'View | null', access: 'write' },
};

/** A transform of the compiler that collects classes and kernels after parsing; `text()` gives the generated module. */
export function collectArguments() {
  const classes = new Map();
  const kernels = [];
  const exported = (statement) => statement.kind === NodeKind.FunctionDeclaration && (statement.flags & 2) !== 0;
  const transform = {
    afterParse({ sources }) {
      for (const { internalPath, statements } of sources) {
        if (!internalPath.startsWith('src/kernels/assembly/')) continue;
        for (const s of statements) {
          if (s.kind === NodeKind.ClassDeclaration) classes.set(s.name.text, readClass(s));
          else if (exported(s)) kernels.push(readKernel(s));
        }
      }
    },
  };
  const text = () =>
    render(
      layOut(classes),
      kernels.filter((k) => k.args !== null),
    );
  return { transform, text };
}

function typeName(type) {
  return { name: type.name.identifier.text, of: type.typeArguments?.[0]?.name.identifier.text ?? null };
}

function readClass(statement) {
  const fields = statement.members
    .filter((m) => m.kind === NodeKind.FieldDeclaration)
    .map((m) => ({ field: m.name.text, type: typeName(m.type) }));
  return { base: statement.extendsType?.name.identifier.text ?? null, fields };
}

/** A kernel's name and the class of its arguments; null for an exported function that is no kernel. */
function readKernel(statement) {
  const { parameters } = statement.signature;
  const isKernel = parameters.length === 3 && parameters[1].name.text === 'first' && parameters[2].name.text === 'last';
  const type = isKernel ? parameters[0].type.name.identifier.text : 'usize';
  return { name: statement.name.text, args: type === 'usize' ? null : type };
}

/** The classes with the offset of every field, those of a base class first, as the compiler lays them out. */
function layOut(classes) {
  const done = new Map();
  const visit = (name) => {
    const known = done.get(name);
    if (known !== undefined) return known;
    const { base, fields } = classes.get(name);
    const inherited = base === null ? { fields: [], size: 0 } : visit(base);
    let { size } = inherited;
    const own = fields.map(({ field, type }) => {
      const bytes = NUMBERS[type.name]?.bytes ?? WORD;
      const offset = Math.ceil(size / bytes) * bytes;
      size = offset + bytes;
      return { field, type, offset };
    });
    const all = [...inherited.fields, ...own];
    // A class with float64 fields has a multiple of 8 bytes, so that its records can lie side by side.
    const bytes = all.some((f) => f.type.name === 'f64') ? Math.ceil(size / 8) * 8 : size;
    const result = { base, fields: all, size: bytes };
    done.set(name, result);
    return result;
  };
  for (const name of classes.keys()) visit(name);
  return done;
}

function render(classes, kernels) {
  const taken = new Map([...classes.keys()].map((name) => [name, kernels.filter((k) => k.args === name)]));
  const groups = [...classes.keys()].filter((name) => taken.get(name).length > 0);
  const bases = new Set([...classes.values()].map((c) => c.base));
  const stored = [...classes].filter(([name]) => groups.includes(name) || !bases.has(name));
  const heads = [
    "import type { MemoryViews } from '../memory/wasm-memory.ts';",
    "import { addressOf, materialize, materializedAddressOf, type View } from '../view.ts';",
  ];
  const stems = (name) => [...new Set(taken.get(name).map((k) => stemOf(k.name)))].join(' ');
  const entry = (name) => `{ write: write${name}, materialize: ${materializes(classes.get(name)) ? `materialize${name}` : 'null'} }`;
  return [
    heads.join('\n'),
    ...[...classes].map(([name, { fields }]) => interfaceOf(name, fields, classes)),
    block(
      'The arguments of each kernel.',
      'export interface KernelArguments {',
      kernels.map((k) => `readonly ${k.name}: ${k.args};`),
      '}',
    ),
    ...stored.map(([name, c]) => writerOf(name, c, classes, groups.includes(name))),
    ...groups.filter((name) => materializes(classes.get(name))).map((name) => materializerOf(name, classes.get(name))),
    block(
      'Of each class that a kernel takes: what stores its fields, and what prepares the tensors among them.',
      'export const argumentClasses = {',
      groups.map((name) => `${name}: ${entry(name)},`),
      '} as const;',
    ),
    block(
      'The kernels that take each class, without the element type that their names end with.',
      'export const kernelsByClass: Readonly<Record<keyof typeof argumentClasses, string>> = {',
      groups.map((name) => `${name}: '${stems(name)}',`),
      '};',
    ),
    block(
      'Bytes of each class.',
      'export const BYTES = {',
      stored.map(([name, { size }]) => `${name}: ${size},`),
      '} as const;',
    ),
  ].join('\n\n');
}

function block(comment, head, lines, end) {
  return [`/** ${comment} */`, head, ...lines.map((line) => `  ${line}`), end].join('\n');
}

/** A kernel's name without the element type that it ends with. */
function stemOf(name) {
  return name.replace(/_(f32|f64|i32|u8|8|32|64)$/, '');
}

function tsType({ name, of }, classes) {
  if (VIEWS[name] !== undefined) return VIEWS[name].type;
  if (name === 'Flag') return 'boolean';
  if (name === 'Records') return `readonly ${of}[]`;
  if (name === 'Pointer') return of;
  if (NUMBERS[name] !== undefined || classes.has(name)) return 'number';
  throw new Error(`scripts/kernel-arguments.mjs: a field has the unknown type ${name}`);
}

function interfaceOf(name, fields, classes) {
  const lines = fields.map((f) => `readonly ${f.field}: ${tsType(f.type, classes)};`);
  return block(`The fields of assembly's ${name}.`, `export interface ${name} {`, lines, '}');
}

function materializes({ fields }) {
  return fields.some((f) => VIEWS[f.type.name] !== undefined);
}

function writerOf(name, { fields, size }, classes, isKernels) {
  // launch materializes the tensors among a kernel's own arguments; the writers of records do so themselves.
  const address = isKernels ? 'materializedAddressOf' : 'addressOf';
  const lines = [];
  let hasTail = false;
  /** Records that arguments point to lie behind them. */
  const tailStarts = () => {
    if (!hasTail) lines.push(`let tail = at + ${Math.ceil(size / 8) * 8};`);
    hasTail = true;
  };
  for (const { field, type, offset } of fields) {
    const value = `a.${field}`;
    if (VIEWS[type.name] !== undefined) {
      const nullable = VIEWS[type.name].type !== 'View';
      lines.push(`v.i32[(at + ${offset}) >> 2] = ${nullable ? `${value} === null ? 0 : ` : ''}${address}(${value});`);
    } else if (type.name === 'Flag') lines.push(`v.i32[(at + ${offset}) >> 2] = ${value} ? 1 : 0;`);
    else if (type.name === 'Records') {
      tailStarts();
      lines.push(`v.i32[(at + ${offset}) >> 2] = tail;`);
      lines.push(`for (const r of ${value}) {`, `  write${type.of}(r, tail, v);`, `  tail += ${recordBytes(classes, type.of)};`, `}`);
    } else if (type.name === 'Pointer') {
      tailStarts();
      lines.push(
        `v.i32[(at + ${offset}) >> 2] = tail;`,
        `write${type.of}(${value}, tail, v);`,
        `tail += ${recordBytes(classes, type.of)};`,
      );
    } else if (type.name === 'f64') lines.push(`v.f64[(at + ${offset}) >> 3] = ${value};`);
    else lines.push(`v.i32[(at + ${offset}) >> 2] = ${value};`);
  }
  return block(
    `Stores ${name} at byte \`at\`.`,
    `export function write${name}(a: ${name}, at: number, v: MemoryViews): void {`,
    lines,
    '}',
  );
}

/** Bytes of a record stored behind arguments; its tensors would be materialized after the first arguments are stored, so it may have none. */
function recordBytes(classes, name) {
  if (materializes(classes.get(name)))
    throw new Error(`scripts/kernel-arguments.mjs: ${name} has tensors: store its records in a workspace`);
  return classes.get(name).size;
}

function materializerOf(name, { fields }) {
  const calls = fields
    .filter((f) => VIEWS[f.type.name] !== undefined)
    .map(({ field, type }) => {
      const { type: t, access } = VIEWS[type.name];
      const call = `materialize(a.${field}, '${access}');`;
      return t === 'View' ? call : `if (a.${field} !== null) ${call}`;
    });
  return block(`Materializes the tensors among ${name}.`, `function materialize${name}(a: ${name}): void {`, calls, '}');
}
