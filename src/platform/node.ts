/**
 * Access to Node's built-in modules and to the environment: synchronous and without an import, so that bundlers for browsers find no
 * reference to Node.
 */

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

/** Sets a variable of this process's environment unless it is set. */
export function setEnvironmentDefault(name: string, value: string): void {
  process.env[name] ??= value;
}
