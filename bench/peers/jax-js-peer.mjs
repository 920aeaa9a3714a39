// Times jax-js on forward and backward of the tiny SE-CNN, batch 64, and prints {"version", "seconds"}. Uses the wasm backend in
// eager mode, which is faster here than its jit. Exits with status 3 if jax-js is not installed. Needs Node ≥ 24.
let jax;
try {
  jax = await import('@jax-js/jax');
} catch {
  process.exit(3);
}
await jax.init('wasm');
jax.defaultDevice('wasm');
const { numpy: np, lax, nn, random } = jax;

/** Batch size, and SE's reduction. */
const N = 64;
const R = 4;
const key = random.key(0);
const weight = (shape, fanIn) => random.normal(key.ref, shape).mul(Math.sqrt(2 / fanIn));
const block = (i, o) => ({
  kernel: weight([o, i, 3, 3], 9 * i),
  scale: np.ones([1, o, 1, 1]),
  shift: np.zeros([1, o, 1, 1]),
  down: weight([o, o / R], o),
  up: weight([o / R, o], o / R),
});
const params = { blocks: [block(3, 16), block(16, 32), block(32, 64)], w: weight([64, 10], 64), b: np.zeros([10]) };
const x = random.normal(key.ref, [N, 3, 32, 32]);
const y = nn.oneHot(np.arange(N).astype(np.int32).mod(10), 10);

const options = { axis: [0, 2, 3], keepdims: true };

/** Convolution, batch norm, ReLU and SE. An operation consumes its arrays; `.ref` retains one for another use. */
function apply({ kernel, scale, shift, down, up }, t) {
  const c = lax.convGeneralDilated(t, kernel, [1, 1], 'SAME');
  const o = c.shape[1];
  const centred = c.ref.sub(np.mean(c, options.axis, { keepdims: true }));
  const variance = np.mean(np.square(centred.ref), options.axis, { keepdims: true });
  const a = nn.relu(
    centred
      .div(np.sqrt(variance.add(1e-5)))
      .mul(scale)
      .add(shift),
  );
  const s = nn.sigmoid(np.matmul(nn.relu(np.matmul(np.mean(a.ref, [2, 3]), down)), up));
  return a.mul(s.reshape([N, o, 1, 1]));
}

function loss(p) {
  let t = x.ref;
  p.blocks.forEach((b, i) => {
    t = apply(b, i === 0 ? t : lax.reduceWindow(t, np.max, [2, 2], [2, 2]));
  });
  const logits = np.matmul(np.mean(t, [2, 3]), p.w).add(p.b);
  return np.sum(nn.logSoftmax(logits, -1).mul(y.ref)).div(-N);
}

const step = jax.valueAndGrad(loss);
let seconds = Infinity;
for (let i = 0; i < 3; i++) {
  const start = performance.now();
  const [value, gradients] = step(jax.tree.ref(params));
  await jax.blockUntilReady([value, gradients]);
  seconds = Math.min(seconds, (performance.now() - start) / 1000);
  jax.tree.dispose([value, gradients]);
}
process.stdout.write(`${JSON.stringify({ version: null, seconds })}\n`);
process.exit(0);
