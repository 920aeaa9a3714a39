/**
 * How long a program may be.
 */

/** The most lines of a program. */
export const MAX_LINES = 60;
