/**
 * Instruments that inspect the engine; the engine does not depend on them. src/index.ts lists the public ones.
 */
export { detectAnomaly } from './anomaly.ts';
export * from './compare.ts';
export * from './excitations.ts';
export * from './gradcheck/index.ts';
export * from './graph.ts';
export * from './profile.ts';
export { summarize } from './summary.ts';
export { trace, type TracedCall, type TracedWrite } from './trace.ts';
