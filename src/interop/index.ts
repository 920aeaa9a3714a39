/**
 * chainrule/interop: files of other tools. NumPy's arrays (.npy, .npz).
 */
export { loadNpy, npyFromBytes, npyToBytes, saveNpy } from './npy.ts';
export { loadNpz, npzFromBytes, npzToBytes, saveNpz } from './npz.ts';
export type { LoadNpzOptions, NpzOptions } from './npz.ts';
