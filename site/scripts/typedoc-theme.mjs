/**
 * A theme of typedoc-plugin-markdown: one block of code and one comment for each signature. The code has the types and the comment the
 * rest, so there are no lists of parameters and results; the named types of a signature are linked below it.
 */
import { ReflectionKind } from 'typedoc';
import { MarkdownTheme, MarkdownThemeContext } from 'typedoc-plugin-markdown';

/** Types that stand in nearly every signature and need no link below it. */
const COMMON = new Set(['Tensor']);

/** The references to documented types in a type, by name. */
function referencesIn(type, found = new Map()) {
  type?.visit?.({
    reference: (t) => {
      if (t.reflection !== undefined && !t.refersToTypeParameter && !COMMON.has(t.name)) found.set(t.name, t);
      for (const argument of t.typeArguments ?? []) referencesIn(argument, found);
    },
    union: (t) => t.types.forEach((part) => referencesIn(part, found)),
    intersection: (t) => t.types.forEach((part) => referencesIn(part, found)),
    array: (t) => referencesIn(t.elementType, found),
    tuple: (t) => t.elements.forEach((part) => referencesIn(part, found)),
    typeOperator: (t) => referencesIn(t.target, found),
    optional: (t) => referencesIn(t.elementType, found),
    rest: (t) => referencesIn(t.elementType, found),
    namedTupleMember: (t) => referencesIn(t.element, found),
    reflection: (t) => {
      for (const signature of t.declaration.signatures ?? []) referencesOf(signature, found);
    },
  });
  return found;
}

function referencesOf(signature, found = new Map()) {
  for (const parameter of signature.parameters ?? []) referencesIn(parameter.type, found);
  if (signature.kind !== ReflectionKind.ConstructorSignature) referencesIn(signature.type, found);
  return found;
}

class Context extends MarkdownThemeContext {
  constructor(theme, page, options) {
    super(theme, page, options);
    const { partials, helpers } = this;
    this.partials = {
      ...partials,
      inheritance: () => '',
      accessor: ({ getSignature, setSignature }, { headingLevel }) => {
        const signature = getSignature ?? setSignature;
        const comment = getSignature?.comment ?? setSignature?.comment;
        const title = this.partials.signatureTitle(signature, { accessor: getSignature === undefined ? 'set' : 'get' });
        const about = comment === undefined ? '' : this.partials.comment(comment, { headingLevel, showSummary: true, showTags: true });
        return [title, about, this.partials.sources(signature)].filter((part) => part !== '').join('\n\n');
      },
      sources: (model) => {
        const [source] = model.sources ?? [];
        return source === undefined ? '' : `[${source.fileName}:${source.line}](${source.url}){.source}`;
      },
      // Overloads follow each other, and share a comment where they have the same.
      signatures: (model, { headingLevel, nested }) => {
        const { signatures } = model;
        const about = ({ comment }) => comment?.summary.map(({ text }) => text).join('');
        const texts = signatures.map((signature, i) => {
          const isRepeated = i + 1 < signatures.length && about(signature) === about(signatures[i + 1]);
          if (isRepeated) return this.partials.signatureTitle(signature);
          return this.partials.signature(signature, { headingLevel: headingLevel + 1, nested, multipleSignatures: signatures.length > 1 });
        });
        return texts.join('\n\n');
      },
      signature: (model, { headingLevel, hideTitle, accessor, nested, multipleSignatures }) => {
        const comment = multipleSignatures ? model.comment : (model.comment ?? model.parent?.comment);
        const about = (parts) => (comment === undefined ? '' : this.partials.comment(comment, { headingLevel, ...parts }));
        const types = [...referencesOf(model).values()].map((type) => this.partials.someType(type)).join(', ');
        const title = hideTitle ? '' : this.partials.signatureTitle(model, { accessor });
        const parts = [
          title,
          about({ showSummary: true, showTags: false }),
          about({ showSummary: false, showTags: true }),
          types === '' ? '' : `Types: ${types} {.types}`,
          nested ? '' : this.partials.sources(model),
        ];
        return parts.filter((part) => part !== '').join('\n\n');
      },
    };
    this.helpers = helpers;
  }
}

export class Theme extends MarkdownTheme {
  getRenderContext(page) {
    return new Context(this, page, this.application.options);
  }
}

export function load(app) {
  app.renderer.defineTheme('compact', Theme);
}
