/**
 * The colours of the page, for what CSS cannot draw. Workers load this file too, and have no `matchMedia`.
 */

/** Returns the colour that the style sheet names `--name`. */
export function color(name: string): string {
  return getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
}

/** Calls `redraw` whenever the page changes between light and dark. */
export function onThemeChange(redraw: () => void): void {
  matchMedia('(prefers-color-scheme: dark)').addEventListener('change', redraw);
}
