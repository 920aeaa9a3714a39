/**
 * Instruments that look at the engine and are no part of it: src/index.ts chooses what of them is public.
 */
export { detectAnomaly } from './anomaly.ts';
export * from './compare.ts';
export * from './excitations.ts';
export * from './gradcheck/index.ts';
export * from './graph.ts';
export * from './profile.ts';
export { summarize, watched } from './summary.ts';
