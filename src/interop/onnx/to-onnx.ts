/**
 * Writes a model as an ONNX file.
 */
import { cat, checkTensor, scope, type Tensor } from '../../autograd/index.ts';
import { isInstance } from '../../core/describe.ts';
import { ArgumentError, kindOf, ShapeError } from '../../core/errors.ts';
import { checkText, withDefaults } from '../../core/options.ts';
import { formatShape } from '../../core/shape.ts';
import { Module } from '../../nn/index.ts';
import { rememberModes } from '../../nn/modes.ts';
import { type OnnxDim, OnnxGraph } from './builder.ts';
import { type NamedConstant, OPERATORS, Translator } from './operators.ts';
import { type Model, record } from './record.ts';
import { type Call, type Size, unify } from './unify.ts';

/** Options of toOnnx. */
export interface OnnxOptions {
  /** The name of the graph. Default 'model'. */
  readonly name?: string;
  /** The name of the input. Default 'input'. */
  readonly input?: string;
  /** The name of the output. Default 'output'. */
  readonly output?: string;
}

/** The name of the batch's dim. */
const BATCH = 'N';

/**
 * Returns the bytes of an ONNX file (opset 17, IR version 8) that computes what `model` computes in evaluation mode, for any number of
 * samples. Weights are named by their path in the model. Equal models give equal bytes.
 *
 * The file has the model's dtype. onnxruntime has no float64 convolution, pooling or erf; convert the model to float32 first.
 *
 * Runs the model on the example and on one sample more, and translates each operation that depends on the input. What both runs share is
 * in the file; so a number that a model computes from its input's values in TypeScript is that of the example.
 * Shape: exampleInput [N,…], N ≥ 1; its values do not matter
 * Throws: ArgumentError that names module and operation, for one without counterpart in ONNX, such as a function of defineOp, and for a
 * result that depends on the number of samples in a way that ONNX cannot express
 * @example writeFileAtomic('model.onnx', toOnnx(model, zeros([1, 3, 32, 32])))
 */
export function toOnnx(model: Model, exampleInput: Tensor, options: OnnxOptions = {}): Uint8Array {
  if (!isInstance(model, Module) || typeof model.forward !== 'function') {
    throw new ArgumentError(`toOnnx: the model must be a module with a forward, got ${kindOf(model)}`);
  }
  checkTensor('toOnnx', 'exampleInput', exampleInput);
  const names = withDefaults<OnnxOptions>('toOnnx', options, { name: 'model', input: 'input', output: 'output' });
  for (const [option, value] of Object.entries(names)) checkText('toOnnx', option, value);
  if (names.input === names.output)
    throw new ArgumentError(`toOnnx: input and output must have different names, got '${names.input}' for both`);
  if (exampleInput.ndim === 0 || exampleInput.numel === 0) {
    throw new ShapeError(`toOnnx: exampleInput must be [N,…] with at least one element, got ${formatShape(exampleInput.shape)}`);
  }
  const { calls, output } = inEvaluation(model, () => recordTwice(model, exampleInput));
  return encode(calls, output, exampleInput, names);
}

/** Runs `fn` with the model in evaluation mode; then restores the mode of each module, also if it throws. */
function inEvaluation<T>(model: Model, fn: () => T): T {
  const restoreModes = rememberModes(model);
  model.eval();
  try {
    return fn();
  } finally {
    restoreModes();
  }
}

function recordTwice(model: Model, input: Tensor): ReturnType<typeof unify> {
  return scope(() => {
    const samples = input.shape[0]!;
    const more = cat([input, input.slice(0, 0, 1)], 0);
    return unify(record(model, input.detach()), record(model, more.detach()), samples);
  });
}

function encode(calls: readonly Call[], output: Call['results'][number], input: Tensor, names: Required<OnnxOptions>): Uint8Array {
  const graph = new OnnxGraph();
  const values = new Map([[0, graph.claim(names.input)]]);
  const outputName = graph.claim(names.output);
  const constants: NamedConstant[] = [];
  for (const call of calls) {
    const translate = Object.hasOwn(OPERATORS, call.op) ? OPERATORS[call.op] : undefined;
    const translator = new Translator(graph, call, values, constants);
    if (translate === undefined) return translator.fail('this operation has no counterpart in ONNX; compute it outside the exported model');
    const results = [translate(translator)].flat();
    results.forEach((name, i) => values.set(call.results[i]!.id!, name));
  }
  const last = values.get(output.id!);
  if (last === undefined) throw new ArgumentError('toOnnx: the output has no counterpart in ONNX');
  graph.node('Identity', [last], {}, outputName);
  const shapeOf = (shape: readonly Size[]): OnnxDim[] => shape.map(dimOf);
  const inputShape = [BATCH, ...input.shape.slice(1)];
  return graph.encode(
    names.name,
    [{ name: names.input, type: input.dtype, shape: inputShape }],
    [{ name: names.output, type: output.dtype, shape: shapeOf(output.shape) }],
  );
}

function dimOf(size: Size): OnnxDim {
  if (typeof size === 'number') return size;
  return size.perSample === 1 ? BATCH : `${size.perSample}*${BATCH}`;
}
