/**
 * The state of the page in its address: `#train?lr=0.05&seed=1`. Whoever opens such a link sees the same.
 */

/** What a panel keeps in the address: names and values. */
export type LinkState = Readonly<Record<string, string>>;

export interface Link {
  /** The panel's name; empty where the address names none. */
  readonly panel: string;
  readonly state: LinkState;
}

/** Reads the part of an address behind and with the `#`. */
export function parseLink(hash: string): Link {
  const text = hash.replace(/^#/, '');
  const split = text.indexOf('?');
  if (split < 0) return { panel: text, state: {} };
  return { panel: text.slice(0, split), state: Object.fromEntries(new URLSearchParams(text.slice(split + 1))) };
}

/** Writes what `parseLink` reads. */
export function formatLink({ panel, state }: Link): string {
  const query = new URLSearchParams(state).toString();
  return query === '' ? `#${panel}` : `#${panel}?${query}`;
}
