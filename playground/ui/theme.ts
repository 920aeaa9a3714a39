/**
 * The colours of the page, for what CSS cannot draw.
 */

const dark = matchMedia('(prefers-color-scheme: dark)');

/** Returns the colour that the style sheet names `--name`. */
export function color(name: string): string {
  return getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
}

/** Calls `redraw` whenever the page changes between light and dark. */
export function onThemeChange(redraw: () => void): void {
  dark.addEventListener('change', redraw);
}
