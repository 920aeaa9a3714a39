/**
 * chainrule/io: safetensors files and checkpoints.
 */
export type { ArrayData } from '../core/array-data.ts';
export { checkpointFromBytes, checkpointToBytes, loadCheckpoint, saveCheckpoint } from './checkpoint.ts';
export type { LoadCheckpointOptions } from './checkpoint.ts';
export { readBytes, writeFileAtomic } from './files.ts';
export { loadSafetensors, saveSafetensors, tensorsFromBytes, tensorsToBytes } from './safetensors.ts';
export type { LoadSafetensorsOptions, SafetensorsOptions } from './safetensors.ts';
export { decodeSafetensors, encodeSafetensors } from './safetensors-format.ts';
export type { DecodeOptions, SafetensorsEntry, SafetensorsFile } from './safetensors-format.ts';
