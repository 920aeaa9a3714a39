/**
 * The worker's program: checks programs.
 */
import { answering } from '../requests.ts';
import { checkProgram } from './model.ts';

/** Answers each request with its outcome. */
export const gradcheckProgram = answering(checkProgram);
