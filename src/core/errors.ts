/**
 * Every error this library throws on purpose. All extend ChainruleError, so that one `instanceof` tells them from bugs.
 *
 * A message names the operation, both numbers and all shapes, and says what to do.
 */

/** The base of every error of this library. */
export class ChainruleError extends Error {
  override get name(): string {
    return this.constructor.name;
  }
}

/** Shapes, dims or element counts that do not fit together. */
export class ShapeError extends ChainruleError {}

/** An element type that the operation does not take. */
export class DTypeError extends ChainruleError {}

/** An option or argument outside its allowed values. */
export class ArgumentError extends ChainruleError {}

/** A gradient was asked for that cannot be given: no graph, no scalar, an integer tensor, … */
export class AutogradError extends ChainruleError {}

/** Backward, or a recorded operation, through a part of the graph that an earlier backward consumed. */
export class GraphConsumedError extends AutogradError {}

/** A tensor that backward needs was written to after it was saved, or must not be written to in place. */
export class InPlaceError extends AutogradError {}

/** A tensor was read after its memory was freed; the message says who freed it. */
export class ReleasedError extends ChainruleError {}

/** Scopes or scoped loops that overlap instead of nesting, or an asynchronous function given to one. */
export class ScopeError extends ChainruleError {}

/** Under `detectAnomaly`: an operation or its backward made a value that is no finite number. */
export class AnomalyError extends ChainruleError {}

/** WebAssembly memory is exhausted. */
export class OutOfMemoryError extends ChainruleError {}

/** A worker thread failed, ended or stood still in the middle of a kernel. What the operation was writing is undefined. */
export class WorkerError extends ChainruleError {}

/** A gradient check found a wrong gradient. */
export class GradcheckError extends ChainruleError {}

/** A file or folder that is missing, damaged, or not what was expected. */
export class FileError extends ChainruleError {}

/** A state dict that does not fit: names missing, unexpected or of the wrong shape. */
export class StateDictError extends ChainruleError {}

/** The refusal of a state that does not fit `owner`. */
export function misfit(owner: string, what: string): StateDictError {
  return new StateDictError(`loadStateDict: the state does not fit ${owner}: ${what}`);
}

/** How messages call a value of the wrong kind: `an array`, `a string`, `null`. */
export function kindOf(value: unknown): string {
  if (value == null) return String(value);
  if (Array.isArray(value)) return 'an array';
  return `${typeof value === 'object' ? 'an' : 'a'} ${typeof value}`;
}

/** Throws unless `value` is an array: PyTorch also takes sizes and dims one by one. */
export function checkArray(op: string, value: unknown): void {
  if (!Array.isArray(value)) throw new ArgumentError(`${op}: expected an array, got ${kindOf(value)}; write ${op}([…])`);
}
