/**
 * Numbers used both by a kernel and by the TypeScript code that launches it.
 */

/** The most elements of a contiguous run, or rows of a block of columns, that a reduction combines in one SIMD lane. */
export const BLOCK_ROWS = 128;
/** Results that one chunk computes when partial results are combined. */
export const COMBINED_RESULTS = 1024;
/** Random numbers that one chunk computes. */
export const RANDOM_CHUNK = 16384;
/** Rows of a matrix-vector product that one chunk computes. */
export const MATVEC_ROWS = 64;
/** Bytes of a cell: four vectors of channels of one tile, in one plane of Winograd's algorithm. */
export const CELL = 64;
/** Maximum number of tiles in a block of a Winograd correlation, an even number. */
export const TILES = 16;
/** Maximum number of tiles in a block of a Winograd weight gradient: twice as many, because its products sum over tiles. */
export const GRAD_TILES = 32;
