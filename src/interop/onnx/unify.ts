/**
 * Unifies two recordings of a model, of n and of n + 1 samples: what differs between them depends on the number of samples.
 */
import type { DType } from '../../core/dtype.ts';
import { ArgumentError } from '../../core/errors.ts';
import { formatShape } from '../../core/shape.ts';
import { isRecorded, type RecordedCall, type RecordedConstant, type Recording, type RecordedTensor, type RecordedValue } from './record.ts';

/** A size that is `perSample` times the number of samples. */
export interface BatchSize {
  readonly perSample: number;
}

/** The size of a dim. */
export type Size = number | BatchSize;

/** A tensor of the unified recording. */
export interface Operand {
  /** Null for a constant. */
  readonly id: number | null;
  readonly constant: RecordedConstant | null;
  readonly shape: readonly Size[];
  readonly dtype: DType;
}

/** An operation of the unified recording. Numbers among its arguments that depend on the number of samples are a BatchSize. */
export interface Call {
  readonly op: string;
  readonly place: string;
  readonly args: readonly unknown[];
  readonly results: readonly Operand[];
}

export function isOperand(value: unknown): value is Operand {
  return typeof value === 'object' && value !== null && 'constant' in value && 'id' in value;
}

export function isBatchSize(size: unknown): size is BatchSize {
  return typeof size === 'object' && size !== null && 'perSample' in size;
}

/** Returns the calls and the output of both recordings as one. Throws: ArgumentError where they differ otherwise than by the batch */
export function unify(a: Recording, b: Recording, samples: number): { readonly calls: Call[]; readonly output: Operand } {
  const differ = (): never => {
    throw new ArgumentError('toOnnx: the model computes otherwise for one sample more, so no graph is right for every batch');
  };
  if (a.calls.length !== b.calls.length) differ();
  const calls = a.calls.map((call, i) => {
    const other = b.calls[i]!;
    return call.op === other.op && call.args.length === other.args.length ? new Unifier(call, samples).call(other) : differ();
  });
  return { calls, output: new Unifier({ op: 'output', place: '', args: [], results: [] }, samples).tensor(a.output, b.output) };
}

class Unifier {
  readonly #call: RecordedCall;
  readonly #samples: number;

  constructor(call: RecordedCall, samples: number) {
    this.#call = call;
    this.#samples = samples;
  }

  call(other: RecordedCall): Call {
    const { op, place, args, results } = this.#call;
    return {
      op,
      place,
      args: args.map((arg, i) => this.#value(arg, other.args[i])),
      results: results.map((r, i) => this.tensor(r, other.results[i]!)),
    };
  }

  tensor(a: RecordedTensor, b: RecordedTensor): Operand {
    if (a.kind !== b.kind || a.dtype !== b.dtype || a.shape.length !== b.shape.length)
      return this.#fail('its arguments are of another kind');
    const shape = a.shape.map((size, d) => this.#size(size, b.shape[d]!));
    if (a.kind === 'value') {
      // Of equal values the latest.
      const id = a.ids.findLast((i) => (b as RecordedValue).ids.includes(i)) ?? this.#fail('its argument');
      return { id, constant: null, shape, dtype: a.dtype };
    }
    const other = b as RecordedConstant;
    const isSame = a.data.length === other.data.length && a.data.every((v, i) => Object.is(v, other.data[i]));
    if (!isSame) return this.#fail(`a constant ${formatShape(a.shape)}`);
    return { id: null, constant: a, shape, dtype: a.dtype };
  }

  #value(a: unknown, b: unknown): unknown {
    if (isRecorded(a)) return isRecorded(b) ? this.tensor(a, b) : this.#fail('an argument');
    if (typeof a === 'number' && typeof b === 'number') return this.#size(a, b);
    if (Array.isArray(a) && Array.isArray(b) && a.length === b.length) return a.map((v, i) => this.#value(v, b[i]));
    if (typeof a === 'object' && a !== null && typeof b === 'object' && b !== null)
      return Object.fromEntries(Object.entries(a).map(([key, v]) => [key, this.#value(v, (b as Record<string, unknown>)[key])]));
    return Object.is(a, b) ? a : this.#fail('an argument');
  }

  #size(a: number, b: number): Size {
    if (Object.is(a, b)) return a;
    const perSample = a / this.#samples;
    return Number.isInteger(perSample) && b === perSample * (this.#samples + 1) ? { perSample } : this.#fail(`a number, ${a} and ${b}`);
  }

  #fail(what: string): never {
    const { op, place } = this.#call;
    throw new ArgumentError(
      `toOnnx: ${place === '' ? '' : `${place}: `}${op}: ${what} depends on the number of samples in a way that ONNX cannot express`,
    );
  }
}
