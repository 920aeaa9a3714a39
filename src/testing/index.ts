/**
 * chainrule/testing: property-based tests of differentiable functions and modules. Needs fast-check, a peer dependency.
 */
export { ALL_LAYOUTS, NO_TIES, broadcastShapes, broadcastTensors, shapes, tensors } from './arbitraries.ts';
export type { BroadcastOptions, Domain, ShapeOptions, TensorsOptions } from './arbitraries.ts';
export { convolutions, poolings } from './configurations.ts';
export type { ConfigurationOptions, ConvConfiguration, Pair, PoolConfiguration, PoolingOptions } from './configurations.ts';
export { checkGradients, gradientProperty } from './properties.ts';
export type { Differentiable, GradientPropertyOptions, Made } from './properties.ts';
export { TensorSample } from './sample.ts';
export type { Layout, LayoutChoice, SampleParts } from './sample.ts';
