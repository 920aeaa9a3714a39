/**
 * Peers in JavaScript, timed on one training step of the tiny SE-CNN by a script of their own: where they are installed.
 */
import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';

/** The peers that have a script; they take seconds a step, so that they run only where `--peers` names them. */
export const SCRIPTS = ['tfjs', 'jax-js'] as const;

/** What a script prints. */
export interface ScriptResult {
  /** Null where the package does not tell. */
  readonly version: string | null;
  readonly seconds: number;
}

/** Seconds of one step; null where the peer is not installed. */
export function runScript(peer: (typeof SCRIPTS)[number]): ScriptResult | null {
  const script = fileURLToPath(new URL(`./${peer}-peer.mjs`, import.meta.url));
  const { status, stdout, stderr } = spawnSync(process.execPath, [script], { encoding: 'utf8' });
  // The script's word for: not installed.
  if (status === 3) return null;
  if (status !== 0) throw new Error(`${peer}-peer.mjs ended with status ${status}:\n${stderr}`);
  return JSON.parse(stdout) as ScriptResult;
}
