/**
 * Peers written in JavaScript. A script for each times one training step of the tiny SE-CNN, if the package is installed.
 */
import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';

/** The peers that have a script. A step takes them seconds, so they run only if `--peers` names them. */
export const SCRIPTS = ['tfjs', 'jax-js'] as const;

/** Exit status of a script whose package is not installed. */
const NOT_INSTALLED = 3;

/** The JSON that a script prints. */
export interface ScriptResult {
  /** Null if the package does not export its version. */
  readonly version: string | null;
  readonly seconds: number;
}

/** Runs the script of a peer; returns null if the peer is not installed. */
export function runScript(peer: (typeof SCRIPTS)[number]): ScriptResult | null {
  const script = fileURLToPath(new URL(`./${peer}-peer.mjs`, import.meta.url));
  const { status, stdout, stderr } = spawnSync(process.execPath, [script], { encoding: 'utf8' });
  if (status === NOT_INSTALLED) return null;
  if (status !== 0) throw new Error(`${peer}-peer.mjs ended with status ${status}:\n${stderr}`);
  return JSON.parse(stdout) as ScriptResult;
}
