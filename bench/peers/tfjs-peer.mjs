// TensorFlow.js. Its wasm backend has one thread on Node, and no gradient of a convolution's weights, so it cannot train. The cpu backend, in
// plain JavaScript, has the rest; a step takes it half a minute.
import { answer, convolution, load, operand, request, samples, versionOf } from './peer.mjs';

const tf = load('@tensorflow/tfjs');
load('@tensorflow/tfjs-backend-wasm');

const tensor = (shape, salt, scale) => {
  const size = shape.reduce((a, b) => a * b);
  return tf.tensor(operand(size, salt, scale), shape);
};

/** Returns f as what to time on a backend. `layout` transposes the result to PyTorch's layout. */
async function onBackend(backend, make, layout = (y) => y) {
  await tf.setBackend(backend);
  const f = make();
  const run = () => {
    const y = f();
    y.dataSync();
    return y;
  };
  return [
    {
      how: backend === 'wasm' ? 'wasm, one thread' : backend,
      run,
      free: (y) => y.dispose(),
      values: () => [samples(layout(run()).dataSync())],
    },
  ];
}

function matmul({ m, k, n }) {
  return onBackend('wasm', () => {
    const a = tensor([m, k], 1);
    const b = tensor([k, n], 2);
    return () => tf.matMul(a, b);
  });
}

const toImages = (t) => t.transpose([0, 2, 3, 1]);
const toWeights = (t) => t.transpose([2, 3, 1, 0]);
const fromImages = (t) => t.transpose([0, 3, 1, 2]);
const fromWeights = (t) => t.transpose([3, 2, 0, 1]);

function conv(r) {
  const shapes = convolution(r);
  const attributes = { strides: 1, pad: 'same', dataFormat: 'NHWC', dimRoundingMode: null, dilations: 1 };
  const images = (shape, salt) => toImages(tensor(shape, salt));
  const weights = () => toWeights(tensor(shapes.w, 2, shapes.weightScale));
  if (r.direction === 'forward') {
    const make = () => {
      const x = images(shapes.x, 1);
      const filter = weights();
      return () => tf.conv2d(x, filter, 1, 'same');
    };
    return onBackend('wasm', make, fromImages);
  }
  if (r.direction === 'gradX') {
    const make = () => {
      const dy = images(shapes.y, 3);
      const filter = weights();
      const [N, C, H, W] = shapes.x;
      const inputShape = [N, H, W, C];
      return () => tf.engine().runKernel('Conv2DBackpropInput', { dy, filter }, { ...attributes, inputShape });
    };
    return onBackend('wasm', make, fromImages);
  }
  const make = () => {
    const x = images(shapes.x, 1);
    const dy = images(shapes.y, 3);
    const filterShape = [r.K, r.K, r.C, r.O];
    return () => tf.engine().runKernel('Conv2DBackpropFilter', { x, dy }, { ...attributes, filterShape });
  };
  return onBackend('cpu', make, fromWeights);
}

/** SE's reduction. */
const R = 4;

async function step({ batch }) {
  await tf.setBackend('cpu');
  let salt = -1;
  const weight = (shape, toOwn) => tf.variable(toOwn(tensor(shape, ++salt, 1 / Math.sqrt(shape.slice(1).reduce((a, b) => a * b)))));
  const constant = (t) => {
    salt++;
    return tf.variable(t);
  };
  const transposed = (t) => t.transpose();
  const block = (i, o) => ({
    kernel: weight([o, i, 3, 3], toWeights),
    scale: constant(tf.ones([o])),
    shift: constant(tf.zeros([o])),
    down: weight([o / R, o], transposed),
    up: weight([o, o / R], transposed),
  });
  const blocks = [block(3, 16), block(16, 32), block(32, 64)];
  const w = weight([10, 64], transposed);
  const b = constant(tf.zeros([10]));
  const apply = ({ kernel, scale, shift, down, up }, x) => {
    const y = tf.conv2d(x, kernel, 1, 'same');
    const { mean, variance } = tf.moments(y, [0, 1, 2]);
    const a = tf.relu(tf.batchNorm(y, mean, variance, shift, scale, 1e-5));
    const s = tf.sigmoid(tf.matMul(tf.relu(tf.matMul(tf.mean(a, [1, 2]), down)), up));
    return a.mul(s.reshape([batch, 1, 1, -1]));
  };
  const x = toImages(tensor([batch, 3, 32, 32], 100));
  const labels = Array.from({ length: batch }, (_, i) => i % 10);
  const y = tf.oneHot(tf.tensor1d(labels, 'int32'), 10);
  const loss = () => {
    let t = x;
    blocks.forEach((p, i) => {
      t = apply(p, i === 0 ? t : tf.maxPool(t, 2, 2, 'valid'));
    });
    return tf.losses.softmaxCrossEntropy(y, tf.mean(t, [1, 2]).matMul(w).add(b));
  };
  const sgd = tf.train.momentum(1e-3, 0.9, true);
  const run = () => sgd.minimize(loss, true).dataSync();
  const values = () => {
    const { value, grads } = tf.variableGrads(loss);
    const kernel = fromWeights(grads[blocks[0].kernel.name]);
    return [value, kernel, grads[w.name].transpose()].map((t) => samples(t.dataSync()));
  };
  return [{ how: 'cpu', run, values }];
}

await answer(versionOf('@tensorflow/tfjs'), await { matmul, conv, step }[request.op](request));
