let never: Int32Array | null = null;

/** Sleeps without an event loop. */
export function sleep(ms: number): void {
  never ??= new Int32Array(new SharedArrayBuffer(4));
  Atomics.wait(never, 0, 0, ms);
}
