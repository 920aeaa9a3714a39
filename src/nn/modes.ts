/**
 * The modes of a model's modules: training or evaluation.
 */
import type { Module } from './module.ts';

/** Returns a function that restores the present mode of each module of `model`. */
export function rememberModes(model: Module): () => void {
  const modes = model.namedModules().map(([, module]) => [module, module.training] as const);
  return () => {
    for (const [module, mode] of modes) module.training = mode;
  };
}
