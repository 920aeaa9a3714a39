// Times TensorFlow.js (its cpu backend: the wasm one cannot train, it lacks Conv2DBackpropFilter) on a training step of the tiny
// SE-CNN, batch 64, and prints {"version", "seconds"}. Exits with status 3 where it is not installed. One step takes about half a minute.
let tf;
try {
  tf = await import('@tensorflow/tfjs');
} catch {
  process.exit(3);
}
await tf.setBackend('cpu');

const [N, R] = [64, 4];
const weight = (shape, fanIn) => tf.variable(tf.randomNormal(shape, 0, Math.sqrt(2 / fanIn)));

function block(i, o) {
  const kernel = weight([3, 3, i, o], 9 * i);
  const [scale, shift] = [tf.variable(tf.ones([o])), tf.variable(tf.zeros([o]))];
  const [down, up] = [weight([o, o / R], o), weight([o / R, o], o / R)];
  return (x) => {
    const y = tf.conv2d(x, kernel, 1, 'same');
    const { mean, variance } = tf.moments(y, [0, 1, 2]);
    const a = tf.relu(tf.batchNorm(y, mean, variance, shift, scale, 1e-5));
    const s = tf.sigmoid(tf.matMul(tf.relu(tf.matMul(tf.mean(a, [1, 2]), down)), up));
    return a.mul(s.reshape([N, 1, 1, o]));
  };
}

const blocks = [block(3, 16), block(16, 32), block(32, 64)];
const [w, b] = [weight([64, 10], 64), tf.variable(tf.zeros([10]))];
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
