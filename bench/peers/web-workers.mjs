/**
 * Web workers on Node's threads, for packages that start their threads only where there is a global `Worker`, as in a page.
 */
import { resolveObjectURL } from 'node:buffer';
import { Worker as Thread } from 'node:worker_threads';

const PRELUDE = `{
  const { parentPort } = require('node:worker_threads');
  globalThis.self = globalThis;
  globalThis.postMessage = (message, transfer) => parentPort.postMessage(message, transfer);
  parentPort.on('message', (data) => globalThis.onmessage({ data }));
}
`;

/** A web worker whose script is a blob. */
class BlobWorker {
  onmessage = null;
  onerror = null;
  #thread;

  constructor(url) {
    this.#thread = resolveObjectURL(url)
      .text()
      .then((source) => {
        const thread = new Thread(PRELUDE + source, { eval: true });
        thread.on('message', (data) => this.onmessage?.({ data }));
        thread.on('error', (error) => this.onerror?.(error));
        return thread;
      });
  }

  postMessage(message, transfer) {
    void this.#thread.then((thread) => thread.postMessage(message, transfer));
  }
}

/** Defines `Worker`, and reports `threads` processors. */
export function defineWorkers(threads) {
  globalThis.Worker = BlobWorker;
  Object.defineProperty(globalThis, 'navigator', { value: { hardwareConcurrency: threads, userAgent: 'Node' }, configurable: true });
}
