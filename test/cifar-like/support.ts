import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, vi } from 'vitest';
import { main } from '../../examples/cifar-like/main.ts';
import { compileProgram } from '../support/compile-program.ts';

/** Whether the tests use the reference kernels, on which runs of the command are too slow. */
export const onReference = process.env.CHAINRULE_KERNELS === 'reference';

/** Makes a folder that is removed after the tests of this file. */
export function temporaryFolder(): string {
  const dir = mkdtempSync(join(tmpdir(), 'cifar-like-'));
  afterAll(() => rmSync(dir, { recursive: true, force: true }));
  return dir;
}

export interface Output {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs the command in this process. */
export function run(...args: string[]): Promise<Output> {
  return captured(() => main(args));
}

/** Runs `command` and returns what it prints, and its exit code. */
export async function captured(command: () => Promise<number>): Promise<Output> {
  let stdout = '';
  let stderr = '';
  const spies = [
    vi.spyOn(process.stdout, 'write').mockImplementation((text) => {
      stdout += String(text);
      return true;
    }),
    vi.spyOn(console, 'log').mockImplementation((text) => {
      stdout += `${text}\n`;
    }),
    vi.spyOn(console, 'error').mockImplementation((text) => {
      stderr += `${text}\n`;
    }),
  ];
  try {
    return { code: await command(), stdout, stderr };
  } finally {
    for (const spy of spies) spy.mockRestore();
  }
}

/** The program of `npm start`. */
export const SCRIPT = fileURLToPath(new URL('../../examples/cifar-like/train.ts', import.meta.url));

/** Starts the command as a process of its own. */
export async function start(...args: string[]): Promise<ChildProcess> {
  return spawn(process.execPath, [await compileProgram(SCRIPT), ...args], { stdio: ['ignore', 'pipe', 'pipe'] });
}

/** Waits for the end of a process and returns its output and exit code; the code is null if it was killed. */
export function ended(child: ChildProcess): Promise<{ code: number | null; stdout: string; stderr: string }> {
  let stdout = '';
  let stderr = '';
  child.stdout?.on('data', (chunk) => (stdout += chunk));
  child.stderr?.on('data', (chunk) => (stderr += chunk));
  return new Promise((resolve) => child.on('close', (code) => resolve({ code, stdout, stderr })));
}

/** Returns every file below `dir` with its contents. */
export function snapshot(dir: string): Record<string, string> {
  const files = readdirSync(dir, { recursive: true, withFileTypes: true }).filter((f) => f.isFile());
  return Object.fromEntries(files.map((f) => join(f.parentPath, f.name)).map((f) => [f, readFileSync(f, 'base64')]));
}

/** Reads the lines of a run's metrics.jsonl. */
export function metricsOf(dir: string): { net: string; step: number; lr?: number }[] {
  const lines = readFileSync(join(dir, 'metrics.jsonl'), 'utf8').split('\n').slice(0, -1);
  return lines.map((line) => JSON.parse(line) as { net: string; step: number; lr?: number });
}
