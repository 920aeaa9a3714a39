/**
 * The script of the page's workers: the library, and a program for each panel.
 */
import { gradcheckProgram } from './gradcheck/worker.ts';
import { graphProgram } from './graph/worker.ts';
import { seProgram } from './se/worker.ts';
import { trainProgram } from './train/worker.ts';
import type { ProgramName, WorkerProgram, WorkerScope } from './workers.ts';

const programs: Readonly<Record<ProgramName, WorkerProgram>> = {
  graph: graphProgram,
  train: trainProgram,
  se: seProgram,
  gradcheck: gradcheckProgram,
};

const scope = globalThis as unknown as WorkerScope & { readonly name: ProgramName };
programs[scope.name](scope);
