// onnxruntime-web with wasm and threads: products of matrices and convolutions forward. It does not train.
import { answer, convolution, load, operand, request, samples, versionOf } from './peer.mjs';

const ort = load('onnxruntime-web/wasm');
ort.env.wasm.numThreads = request.threads;

// A file of one node, in the encoding of protocol buffers. The field numbers are those of onnx.proto.
const varint = (n) => (n < 128 ? [n] : [(n & 127) | 128, ...varint(n >>> 7)]);
const number = (field, n) => [...varint(field << 3), ...varint(n)];
const message = (field, content) => [...varint((field << 3) | 2), ...varint(content.length), ...content];
const text = (field, string) => message(field, [...Buffer.from(string)]);

const FLOAT = 1;
const INTS = 7;

function valueInfo(name, shape) {
  const dims = shape.flatMap((n) => message(1, number(1, n)));
  return [...text(1, name), ...message(2, message(1, [...number(1, FLOAT), ...message(2, dims)]))];
}

const intsAttribute = (name, list) => [...text(1, name), ...list.flatMap((n) => number(8, n)), ...number(20, INTS)];

/** Returns the ONNX file of y = op(inputs). */
function model(op, inputs, shape, attributes = []) {
  const names = Object.keys(inputs);
  const node = [names.flatMap((n) => text(1, n)), text(2, 'y'), text(4, op), ...attributes.map((a) => message(5, a))].flat();
  const values = Object.entries(inputs).flatMap(([name, tensor]) => message(11, valueInfo(name, tensor.dims)));
  const graph = [message(1, node), text(2, 'graph'), values, message(12, valueInfo('y', shape))].flat();
  return Uint8Array.from([number(1, 8), message(8, number(2, 13)), message(7, graph)].flat());
}

const tensor = (shape, salt, scale) => {
  const size = shape.reduce((a, b) => a * b);
  return new ort.Tensor('float32', operand(size, salt, scale), shape);
};

async function ways(file, inputs) {
  const session = await ort.InferenceSession.create(file, { executionProviders: ['wasm'] });
  const run = async () => (await session.run(inputs)).y;
  return [{ how: 'wasm', run, values: async () => [samples((await run()).data)] }];
}

function matmul({ m, k, n }) {
  const inputs = { a: tensor([m, k], 1), b: tensor([k, n], 2) };
  return ways(model('MatMul', inputs, [m, n]), inputs);
}

function conv({ padding: p, ...r }) {
  const { x, w, y, weightScale } = convolution(r);
  const inputs = { x: tensor(x, 1), w: tensor(w, 2, weightScale) };
  return ways(model('Conv', inputs, y, [intsAttribute('pads', [p, p, p, p])]), inputs);
}

let supported = null;
if (request.op === 'matmul') supported = await matmul(request);
if (request.op === 'conv' && request.direction === 'forward') supported = await conv(request);
await answer(versionOf('onnxruntime-web'), supported);
