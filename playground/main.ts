/**
 * The page's only script. It runs in the page, which it builds, and in the page's workers.
 */
import { gradcheckPanel } from './gradcheck/panel.ts';
import { GRADCHECK_WORKER, gradcheckProgram } from './gradcheck/worker.ts';
import { graphPanel } from './graph/panel.ts';
import { startPage } from './page.ts';
import { sePanel } from './se/panel.ts';
import { SE_WORKER, seProgram } from './se/worker.ts';
import { trainPanel } from './train/panel.ts';
import { trainProgram } from './train/worker.ts';
import type { WorkerProgram, WorkerScope } from './workers.ts';

const panels = [graphPanel, trainPanel, sePanel, gradcheckPanel];

/** The programs of workers by name. */
const programs: Readonly<Record<string, WorkerProgram>> = {
  train: trainProgram,
  [SE_WORKER]: seProgram,
  [GRADCHECK_WORKER]: gradcheckProgram,
};

if (typeof document === 'undefined') {
  const scope = globalThis as unknown as WorkerScope & { readonly name: string };
  programs[scope.name]!(scope);
} else {
  startPage(document.getElementById('root')!, panels);
}
