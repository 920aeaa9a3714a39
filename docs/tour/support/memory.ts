import { memory, scope, tensor } from 'chainrule';

/**
 * Returns the bytes in use, and restarts the peak. Outputs of a consumed graph stay until the next recorded operation, so one is run
 * first: what earlier code has left is not counted to the code that is measured.
 */
export function bytesInUse(): number {
  scope(() => tensor(1, { requiresGrad: true }).mul(1));
  return memory({ resetPeak: true }).bytes;
}
