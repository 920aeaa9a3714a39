/** The colours of the site: those of the report, with the switch between light and dark of VitePress. */
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { generated, root } from './paths.mjs';

/** Returns the report's colours; dark ones under the class that the page's switch sets. */
export function colors() {
  const css = readFileSync(join(root, 'examples/cifar-like/report/colors.css'), 'utf8');
  const parts = /^:root \{([\s\S]*?)\n\}\s*@media \(prefers-color-scheme: dark\) \{\s*:root \{([\s\S]*?)\n {2}\}\s*\}\s*$/.exec(css);
  if (parts === null) throw new Error("the report's colours do not have the form of a light and a dark list");
  const [, light, dark] = parts;
  return `:root {${light.replace('color-scheme: light dark', 'color-scheme: light')}\n}\n.dark {\n  color-scheme: dark;${dark}\n}\n`;
}

/** Writes the style sheet that the theme imports. */
export function writeColors() {
  mkdirSync(generated, { recursive: true });
  writeFileSync(join(generated, 'colors.css'), colors());
}
