/**
 * A plugin of TypeDoc: the methods of Tensor stand in groups and link to their operations, members stand on one page each, comments keep
 * their lines, and parameters that are given as a tuple have names of their own.
 */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { Comment, CommentTag, Converter, ParameterReflection, ReflectionFlag, ReflectionKind } from 'typedoc';
import { root } from './paths.mjs';

const METHODS = 'src/autograd/tensor-methods.ts';
const OPERATIONS = 'src/autograd/ops';

/** The group of each method of Tensor: the heading above it in its file. */
function groupsOfMethods() {
  const groups = new Map();
  let group = '';
  for (const line of readFileSync(join(root, METHODS), 'utf8').split('\n')) {
    group = /^ {2}\/\/ — (.+) —$/.exec(line)?.[1] ?? group;
    const name = /^ {2}(\w+)\(/.exec(line)?.[1];
    if (name !== undefined) groups.set(name, `${group[0].toUpperCase()}${group.slice(1)}`);
  }
  return groups;
}

/** Where each operation is declared. */
function operations() {
  const places = new Map();
  for (const file of readdirSync(join(root, OPERATIONS))) {
    readFileSync(join(root, OPERATIONS, file), 'utf8')
      .split('\n')
      .forEach((text, i) => {
        const name = /^export (?:const|function) (\w+)/.exec(text)?.[1];
        if (name !== undefined) places.set(name, { fileName: `${OPERATIONS}/${file}`, line: i + 1 });
      });
  }
  return places;
}

/** Where a member is declared. */
const placeOf = ({ sources, signatures, getSignature }) => {
  const [source] = sources ?? signatures?.[0]?.sources ?? getSignature?.sources ?? [];
  return source === undefined ? null : `${source.fullFileName}:${source.line}`;
};

/** The end of a line of a comment where the next one, or this one, is an indented formula, or where a label such as "Shape:" follows. */
const STARTS_ANEW = /\n(?= {2,}\S|[A-Z]\w+: )|(?<=^ {2,}\S.*)\n/gm;

/** Keeps the lines of formulas and labels apart, which Markdown would join. */
function keepLines(comment) {
  for (const part of comment?.summary ?? []) {
    if (part.kind === 'text') part.text = part.text.replace(STARTS_ANEW, '\\\n');
  }
}

/** Leads a method to its operation instead of its declaration. */
function leadToOperation(method, places, template) {
  const place = places.get(method.name);
  if (place === undefined) return;
  const url = template.replace('src/{path}', place.fileName).replace('{line}', place.line);
  for (const signature of method.signatures) signature.sources = [{ ...place, url }];
}

/** TypeScript's flag of an element of a tuple that may be left out. TypeDoc looks for a question mark, and a default has none. */
const OPTIONAL = 2;

/** The positions in the tuple of a signature's rest parameter that may be left out. */
function optionalIn(context, { parameters }) {
  const rest = parameters.at(-1);
  const flags = rest === undefined ? undefined : context.checker.getTypeOfSymbol(rest).target?.elementFlags;
  return (flags ?? []).flatMap((flag, i) => (flag === OPTIONAL ? [i] : []));
}

/** Replaces a rest parameter `...args: [x: Tensor, options?: Options]` by the parameters that it stands for. */
function unpackRest(signature, optional, project) {
  const rest = signature.parameters?.at(-1);
  const members = rest?.flags.isRest && rest.type?.type === 'tuple' ? rest.type.elements : [];
  if (members.length === 0 || !members.every(({ type }) => type === 'namedTupleMember')) return;
  const parameters = members.map(({ name, element }, i) => {
    const parameter = new ParameterReflection(name, ReflectionKind.Parameter, signature);
    parameter.type = element;
    parameter.flags.setFlag(ReflectionFlag.Optional, optional.includes(i));
    project.registerReflection(parameter, undefined, undefined);
    return parameter;
  });
  project.removeReflection(rest);
  signature.parameters = [...(signature.parameters ?? []), ...parameters];
}

export function load(app) {
  const isOperation = ({ kind, name }) => kind === ReflectionKind.Method && groups.has(name);
  const groups = groupsOfMethods();

  /** For each signature, the positions in its rest tuple that may be left out. */
  const optional = new Map();
  app.converter.on(Converter.EVENT_CREATE_SIGNATURE, (context, signature, _, source) => {
    if (source !== undefined) optional.set(signature, optionalIn(context, source));
  });

  app.converter.on(Converter.EVENT_RESOLVE_BEGIN, ({ project }) => {
    // Entries have the names under which they are imported.
    for (const entry of project.children) entry.name = `chainrule/${entry.name.replace(/^src\/?/, '')}`.replace(/\/$/, '');

    for (const signature of project.getReflectionsByKind(ReflectionKind.SomeSignature))
      unpackRest(signature, optional.get(signature) ?? [], project);

    const [tensor] = project.getReflectionsByKind(ReflectionKind.Class).filter(({ name }) => name === 'Tensor');
    for (const method of tensor.children.filter(isOperation)) {
      method.comment = new Comment([], [new CommentTag('@group', [{ kind: 'text', text: groups.get(method.name) }])]);
      method.flags.setFlag(ReflectionFlag.Inherited, false);
    }
    delete tensor.extendedTypes;
    delete tensor.implementedTypes;
  });

  // Behind TypeDoc's own handler, which tells where a member comes from.
  app.converter.on(
    Converter.EVENT_RESOLVE_END,
    ({ project }) => {
      const classes = project.getReflectionsByKind(ReflectionKind.ClassOrInterface);
      const members = classes.flatMap((owner) => owner.children ?? []);
      const shown = new Set(members.filter(({ flags }) => !flags.isInherited).map(placeOf));
      // The page of the class that declares a member shows it. Classes without a page leave theirs to their subclasses.
      const hidden = members.filter((m) => (m.flags.isInherited && shown.has(placeOf(m))) || placeOf(m)?.includes('node_modules'));
      for (const member of hidden) project.removeReflection(member);
      const places = operations();
      const tensor = classes.find(({ name }) => name === 'Tensor');
      for (const method of tensor.children.filter(isOperation)) leadToOperation(method, places, app.options.getValue('sourceLinkTemplate'));
      for (const reflection of Object.values(project.reflections)) keepLines(reflection.comment);
    },
    -50,
  );
}
