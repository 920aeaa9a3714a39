// jax-js with wasm and threads, each case eager and compiled by jit. Needs Node ≥ 24.
import { answer, convolution, load, operand, request, samples, versionOf } from './peer.mjs';
import { defineWorkers } from './web-workers.mjs';

// jax-js looks for `Worker` when it is imported.
defineWorkers(request.threads);
const jax = load('@jax-js/jax');
await jax.init('wasm');
jax.defaultDevice('wasm');
const { numpy: np, lax, nn } = jax;

const array = (shape, salt, scale) => {
  const size = shape.reduce((a, b) => a * b);
  return np.array(operand(size, salt, scale)).reshape(shape);
};

/** Returns f(…inputs) eager and compiled. An operation consumes its arrays; `.ref` retains one for another use. */
function bothWays(f, inputs, valuesOf = (y) => [y]) {
  return [
    ['eager', f],
    ['jit', jax.jit(f)],
  ].map(([how, g]) => {
    const run = () => jax.blockUntilReady(g(...jax.tree.ref(inputs)));
    const values = async () => {
      const lists = [];
      for (const v of valuesOf(await run())) lists.push(samples(await v.data()));
      return lists;
    };
    return { how, run, free: (y) => jax.tree.dispose(y), values };
  });
}

const matmul = ({ m, k, n }) => bothWays((a, b) => np.matmul(a, b), [array([m, k], 1), array([k, n], 2)]);

const convolve = (x, w) => lax.convGeneralDilated(x, w, [1, 1], 'SAME');

function conv(r) {
  const shapes = convolution(r);
  const x = array(shapes.x, 1);
  const w = array(shapes.w, 2, shapes.weightScale);
  if (r.direction === 'forward') return bothWays(convolve, [x, w]);
  const g = array(shapes.y, 3);
  const argument = r.direction === 'gradX' ? 0 : 1;
  const gradient = jax.grad((a, b, c) => np.sum(convolve(a, b).mul(c)), { argnums: argument });
  return bothWays((a, b, c) => gradient(a, b, c), [x, w, g]);
}

/** SE's reduction, and the settings of SGD. */
const R = 4;
const LR = 1e-3;
const MOMENTUM = 0.9;
const DECAY = 5e-4;

/** The tensors in PyTorch's layouts: matrices are [outputs, inputs]. The salts are their numbers in PyTorch's order. */
function parameters() {
  let salt = -1;
  const weight = (shape) => array(shape, ++salt, 1 / Math.sqrt(shape.slice(1).reduce((a, b) => a * b)));
  const constant = (value, shape) => {
    salt++;
    return np.full(shape, value);
  };
  const block = (i, o) => ({
    kernel: weight([o, i, 3, 3]),
    scale: constant(1, [1, o, 1, 1]),
    shift: constant(0, [1, o, 1, 1]),
    down: weight([o / R, o]),
    up: weight([o, o / R]),
  });
  return { blocks: [block(3, 16), block(16, 32), block(32, 64)], w: weight([10, 64]), b: constant(0, [10]) };
}

/** Convolution, batch norm, ReLU and SE. */
function apply({ kernel, scale, shift, down, up }, t) {
  const channels = { axis: [0, 2, 3], options: { keepdims: true } };
  const c = convolve(t, kernel);
  const [n, o] = c.shape;
  const centred = c.ref.sub(np.mean(c, channels.axis, channels.options));
  const variance = np.mean(np.square(centred.ref), channels.axis, channels.options);
  const deviation = np.sqrt(variance.add(1e-5));
  const a = nn.relu(centred.div(deviation).mul(scale).add(shift));
  const hidden = nn.relu(np.matmul(np.mean(a.ref, [2, 3]), down.transpose()));
  const s = nn.sigmoid(np.matmul(hidden, up.transpose()));
  return a.mul(s.reshape([n, o, 1, 1]));
}

function step({ batch }) {
  const loss = (p, x, y) => {
    let t = x;
    p.blocks.forEach((b, i) => {
      t = apply(b, i === 0 ? t : lax.reduceWindow(t, np.max, [2, 2], [2, 2]));
    });
    const logits = np.matmul(np.mean(t, [2, 3]), p.w.transpose()).add(p.b);
    return np.sum(nn.logSoftmax(logits, -1).mul(y)).div(-batch);
  };
  const gradient = jax.valueAndGrad(loss);
  /** Nesterov's momentum with weight decay, as PyTorch's SGD. */
  const update = (p, v, x, y) => {
    const [value, gradients] = gradient(jax.tree.ref(p), x, y);
    const decayed = jax.tree.map((g, q) => g.add(q.ref.mul(DECAY)), gradients, p);
    const velocity = jax.tree.map((u, g) => u.mul(MOMENTUM).add(g.ref), v, decayed);
    const moved = jax.tree.map((q, g, u) => q.sub(g.add(u.ref.mul(MOMENTUM)).mul(LR)), p, decayed, velocity);
    return [value, moved, velocity];
  };
  const p = parameters();
  const zeros = jax.tree.map((q) => np.zeros(q.shape), p);
  const x = array([batch, 3, 32, 32], 100);
  const y = nn.oneHot(np.arange(batch).astype(np.int32).mod(10), 10);
  const checked = bothWays(
    (q, a, b) => gradient(q, a, b),
    [p, x, y],
    ([value, g]) => [value.reshape([1]), g.blocks[0].kernel, g.w],
  );
  const timed = bothWays(update, [p, zeros, x, y]);
  return timed.map((way, i) => ({ ...way, values: checked[i].values }));
}

const supported = { matmul, conv, step }[request.op];
await answer(versionOf('@jax-js/jax'), supported(request));
