/**
 * What the pictures show: a square or a frame, and a warm or a cool band at the opposite edge. A warm band exchanges the two classes, so
 * neither the shape nor the band alone tells the class.
 */

/** The classes, which a warm band exchanges. */
export const CLASSES = ['A: square on cool, frame on warm', 'B: frame on cool, square on warm'] as const;

/** What a picture shows. */
export interface Kind {
  readonly shape: 'square' | 'frame';
  readonly band: 'warm' | 'cool';
  /** 0 or 1. */
  readonly label: number;
}

export const KINDS: readonly Kind[] = [
  { shape: 'square', band: 'warm', label: 1 },
  { shape: 'frame', band: 'warm', label: 0 },
  { shape: 'square', band: 'cool', label: 0 },
  { shape: 'frame', band: 'cool', label: 1 },
];

/** How many pictures of each kind there are to choose from. */
export const SHOWN = 2;

/** The pictures to choose from, each kind after the other. */
export const SHOWN_KINDS: readonly Kind[] = Array.from({ length: SHOWN }, () => KINDS).flat();

/** Height and width of the pictures. */
export const SIZE = 32;
