/**
 * The worker's program: computes graphs and places their nodes.
 */
import { ExpressionError } from '../expression/parse.ts';
import { answering } from '../requests.ts';
import type { Placed } from './boxes.ts';
import { place } from './layout.ts';
import { buildModel, type GraphModel } from './walk.ts';

/** What is wrong with a program. */
export interface ProgramFault {
  /** Counted from 1. */
  readonly line: number;
  readonly message: string;
}

/** A program's graph, and where its nodes are drawn. */
export interface Computed {
  readonly model: GraphModel;
  readonly placed: Placed;
}

export type GraphAnswer = Computed | { readonly fault: ProgramFault };

/** Answers each program with its graph. */
export const graphProgram = answering((program: string): GraphAnswer => {
  try {
    const model = buildModel(program);
    return { model, placed: place(model.nodes) };
  } catch (error) {
    if (!(error instanceof ExpressionError)) throw error;
    return { fault: { line: error.line, message: error.message } };
  }
});
