/**
 * How large a graph may be.
 */

/** The most nodes that a page can show. */
export const MAX_NODES = 120;

/** The most elements of a tensor, so that every step can be shown. */
export const MAX_ELEMENTS = 4096;
