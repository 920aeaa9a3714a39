/**
 * The one way to Node's own modules: synchronous and no import, so that bundlers for browsers see nothing of Node.
 */

/** `process.getBuiltinModule` where there is a Node; bundlers replace neither it nor globalThis.process. */
export function nodeModules(): typeof process.getBuiltinModule | undefined {
  return (globalThis as Partial<typeof globalThis>).process?.getBuiltinModule;
}
