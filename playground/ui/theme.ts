/**
 * The colours of the page, for what CSS cannot draw. Workers load this file too, and have no `matchMedia`.
 */

/** Colours that were read. Reading one makes the browser compute styles, and a panel draws many pictures at once. */
const known = new Map<string, string>();

/** Returns the colour that the style sheet names `--name`. */
export function color(name: string): string {
  const found = known.get(name) ?? getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
  known.set(name, found);
  return found;
}

/** Calls `redraw` whenever the page changes between light and dark. */
export function onThemeChange(redraw: () => void): void {
  matchMedia('(prefers-color-scheme: dark)').addEventListener('change', () => {
    known.clear();
    redraw();
  });
}
