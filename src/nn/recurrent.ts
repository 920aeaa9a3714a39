/**
 * Recurrent layers. Letters: N batch, T steps, C input features, H hidden features, K layers times directions.
 */
import { allOrNone, cat, checkProbability, checkTensor, composed, defaultGenerator, dropout, stack, zeros } from '../autograd/index.ts';
import type { Generator, Tensor } from '../autograd/index.ts';
import { ArgumentError, DTypeError, ShapeError } from '../core/errors.ts';
import { checkCount, refuseSurplus, withDefaults } from '../core/options.ts';
import { formatShape, sameShape } from '../core/shape.ts';
import { linear } from './functional.ts';
import { uniform_, type InitOptions } from './init.ts';
import { Module } from './module.ts';
import { parameter, type LayerOptions, type Parameter } from './parameter.ts';

/** Options of GRU and LSTM. */
export interface RecurrentOptions extends LayerOptions, InitOptions {
  /** The number of layers; each reads the outputs of the one before. Default 1. */
  readonly numLayers?: number;
  /** Whether the layer has biases. Default true. */
  readonly bias?: boolean;
  /** The probability with which dropout zeroes an output between two layers in training. Default 0. */
  readonly dropout?: number;
  /** Whether each layer also runs from the last step to the first. Default false. */
  readonly bidirectional?: boolean;
}

const DEFAULTS = { numLayers: 1, bias: true, dropout: 0, bidirectional: false, dtype: 'float32', generator: defaultGenerator } as const;

/** The weights of one layer in one direction. */
interface Cell {
  readonly inputs: readonly [weight: Tensor, bias: Tensor | null];
  readonly hidden: readonly [weight: Tensor, bias: Tensor | null];
}

/** Computes the next state from x [N,C] and a state, a list of tensors [N,H]. The first of them is the output. */
type Step = (x: Tensor, state: readonly Tensor[], cell: Cell) => Tensor[];

interface Run {
  readonly step: Step;
  /** The number of tensors of a state. */
  readonly states: number;
  readonly hiddenSize: number;
  readonly directions: number;
  readonly dropoutP: number;
  readonly generator: Generator;
}

/** The base of GRU and LSTM. */
abstract class Recurrent extends Module {
  readonly inputSize: number;
  readonly hiddenSize: number;
  readonly numLayers: number;
  readonly bidirectional: boolean;
  readonly dropout: number;
  readonly generator: Generator;
  readonly #name: string;
  readonly #op: string;

  constructor(name: string, op: string, gates: number, inputSize: number, hiddenSize: number, options: RecurrentOptions) {
    super();
    const o = withDefaults<RecurrentOptions>(name, options, DEFAULTS);
    for (const [key, n] of Object.entries({ inputSize, hiddenSize, numLayers: o.numLayers })) checkCount(name, key, n);
    checkProbability(name, o.dropout);
    if (o.dropout > 0 && o.numLayers === 1)
      throw new ArgumentError(`${name}: dropout acts between layers, and there is one; give numLayers or leave dropout out`);
    this.#name = name;
    this.#op = op;
    this.inputSize = inputSize;
    this.hiddenSize = hiddenSize;
    this.numLayers = o.numLayers;
    this.bidirectional = o.bidirectional;
    this.dropout = o.dropout;
    this.generator = o.generator;
    const k = 1 / Math.sqrt(hiddenSize);
    const draw = (...shape: number[]): Parameter => parameter(shape, o.dtype, (t) => uniform_(t, -k, k, { generator: o.generator }));
    const rows = gates * hiddenSize;
    const weights = allOrNone(() =>
      this.#suffixes().map((suffix, i) => {
        const features = i < this.#directions ? inputSize : hiddenSize * this.#directions;
        // PyTorch's names, as property names are the keys in the state dict.
        return {
          [`weight_ih_${suffix}`]: draw(rows, features),
          [`weight_hh_${suffix}`]: draw(rows, hiddenSize),
          ...(o.bias && { [`bias_ih_${suffix}`]: draw(rows), [`bias_hh_${suffix}`]: draw(rows) }),
        };
      }),
    );
    Object.assign(this, ...weights);
  }

  get #directions(): number {
    return this.bidirectional ? 2 : 1;
  }

  /** Returns the ends of the names of weights, such as l0 and l0_reverse, in the order of the cells. */
  #suffixes(): string[] {
    const ends = this.bidirectional ? ['', '_reverse'] : [''];
    return Array.from({ length: this.numLayers }, (_, i) => ends.map((end) => `l${i}${end}`)).flat();
  }

  #cells(): Cell[] {
    const named = (name: string): Tensor | null => (Reflect.get(this, name) as Tensor | undefined) ?? null;
    return this.#suffixes().map((suffix) => ({
      inputs: [named(`weight_ih_${suffix}`)!, named(`bias_ih_${suffix}`)],
      hidden: [named(`weight_hh_${suffix}`)!, named(`bias_hh_${suffix}`)],
    }));
  }

  /** Runs all layers; returns the outputs [N,T,…] and the last states, each [K,N,H]. */
  protected run(x: Tensor, step: Step, initial: Readonly<Record<string, Tensor>> | null, states: number): Tensor[] {
    checkTensor(this.#op, 'x', x);
    if (x.ndim !== 3 || x.size(2) !== this.inputSize || x.size(1) === 0)
      throw new ShapeError(`${this.#op}: x must be [N,T,${this.inputSize}] with T ≥ 1, got ${formatShape(x.shape)}`);
    const cells = this.#cells();
    const { dtype } = cells[0]!.inputs[0];
    const shape = [cells.length, x.size(0), this.hiddenSize];
    for (const [name, t] of Object.entries({ x, ...initial })) {
      checkTensor(this.#op, name, t);
      if (t.dtype !== dtype)
        throw new DTypeError(`${this.#op}: ${name} is ${t.dtype}, the weights of ${this.#name} ${dtype}; they must be equal`);
      if (t !== x && !sameShape(t.shape, shape))
        throw new ShapeError(`${this.#op}: ${name} must be ${formatShape(shape)}, got ${formatShape(t.shape)}`);
    }
    const { hiddenSize, generator } = this;
    const dropoutP = this.training ? this.dropout : 0;
    const given = initial === null ? null : Object.values(initial);
    return runLayers(x, given, cells, { step, states, hiddenSize, directions: this.#directions, dropoutP, generator });
  }

  override multiplyAdds(x: Tensor): number {
    const weights = this.#cells().flatMap(({ inputs, hidden }) => [inputs[0].numel, hidden[0].numel]);
    return x.size(0) * x.size(1) * weights.reduce((a, b) => a + b, 0);
  }
}

const runLayers = composed((x: Tensor, initial: readonly Tensor[] | null, cells: readonly Cell[], run: Run): Tensor[] => {
  // A list of steps: the gradient of a slice of one tensor would be as large as the tensor, at each step.
  let steps = x.unbind(1);
  const last: Tensor[][] = [];
  for (let i = 0; i < cells.length; i += run.directions) {
    const inputs = i === 0 ? steps : steps.map((t) => dropout(t, run.dropoutP, { generator: run.generator }));
    const [forth, back] = cells.slice(i, i + run.directions).map((cell, direction) => {
      const state = initial?.map((t) => t.select(0, i + direction)) ?? zeroState(x, run);
      const [outputs, end] = runSteps(direction === 0 ? inputs : inputs.toReversed(), state, cell, run.step);
      last.push(end);
      return direction === 0 ? outputs : outputs.reverse();
    });
    steps = back === undefined ? forth! : forth!.map((t, k) => cat([t, back[k]!], 1));
  }
  return [stack(steps, 1), ...Array.from({ length: run.states }, (_, k) => stack(last.map((state) => state[k]!)))];
});

/** Returns the outputs of all steps, and the last state. */
function runSteps(xs: readonly Tensor[], initial: readonly Tensor[], cell: Cell, step: Step): [outputs: Tensor[], last: Tensor[]] {
  let state = [...initial];
  const outputs = xs.map((x) => {
    state = step(x, state, cell);
    return state[0]!;
  });
  return [outputs, state];
}

/** Returns zeros that broadcast to [N,H]. */
const zeroState = (x: Tensor, { states, hiddenSize }: Run): Tensor[] =>
  Array.from({ length: states }, () => zeros([1, hiddenSize], { dtype: x.dtype }));

const gruStep: Step = composed((x: Tensor, state: readonly Tensor[], { inputs, hidden }: Cell): Tensor[] => {
  const h = state[0]!;
  const [xr, xz, xn] = linear(x, ...inputs).chunk(3, 1) as [Tensor, Tensor, Tensor];
  const [hr, hz, hn] = linear(h, ...hidden).chunk(3, 1) as [Tensor, Tensor, Tensor];
  const r = xr.add(hr).sigmoid();
  const z = xz.add(hz).sigmoid();
  const n = xn.add(r.mul(hn)).tanh();
  return [n.add(z.mul(h.sub(n)))];
});

const lstmStep: Step = composed((x: Tensor, state: readonly Tensor[], { inputs, hidden }: Cell): Tensor[] => {
  const [h, c] = state as [Tensor, Tensor];
  const gates = linear(x, ...inputs).add(linear(h, ...hidden));
  const [i, f, g, o] = gates.chunk(4, 1) as [Tensor, Tensor, Tensor, Tensor];
  const next = f.sigmoid().mul(c).add(i.sigmoid().mul(g.tanh()));
  return [o.sigmoid().mul(next.tanh()), next];
});

/**
 * Gated recurrent units, over sequences with the batch first.
 *   r = σ(W_ir x + b_ir + W_hr h + b_hr),   z = σ(W_iz x + b_iz + W_hz h + b_hz)
 *   n = tanh(W_in x + b_in + r ⊙ (W_hn h + b_hn)),   h ← (1 − z) ⊙ n + z ⊙ h
 * Shape:  x [N,T,C], h [K,N,H], K = numLayers · directions → [outputs [N,T,directions·H], last h [K,N,H]];
 *         weight_ih_l0 [3H,C] (later layers [3H,directions·H]), weight_hh_l0 [3H,H], biases [3H]; `_reverse` for the second direction
 * Init:   U(−k, k), k = 1/√H (PyTorch's default)
 * Source: Cho et al. 2014, arXiv:1406.1078, eq. 5–8; r inside n as in PyTorch and cuDNN
 * Throws: ShapeError for another x or h; DTypeError for dtypes other than the weights'
 * @example const [outputs, h] = new GRU(8, 32).forward(x);
 */
export class GRU extends Recurrent {
  constructor(inputSize: number, hiddenSize: number, options: RecurrentOptions = {}) {
    super('GRU', 'gru', 3, inputSize, hiddenSize, options);
  }

  /** @param h The initial state. Default 0. */
  forward(x: Tensor, h: Tensor | null = null): [outputs: Tensor, h: Tensor] {
    refuseSurplus('forward', arguments, 2);
    return this.run(x, gruStep, h === null ? null : { h }, 1) as [Tensor, Tensor];
  }
}

/**
 * Long short-term memory, over sequences with the batch first.
 *   i, f, o = σ(W x + b + W′ h + b′),   g = tanh(W x + b + W′ h + b′), each with rows of its own in the order i, f, g, o
 *   c ← f ⊙ c + i ⊙ g,   h ← o ⊙ tanh c
 * Shape:  x [N,T,C], h and c [K,N,H], K = numLayers · directions → [outputs [N,T,directions·H], [last h, last c]];
 *         weight_ih_l0 [4H,C] (later layers [4H,directions·H]), weight_hh_l0 [4H,H], biases [4H]; `_reverse` for the second direction
 * Init:   U(−k, k), k = 1/√H (PyTorch's default)
 * Source: Hochreiter & Schmidhuber 1997, Neural Computation 9(8), with the forget gate of Gers et al. 2000, Neural Computation 12(10)
 * Throws: ShapeError for another x, h or c; DTypeError for dtypes other than the weights'
 * @example const [outputs, [h, c]] = new LSTM(8, 32).forward(x);
 */
export class LSTM extends Recurrent {
  constructor(inputSize: number, hiddenSize: number, options: RecurrentOptions = {}) {
    super('LSTM', 'lstm', 4, inputSize, hiddenSize, options);
  }

  /** @param state The initial h and c. Default 0. */
  forward(x: Tensor, state: readonly [h: Tensor, c: Tensor] | null = null): [outputs: Tensor, state: [h: Tensor, c: Tensor]] {
    refuseSurplus('forward', arguments, 2);
    if (state !== null && !(Array.isArray(state) && state.length === 2)) throw new ArgumentError('lstm: state must be a list of h and c');
    const [outputs, h, c] = this.run(x, lstmStep, state === null ? null : { h: state[0], c: state[1] }, 2) as [Tensor, Tensor, Tensor];
    return [outputs, [h, c]];
  }
}
