/**
 * chainrule/nn: modules, layers and their initialisation.
 */
export { Module, type ForwardHook, type ForwardPreHook, type Layer } from './module.ts';
export { Parameter, buffer, type BufferOptions, type LayerOptions, type ParameterOptions } from './parameter.ts';
export { cloneStateDict, disposeStateDict, type LoadOptions, type LoadReport, type StateDict } from './state-dict.ts';
export * from './function-layers.ts';
export { ChannelGate, ECA, EffectiveSE, type ECAOptions, type EffectiveSEOptions, type Gate } from './channel-gate.ts';
export { recordExcitations, type Excitation, type RecordExcitationsOptions } from '../inspect/index.ts';
export * from './linear-layers.ts';
export * from './losses.ts';
export { MultiheadAttention, type MultiheadAttentionMasks, type MultiheadAttentionOptions } from './multihead-attention.ts';
export { GRU, LSTM, type RecurrentOptions } from './recurrent.ts';
export { BatchNorm1d, BatchNorm2d, GroupNorm, InstanceNorm2d, LayerNorm, RMSNorm } from './norms.ts';
export type { BatchNorm1dOptions, BatchNorm2dOptions, GroupNormOptions } from './norms.ts';
export type { InstanceNorm2dOptions, LayerNormOptions, RMSNormOptions } from './norms.ts';
export { Sequential } from './sequential.ts';
export { CBAM, ScSE, type CBAMOptions, type ScSEOptions } from './spatial-attention.ts';
export { SqueezeExcite, type Squeeze, type SqueezeExciteOptions } from './squeeze-excite.ts';
/** In-place initialisation of weights, with PyTorch's formulas. */
export * as init from './init.ts';
