/**
 * A value that follows the code of one asynchronous task across `await`.
 */
import { nodeModules } from './node.ts';

/** Gets the value of the task that runs now, or sets it for the rest of the task. */
export interface TaskValue<T> {
  get(): T | null;
  set(value: T): void;
}

/** Returns a new task value; null where the platform cannot tell tasks apart, as in a browser. */
export function taskValue<T>(): TaskValue<T> | null {
  const versions: Readonly<Record<string, string | undefined>> = (globalThis as Partial<typeof globalThis>).process?.versions ?? {};
  const Storage = nodeModules()?.('node:async_hooks')?.AsyncLocalStorage;
  // Bun and Deno do not confine enterWith to one task in all their versions.
  if (Storage === undefined || versions.bun !== undefined || versions.deno !== undefined) return null;
  const storage = new Storage<T | null>();
  // From the first run with another value on, Node follows tasks. It must do so before the task begins that sets a value. Up to
  // Node 22, a run with the value that there is, undefined, has no effect.
  storage.run(null, () => {});
  return { get: () => storage.getStore() ?? null, set: (value) => storage.enterWith(value) };
}
