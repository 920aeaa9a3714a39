/**
 * chainrule/nn: modules, layers and their initialisation.
 */
export { Module, type ForwardHook, type Layer } from './module.ts';
export { Parameter, buffer, type BufferOptions, type LayerOptions, type ParameterOptions } from './parameter.ts';
export type { LoadOptions, LoadReport, StateDict } from './state-dict.ts';
export { ELU, GELU, Hardsigmoid, Hardswish, LeakyReLU, Mish, ReLU, SiLU, Sigmoid, Softplus, Tanh } from './activations.ts';
export { AdaptiveAvgPool2d } from './adaptive-avg-pool2d.ts';
export { AvgPool2d } from './avg-pool2d.ts';
export { BatchNorm2d, type BatchNorm2dOptions } from './batch-norm2d.ts';
export { ChannelGate, type Gate } from './channel-gate.ts';
export { Conv2d, type Conv2dLayerOptions } from './conv2d.ts';
export { Dropout } from './dropout.ts';
export { ECA, type ECAOptions } from './eca.ts';
export { EffectiveSE, type EffectiveSEOptions } from './effective-se.ts';
export { recordExcitations, type Excitation, type RecordExcitationsOptions } from './excitations.ts';
export { Flatten } from './flatten.ts';
export { Identity } from './identity.ts';
export { Linear, type LinearOptions } from './linear.ts';
export { MaxPool2d } from './max-pool2d.ts';
export { Sequential } from './sequential.ts';
export { SqueezeExcite, type Squeeze, type SqueezeExciteOptions } from './squeeze-excite.ts';
export * as init from './init.ts';
