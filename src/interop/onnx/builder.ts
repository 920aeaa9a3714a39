/**
 * Builds an ONNX graph, and encodes it: https://github.com/onnx/onnx/blob/main/onnx/onnx.proto
 */
import type { DType, ElementArray } from '../../core/dtype.ts';
import { Message } from '../protobuf.ts';

/** The versions that the files state: operators as of opset 17 (ONNX 1.12, June 2022) in the IR of the same release. */
export const OPSET = 17;
const IR_VERSION = 8;

/** ONNX's numbers for element types. */
export const ELEMENT_TYPE = { float32: 1, int32: 6, int64: 7, bool: 9, float64: 11 } as const;

/** The type of an ONNX value: a dtype of tensors here, or int64, which shapes and axes have. */
export type OnnxType = DType | 'int64';

/** The value of a node's attribute. */
export type Attribute = number | readonly number[] | string;

/** The size of a dim: a number, or the name of one that is known when the model runs. */
export type OnnxDim = number | string;

interface Initializer {
  readonly name: string;
  readonly type: OnnxType;
  readonly shape: readonly number[];
  readonly bytes: Uint8Array;
}

/** A graph under construction. */
export class OnnxGraph {
  readonly #nodes: Message[] = [];
  readonly #initializers: Initializer[] = [];
  readonly #names = new Set<string>();
  /** Constants that were made here, by type, shape and content. */
  readonly #constants = new Map<string, string>();

  /** Returns a name that is not in use, `base` if possible, and takes it. */
  claim(base: string): string {
    let name = base;
    for (let i = 1; this.#names.has(name); i++) name = `${base}_${i}`;
    this.#names.add(name);
    return name;
  }

  /** Adds a node with one output and returns its name. */
  node(
    op: string,
    inputs: readonly string[],
    attributes: Readonly<Record<string, Attribute>> = {},
    output = this.claim(op.toLowerCase()),
  ): string {
    this.#addNode(op, inputs, attributes, [output]);
    return output;
  }

  /** Adds a node with two outputs and returns the name of the second. */
  secondOf(op: string, inputs: readonly string[], attributes: Readonly<Record<string, Attribute>>): string {
    const outputs = [this.claim(op.toLowerCase()), this.claim(op.toLowerCase())] as const;
    this.#addNode(op, inputs, attributes, outputs);
    return outputs[1];
  }

  #addNode(
    op: string,
    inputs: readonly string[],
    attributes: Readonly<Record<string, Attribute>>,
    outputs: readonly [name: string, ...more: string[]],
  ): void {
    const message = new Message();
    for (const input of inputs) message.text(1, input);
    for (const output of outputs) message.text(2, output);
    message.text(3, outputs[0]).text(4, op);
    for (const [name, value] of Object.entries(attributes)) message.message(5, attributeOf(name, value));
    this.#nodes.push(message);
  }

  /** Adds a tensor under a name of its own. */
  initializer(base: string, data: ElementArray, shape: readonly number[], type: DType): string {
    const name = this.claim(base);
    this.#initializers.push({ name, type, shape, bytes: new Uint8Array(data.buffer, data.byteOffset, data.byteLength) });
    return name;
  }

  /** Returns the name of a list of 64-bit integers, as shapes and axes are given. */
  integers(values: readonly number[]): string {
    const data = BigInt64Array.from(values, BigInt);
    return this.#constant('int64', [values.length], new Uint8Array(data.buffer));
  }

  /** Returns the name of a constant of a few numbers. */
  numbers(values: ElementArray, shape: readonly number[], type: DType): string {
    return this.#constant(type, shape, new Uint8Array(values.buffer, values.byteOffset, values.byteLength));
  }

  #constant(type: OnnxType, shape: readonly number[], bytes: Uint8Array): string {
    const key = `${type} ${shape.join(',')} ${bytes.join(',')}`;
    const known = this.#constants.get(key);
    if (known !== undefined) return known;
    const name = this.claim('constant');
    this.#initializers.push({ name, type, shape, bytes });
    this.#constants.set(key, name);
    return name;
  }

  /** Encodes the model. */
  encode(name: string, inputs: readonly OnnxValue[], outputs: readonly OnnxValue[]): Uint8Array {
    const graph = new Message();
    for (const node of this.#nodes) graph.message(1, node);
    graph.text(2, name);
    for (const initializer of this.#initializers) graph.message(5, tensorOf(initializer));
    for (const value of inputs) graph.message(11, valueInfo(value));
    for (const value of outputs) graph.message(12, valueInfo(value));
    const model = new Message().integer(1, IR_VERSION).text(2, 'chainrule').message(7, graph);
    return model.message(8, new Message().text(1, '').integer(2, OPSET)).bytes();
  }
}

/** An input or output of the graph. */
export interface OnnxValue {
  readonly name: string;
  readonly type: OnnxType;
  readonly shape: readonly OnnxDim[];
}

/** The numbers of AttributeProto's types. */
const ATTRIBUTE = { int: 2, string: 3, ints: 7 } as const;

/** A number is an int: no operator used here has a floating-point attribute. */
function attributeOf(name: string, value: Attribute): Message {
  const message = new Message().text(1, name);
  if (typeof value === 'string') return message.text(4, value).integer(20, ATTRIBUTE.string);
  if (typeof value !== 'number') {
    for (const v of value) message.integer(8, v);
    return message.integer(20, ATTRIBUTE.ints);
  }
  return message.integer(3, value).integer(20, ATTRIBUTE.int);
}

function tensorOf({ name, type, shape, bytes }: Initializer): Message {
  const message = new Message();
  for (const size of shape) message.integer(1, size);
  return message.integer(2, ELEMENT_TYPE[type]).text(8, name).raw(9, bytes);
}

function valueInfo({ name, type, shape }: OnnxValue): Message {
  const dims = new Message();
  for (const size of shape) dims.message(1, typeof size === 'number' ? new Message().integer(1, size) : new Message().text(2, size));
  const tensorType = new Message().integer(1, ELEMENT_TYPE[type]).message(2, dims);
  return new Message().text(1, name).message(2, new Message().message(1, tensorType));
}
