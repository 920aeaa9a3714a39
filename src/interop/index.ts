/**
 * chainrule/interop: files of other tools: NumPy's arrays (.npy, .npz) and PyTorch's files (.pt).
 */
export { loadNpy, npyFromBytes, npyToBytes, saveNpy } from './npy.ts';
export { loadNpz, npzFromBytes, npzToBytes, saveNpz } from './npz.ts';
export type { LoadNpzOptions, NpzOptions } from './npz.ts';
export { loadTorch, loadTorchStateDict } from './torch.ts';
export type { LoadTorchStateDictOptions, TorchValue } from './torch.ts';
