/**
 * The two nets of a run.
 */

/** The net without SE, and the net with it. */
export const NETS = ['plain', 'se'] as const;
export type NetName = (typeof NETS)[number];

/** A value for each net. */
export type PerNet<T> = Readonly<Record<NetName, T>>;

/** How the nets are called in messages. */
export const TITLES: PerNet<string> = { plain: 'without SE', se: 'with SE' };

/** Returns a value for each net. */
export function perNet<T>(valueOf: (name: NetName) => T): PerNet<T> {
  return { plain: valueOf('plain'), se: valueOf('se') };
}
