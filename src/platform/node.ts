/**
 * Access to Node's built-in modules: synchronous and without an import, so that bundlers for browsers find no reference to Node.
 */

/** Returns `process.getBuiltinModule` in Node, else undefined. Bundlers replace neither it nor globalThis.process. */
export function nodeModules(): typeof process.getBuiltinModule | undefined {
  return (globalThis as Partial<typeof globalThis>).process?.getBuiltinModule;
}
