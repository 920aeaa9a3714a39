/**
 * chainrule/nn: modules, layers and their initialisation.
 */
export { Module, type ForwardHook, type Layer } from './module.ts';
export { Parameter, buffer, type BufferOptions, type LayerOptions, type ParameterOptions } from './parameter.ts';
export type { LoadOptions, LoadReport, StateDict } from './state-dict.ts';
export { ELU, GELU, Hardsigmoid, Hardswish, LeakyReLU, Mish, ReLU, SiLU, Sigmoid, Softplus, Tanh } from './function-layers.ts';
export { ChannelGate, ECA, EffectiveSE, type ECAOptions, type EffectiveSEOptions, type Gate } from './channel-gate.ts';
export { Conv2d, type Conv2dLayerOptions } from './conv2d.ts';
export { Dropout } from './dropout.ts';
export { recordExcitations, type Excitation, type RecordExcitationsOptions } from '../inspect/index.ts';
export { Linear, type LinearOptions } from './linear.ts';
export { BatchNorm2d, GroupNorm, LayerNorm, RMSNorm } from './norms.ts';
export type { BatchNorm2dOptions, GroupNormOptions, LayerNormOptions, RMSNormOptions } from './norms.ts';
export { AdaptiveAvgPool2d, AvgPool2d, Flatten, Identity, MaxPool2d, Upsample } from './function-layers.ts';
export { Sequential } from './sequential.ts';
export { SqueezeExcite, type Squeeze, type SqueezeExciteOptions } from './squeeze-excite.ts';
export * as init from './init.ts';
