/**
 * The errors this library throws on purpose. All extend ChainruleError, so one `instanceof` distinguishes them from bugs.
 *
 * A message names the operation, both numbers, all shapes and the remedy.
 */
import { isArray, kindOf } from './describe.ts';
import { oneLine } from './text.ts';

export { isArray, kindOf, shown } from './describe.ts';

/** The base of every error of this library. */
export class ChainruleError extends Error {
  override get name(): string {
    return this.constructor.name;
  }
}

/** The base of errors that quote files and arguments. Their messages stay on one line, whatever the quoted texts contain. */
class OneLineError extends ChainruleError {
  constructor(message: string, options?: ErrorOptions) {
    super(oneLine(message), options);
  }
}

/** Shapes, dims or element counts that do not match. */
export class ShapeError extends ChainruleError {}

/** An element type that the operation does not support. */
export class DTypeError extends ChainruleError {}

/** An option or argument outside its allowed values. */
export class ArgumentError extends OneLineError {}

/** A gradient was requested that does not exist: no graph, not a scalar, an integer tensor, … */
export class AutogradError extends ChainruleError {}

/** Backward, or a recorded operation, through a part of the graph that an earlier backward consumed. */
export class GraphConsumedError extends AutogradError {}

/** A tensor that backward needs was written to after it was saved, or must not be written to in place. */
export class InPlaceError extends AutogradError {}

/** A tensor was read after its memory was freed. The message names what freed it. */
export class ReleasedError extends ChainruleError {}

/** Scopes or scoped loops that overlap instead of nesting, or that were given an asynchronous function. */
export class ScopeError extends ChainruleError {}

/** Under `detectAnomaly`: an operation or its backward computed a value that is not finite. */
export class AnomalyError extends ChainruleError {}

/** WebAssembly memory is exhausted. */
export class OutOfMemoryError extends ChainruleError {}

/** With CHAINRULE_CHECKED_MEMORY=1: memory outside a block, or of a freed block, was accessed. A bug of this library. */
export class CheckedMemoryError extends ChainruleError {}

/** A worker thread failed, ended or stalled during a kernel. The values that the operation was writing are undefined. */
export class WorkerError extends ChainruleError {}

/** A group of processes cannot start, its ranks call different things, or a rank does not answer. */
export class DistributedError extends OneLineError {}

/** Ranks call different things, or the same with other shapes. Thrown on all ranks; the group can be used after it. */
export class DisagreementError extends DistributedError {}

/** A gradient check found a wrong gradient. */
export class GradcheckError extends ChainruleError {}

/** A file or folder that is missing, damaged, or not what was expected. */
export class FileError extends OneLineError {}

/** A state dict that does not match: missing names, unexpected names or wrong shapes. */
export class StateDictError extends OneLineError {}

/** Creates the error for a state that does not match `owner`. */
export function stateDictMismatch(owner: string, problem: string): StateDictError {
  return new StateDictError(`loadStateDict: the state does not fit ${owner}: ${problem}`);
}

/** Puts `prefix` before the message of an error, also in its stack. */
export function prependMessage(e: Error, prefix: string): void {
  const { message, stack } = e;
  const longer = `${prefix}${message}`;
  // Not by assignment: the message of a DOMException has no setter.
  Object.defineProperty(e, 'message', { value: longer, configurable: true, writable: true });
  if (message !== '')
    Object.defineProperty(e, 'stack', { value: stack?.replace(message, () => longer) ?? '', configurable: true, writable: true });
}

/** Throws unless `value` is an array. PyTorch also takes sizes and dims as separate arguments. */
export function checkArray(op: string, value: unknown): void {
  if (!isArray(value)) throw new ArgumentError(`${op}: expected an array, got ${kindOf(value)}; write ${op}([…])`);
}
