/**
 * Mermaid diagrams as two images, for light and dark pages. The page loads no diagram library, and the images' styles do not count for
 * its Content-Security-Policy.
 */
import { createHash } from 'node:crypto';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { renderMermaidSVG } from 'beautiful-mermaid';
import { generated, PLACEHOLDER } from './paths.mjs';

const THEMES = {
  light: { bg: '#f7f7f5', fg: '#1d1f23', line: '#63676f', accent: '#0072b2' },
  dark: { bg: '#14161a', fg: '#e9eaec', line: '#a1a7b1', accent: '#56b4e9' },
};

/** The folder of the images; the build copies it. */
export const diagrams = join(generated, 'diagrams');

/** Writes the images of a diagram and returns the HTML that shows them. `title` describes it to a reader without eyes. */
export function diagram(code, title) {
  mkdirSync(diagrams, { recursive: true });
  const name = createHash('sha256').update(code).digest('hex').slice(0, 10);
  const images = Object.entries(THEMES).map(([theme, colors]) => {
    // The library asks a server for its font. The system's font needs none.
    const svg = renderMermaidSVG(code, { ...colors, font: 'system-ui', transparent: true }).replace(/@import url\([^)]*\);/, '');
    writeFileSync(join(diagrams, `${name}-${theme}.svg`), svg);
    const [, width, height] = /width="([\d.]+)" height="([\d.]+)"/.exec(svg);
    const size = `width="${Math.round(width)}" height="${Math.round(height)}"`;
    // A bound address, so that VitePress leaves it to the browser.
    return `<img class="${theme}-only" :src="'${PLACEHOLDER}diagrams/${name}-${theme}.svg'" ${size} alt="Diagram: ${title}" loading="lazy">`;
  });
  return `<div class="diagram vp-raw" tabindex="0" role="group" aria-label="Diagram: ${title}">${images.join('')}</div>\n`;
}
