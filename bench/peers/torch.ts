/**
 * PyTorch as a peer: a Python process that times one request after the other.
 */
import { spawn, type ChildProcessByStdio } from 'node:child_process';
import { createInterface } from 'node:readline';
import type { Readable, Writable } from 'node:stream';
import { fileURLToPath } from 'node:url';
import type { Case } from '../case.ts';

/** Interpreters that may have PyTorch: $PYTHON or the python3 of the path, then that of the system. */
export const PYTHONS = [process.env.PYTHON ?? 'python3', '/usr/bin/python3'];

/** Makes glibc reuse freed memory. Otherwise the page faults of fresh memory cost PyTorch more than its arithmetic. */
export const TUNED = { MALLOC_MMAP_THRESHOLD_: '4000000000', MALLOC_TRIM_THRESHOLD_: '8000000000', MALLOC_TOP_PAD_: '1000000000' };

export class TorchPeer {
  readonly version: string;
  readonly blas: string;
  readonly #child: ChildProcessByStdio<Writable, Readable, null>;
  readonly #lines: AsyncIterator<string>;

  private constructor(
    child: ChildProcessByStdio<Writable, Readable, null>,
    lines: AsyncIterator<string>,
    hello: { version: string; blas: string },
  ) {
    this.version = hello.version;
    this.blas = hello.blas;
    this.#child = child;
    this.#lines = lines;
  }

  /** Starts PyTorch, with the malloc settings or without; returns null if no interpreter has it. */
  static async start({ tuned }: { tuned: boolean }): Promise<TorchPeer | null> {
    const script = fileURLToPath(new URL('./torch-peer.py', import.meta.url));
    for (const python of PYTHONS) {
      const child = spawn(python, [script], { stdio: ['pipe', 'pipe', 'inherit'], env: { ...process.env, ...(tuned ? TUNED : {}) } });
      const failed = new Promise<null>((resolve) => child.once('error', () => resolve(null)));
      const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
      const first = await Promise.race([lines.next(), failed]);
      if (first !== null && first.done !== true) {
        return new TorchPeer(child, lines, JSON.parse(first.value) as { version: string; blas: string });
      }
    }
    return null;
  }

  /** Times a case and returns the shortest time in seconds; null if the peer does not support the case. */
  async seconds(c: Case, threads: number, seconds: number): Promise<number | null> {
    if (c.peer === null) return null;
    this.#child.stdin.write(`${JSON.stringify({ ...c.peer, threads, seconds })}\n`);
    const answer = await this.#lines.next();
    if (answer.done === true) throw new Error(`PyTorch ended while it timed ${c.name}`);
    return (JSON.parse(answer.value) as { seconds: number | null }).seconds;
  }

  stop(): void {
    this.#child.stdin.end();
  }
}
