/** The colours of code as classes: VitePress writes them into style attributes, which a strict Content-Security-Policy forbids. */
import { transformerStyleToClass } from '@shikijs/transformers';

/** The transformer that collects the classes. */
export const classify = transformerStyleToClass({ classPrefix: 'c-' });

/** The themes of code on light and dark pages. */
export const themes = { light: 'github-light', dark: 'github-dark' };

/** The style sheet for all code that was highlighted so far. */
export const codeColors = () => classify.getCSS();
