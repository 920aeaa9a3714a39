// Times TensorFlow.js on a training step of the tiny SE-CNN, batch 64, and prints {"version", "seconds"}. Uses the cpu backend,
// because the wasm backend lacks Conv2DBackpropFilter and cannot train. Exits with status 3 if TensorFlow.js is not installed.
// One step takes about half a minute.
let tf;
try {
  tf = await import('@tensorflow/tfjs');
} catch {
  process.exit(3);
}
await tf.setBackend('cpu');

/** Batch size, and SE's reduction. */
const N = 64;
const R = 4;
const weight = (shape, fanIn) => tf.variable(tf.randomNormal(shape, 0, Math.sqrt(2 / fanIn)));

function block(i, o) {
  const kernel = weight([3, 3, i, o], 9 * i);
  const scale = tf.variable(tf.ones([o]));
  const shift = tf.variable(tf.zeros([o]));
  const down = weight([o, o / R], o);
  const up = weight([o / R, o], o / R);
  return (x) => {
    const y = tf.conv2d(x, kernel, 1, 'same');
    const { mean, variance } = tf.moments(y, [0, 1, 2]);
    const a = tf.relu(tf.batchNorm(y, mean, variance, shift, scale, 1e-5));
    const s = tf.sigmoid(tf.matMul(tf.relu(tf.matMul(tf.mean(a, [1, 2]), down)), up));
    return a.mul(s.reshape([N, 1, 1, o]));
  };
}

const blocks = [block(3, 16), block(16, 32), block(32, 64)];
const w = weight([64, 10], 64);
const b = tf.variable(tf.zeros([10]));
const x = tf.randomNormal([N, 32, 32, 3]);
const y = tf.oneHot(tf.randomUniform([N], 0, 10, 'int32'), 10);
const sgd = tf.train.momentum(1e-3, 0.9, true);

function loss() {
  let t = x;
  blocks.forEach((f, i) => {
    t = f(i === 0 ? t : tf.maxPool(t, 2, 2, 'valid'));
  });
  return tf.losses.softmaxCrossEntropy(y, tf.mean(t, [1, 2]).matMul(w).add(b));
}

let seconds = Infinity;
for (let i = 0; i < 2; i++) {
  const start = performance.now();
  sgd.minimize(loss, true).dataSync();
  seconds = Math.min(seconds, (performance.now() - start) / 1000);
}
process.stdout.write(`${JSON.stringify({ version: tf.version_core, seconds })}\n`);
