/**
 * Access to Node's built-in modules and to the environment: synchronous and without an import, so that bundlers for browsers find no
 * reference to Node.
 */

import { ArgumentError } from '../core/errors.ts';

/** Returns `process.getBuiltinModule` in Node, else undefined. Bundlers replace neither it nor globalThis.process. */
export function nodeModules(): typeof process.getBuiltinModule | undefined {
  return (globalThis as Partial<typeof globalThis>).process?.getBuiltinModule;
}

/**
 * Returns a variable of the environment. Returns undefined if it is not set, if the platform has no environment, as in a browser, or if the
 * platform forbids reading it: Deno throws without `--allow-env`.
 */
export function environment(name: string): string | undefined {
  try {
    return (globalThis as Partial<typeof globalThis>).process?.env?.[name];
  } catch {
    return undefined;
  }
}

/** Returns whether a variable of the environment switches something on. Throws: ArgumentError unless it is 1, 0, empty or not set */
export function environmentFlag(name: string): boolean {
  const text = environment(name) ?? '';
  if (text === '1') return true;
  if (text === '' || text === '0') return false;
  throw new ArgumentError(`${name}: expected 1 or 0, got '${text}'`);
}

/** Sets a variable of this process's environment unless it is set. */
export function setEnvironmentDefault(name: string, value: string): void {
  process.env[name] ??= value;
}
