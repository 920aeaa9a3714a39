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

/** How a value of a link is read. */
export interface Field<T> {
  readonly expected: string;
  /** Returns the value; undefined if the text is none. */
  readonly parse: (text: string) => T | undefined;
}

/** Returns a field whose value is one of a few. */
export function oneOf<T extends string | number>(values: readonly T[]): Field<T> {
  return { expected: values.join(', '), parse: (text) => values.find((v) => String(v) === text) };
}

/** Returns a field whose value is a whole number from 0 to `most`. */
export function wholeNumber(most: number): Field<number> {
  return {
    expected: `a whole number from 0 to ${most}`,
    parse: (text) => (/^\d{1,10}$/.test(text) && Number(text) <= most ? Number(text) : undefined),
  };
}

/** Reads a panel's state, and says in a sentence what of it was not used. */
export class LinkReader {
  /** One sentence for each value or name that was not used. */
  readonly problems: string[];
  readonly #state: LinkState;

  /** `names` are those that the panel knows. */
  constructor(state: LinkState, names: readonly string[]) {
    this.#state = state;
    this.problems = Object.keys(state)
      .filter((name) => !names.includes(name))
      .map((name) => `The link has ${quoted(name)}, which is no setting; it was left out.`);
  }

  /** Returns a value; `initial` where the link leaves it out or has a wrong one. `used` is what a message calls `initial`. */
  read<T>(name: string, field: Field<T>, initial: T, used = String(initial)): T {
    if (!Object.hasOwn(this.#state, name)) return initial;
    const text = this.#state[name]!;
    const value = field.parse(text);
    if (value !== undefined) return value;
    this.replaced(name, text, field.expected, used);
    return initial;
  }

  /** Notes that a value was replaced. */
  replaced(name: string, text: string, expected: string, used: string): void {
    this.problems.push(`The link has ${name}=${quoted(text)}, expected ${expected}; used ${used}.`);
  }
}

/** Returns a text as a message shows it: cut after 40 characters. */
export function quoted(text: string): string {
  return `'${text.length > 40 ? `${text.slice(0, 40)}…` : text}'`;
}
