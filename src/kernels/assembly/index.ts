// Everything exported from here but heapBase is a kernel; see abi.ts.
export { heapBase } from './abi';
export * from './fill';
export * from './matmul';
export * from './pack';
export * from './peak';
export * from './pool';
export * from './norm';
export * from './loss';
export * from './optim';
export * from './unary';
export * from './binary';
export * from './compare';
export * from './copy';
export * from './reduce';
export * from './indexing';
export * from './random';
export * from './conv';
export * from './depthwise';
