/**
 * A value that follows the code of one asynchronous task across `await`.
 */
import { nodeModules } from './node.ts';

/** Gets the value of the task that runs now, or sets it for the rest of the task. */
export interface TaskValue<T> {
  get(): T | undefined;
  set(value: T): void;
}

/** Returns a new task value; null where the platform cannot tell tasks apart, as in a browser. */
export function taskValue<T>(): TaskValue<T> | null {
  const versions: Readonly<Record<string, string | undefined>> = (globalThis as Partial<typeof globalThis>).process?.versions ?? {};
  const Storage = nodeModules()?.('node:async_hooks')?.AsyncLocalStorage;
  // Bun and Deno do not confine enterWith to one task in all their versions.
  if (Storage === undefined || versions.bun !== undefined || versions.deno !== undefined) return null;
  const storage = new Storage<T | undefined>();
  // From the first run on, Node follows tasks. It must do so before the task begins that sets a value.
  storage.run(undefined, () => {});
  return { get: () => storage.getStore(), set: (value) => storage.enterWith(value) };
}
