import { Wrong } from '../../support/exercise.ts';
import type * as Engine from '../exercises/engine.ts';

/** The reader's engine: the module that chapters 1 to 3 check. */
export type EngineModule = typeof Engine;

const OPERATIONS = ['value', 'add', 'sub', 'mul', 'div', 'exp', 'tanh', 'relu', 'power'] as const;

/** Returns the engine with operations that throw `Wrong` where their result is not a Value. */
export function validated(engine: EngineModule): EngineModule {
  const copy: Record<string, unknown> = { ...engine };
  for (const name of OPERATIONS) {
    const operation = engine[name] as (...args: unknown[]) => unknown;
    copy[name] = (...args: unknown[]): unknown => {
      const result = operation(...args);
      if (!isValue(result))
        throw new Wrong(`${name} must return a Value, with data, grad, inputs and locals, as the function value makes it`);
      return result;
    };
  }
  return copy as EngineModule;
}

function isValue(x: unknown): boolean {
  if (typeof x !== 'object' || x === null) return false;
  const { data, grad, inputs, locals } = x as Record<string, unknown>;
  return typeof data === 'number' && typeof grad === 'number' && Array.isArray(inputs) && Array.isArray(locals);
}
