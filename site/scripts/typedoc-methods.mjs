/**
 * A plugin of TypeDoc. Operations are methods of Tensor by a mapped type (src/autograd/methods.ts), which TypeDoc shows as properties,
 * without the comments of those that are declared as functions. This makes them methods with named parameters and their comments, in one
 * group for each file of src/autograd/ops.
 */
import { Comment, CommentTag, Converter, ParameterReflection, ReflectionFlag, ReflectionKind } from 'typedoc';

const GROUPS = {
  elementwise: 'Elementwise operations',
  comparison: 'Comparison and masks',
  reduce: 'Reductions',
  views: 'Views and shapes',
  broadcasting: 'Views and shapes',
  indexing: 'Indexing',
  joining: 'Splitting and repeating',
  softmax: 'Softmax and activations',
  activations: 'Softmax and activations',
  linalg: 'Products',
  operands: 'Dtype',
};

/** The file of src/autograd/ops that declares a symbol; null for members of the class itself. */
function fileOf(symbol) {
  const file = symbol?.declarations?.[0]?.getSourceFile().fileName;
  return /autograd\/ops\/([\w-]+)\.ts$/.exec(file ?? '')?.[1] ?? null;
}

/** The parameters of `(...rest: [b: Operand, c?: number])`, one by one. */
function namedParameters(signature) {
  const [rest] = signature.parameters ?? [];
  if (rest?.type?.type !== 'tuple') return signature.parameters;
  const firstOptional = rest.type.elements.findIndex((element) => element.isOptional);
  return rest.type.elements.map((element, index) => {
    if (element.type !== 'namedTupleMember') throw new Error(`${signature.getFullName()}: argument ${index} has no name`);
    const parameter = new ParameterReflection(element.name, ReflectionKind.Parameter, signature);
    parameter.type = element.element;
    parameter.setFlag(ReflectionFlag.Optional, firstOptional >= 0 && index >= firstOptional);
    signature.project.registerReflection(parameter, undefined, undefined);
    return parameter;
  });
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

export function load(app) {
  const mapped = new Map();

  app.converter.on(Converter.EVENT_CREATE_DECLARATION, (context, reflection) => {
    if (reflection.parent?.name !== 'Tensor' || reflection.kind !== ReflectionKind.Property) return;
    const symbol = context.getSymbolFromReflection(reflection);
    const file = fileOf(symbol);
    if (file === null) return;
    const comment = reflection.comment ?? context.getSignatureComment(symbol.declarations[0]);
    mapped.set(reflection, { file, comment });
  });

  app.converter.on(Converter.EVENT_RESOLVE_BEGIN, ({ project }) => {
    // Entries have the names under which they are imported.
    for (const entry of project.children) entry.name = `chainrule/${entry.name.replace(/^src\/?/, '')}`.replace(/\/$/, '');

    for (const [method, { file, comment }] of mapped) {
      const signatures = method.type.declaration.signatures;
      if (comment === undefined) throw new Error(`Tensor.${method.name} has no comment`);
      if (!(file in GROUPS)) throw new Error(`no group for the operations of ${file}.ts`);
      method.kind = ReflectionKind.Method;
      method.signatures = signatures;
      for (const signature of signatures) {
        signature.name = method.name;
        signature.parent = method;
        signature.parameters = namedParameters(signature);
        signature.comment = comment.clone();
        signature.comment.blockTags.push(new CommentTag('@group', [{ kind: 'text', text: GROUPS[file] }]));
        signature.sources = method.sources;
      }
      method.comment = new Comment([], [new CommentTag('@group', [{ kind: 'text', text: GROUPS[file] }])]);
      delete method.type;
      delete method.defaultValue;
    }
    mapped.clear();
    // Its supertypes are those of the mapped type.
    const [tensor] = project.getReflectionsByKind(ReflectionKind.Class).filter(({ name }) => name === 'Tensor');
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
      for (const reflection of Object.values(project.reflections)) keepLines(reflection.comment);
    },
    -50,
  );
}
