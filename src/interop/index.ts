/**
 * chainrule/interop: files of other tools: NumPy's arrays (.npy, .npz), PyTorch's files (.pt), TensorBoard's event files, ONNX models.
 */
export { toOnnx } from './onnx/to-onnx.ts';
export type { OnnxOptions } from './onnx/to-onnx.ts';
export { loadNpy, npyFromBytes, npyToBytes, saveNpy } from './npy.ts';
export { loadNpz, npzFromBytes, npzToBytes, saveNpz } from './npz.ts';
export type { LoadNpzOptions, NpzOptions } from './npz.ts';
export { loadTorch, loadTorchStateDict } from './torch.ts';
export type { LoadTorchStateDictOptions, TorchValue } from './torch.ts';
export { SummaryWriter } from './summary-writer.ts';
export type { ImageSummaryOptions, SummaryOptions, SummaryWriterOptions } from './summary-writer.ts';
