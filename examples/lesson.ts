/**
 * Shows the chain rule at work: every step of `backward`, first on a small expression, then on a squeeze-and-excitation block.
 *
 *   npx tsx examples/lesson.ts
 *
 * Takes a second. Checks the gradients against formulas derived by hand, and throws if one differs.
 */
import { type GraphNode, type Tensor, backwardSteps, graph, tensor } from 'chainrule';

/** Labels a tensor with the name under which `graph` and `backwardSteps` list it. */
function named(label: string, t: Tensor): Tensor {
  t.label = label;
  return t;
}

/** The local derivatives of a node with respect to its inputs: what it passes on for a gradient of 1. */
function localDerivatives(node: GraphNode): ReadonlyMap<string, number> {
  const derivatives = new Map<string, number>();
  node.vjp().forEach((d, i) => d !== null && derivatives.set(node.inputs[i]!.name, d.item()));
  return derivatives;
}

/** Throws if an element of `got` differs from `want` by 1e-6 or more. */
function expectClose(what: string, got: Tensor | null, want: readonly number[]): void {
  const values = got === null ? [] : Array.from(got.data());
  const close = values.length === want.length && values.every((v, i) => Math.abs(v - want[i]!) < 1e-6);
  if (!close) throw new Error(`${what}: got [${values.join(', ')}], expected [${want.join(', ')}]`);
}

// ── 1. A small expression ────────────────────────────────────────────────────────────────────────────────────────────────
//
// y = (w·x + x)². Calculus says ∂y/∂w = 2(w·x + x)·x and ∂y/∂x = 2(w·x + x)·(w + 1).

// Other values: npx tsx examples/lesson.ts -1 2. With w = −1 the sum is 0, and so is every gradient behind it.

const [wValue, xValue] = process.argv.slice(2).map(Number);
const w = tensor(wValue ?? 3, { requiresGrad: true, label: 'w' });
const x = tensor(xValue ?? 2, { requiresGrad: true, label: 'x' });
const product = named('product', w.mul(x));
const sum = named('sum', product.add(x));
const y = named('y', sum.square());

console.log(`1. y = (w·x + x)² at w = ${w.item()}, x = ${x.item()}. Every operation records a node that refers to its inputs:\n`);
const nodes = graph(y);
console.log(`${nodes}\n`);
const local = new Map([...nodes].map((node) => [node.name, localDerivatives(node)]));

// Backward visits the nodes in reverse creation order. Each node multiplies the gradient it received by its local derivative
// and passes the product to its inputs. That is the whole chain rule: ∂y/∂input = ∂y/∂node · ∂node/∂input.

console.log('Backward visits the nodes from y to the leaves. At each node: gradient received × local derivative.\n');
for (const { name, op, grad, inputs } of backwardSteps(y)) {
  const received = grad.item();
  if (op === 'leaf') console.log(`  ${name}: a leaf. The gradients that reached it add up to ${received}`);
  for (const input of inputs) {
    const slope = local.get(name)!.get(input.name)!;
    expectClose(`∂y/∂${input.name} through ${name}`, input.grad, [received * slope]);
    console.log(
      `  ${name} = ${op}: ∂y/∂${name} is ${received}, ∂${name}/∂${input.name} is ${slope}, so ${input.name} gets ${received * slope}`,
    );
  }
}

// x is used twice, so it received two gradients: one from the sum and one from the product. Gradients of several uses add up.

const sumValue = w.item() * x.item() + x.item();
expectClose('∂y/∂w', w.grad, [2 * sumValue * x.item()]);
expectClose('∂y/∂x', x.grad, [2 * sumValue * (w.item() + 1)]);
console.log(`\n  ∂y/∂w = 2(w·x + x)·x = ${w.grad!.item()},  ∂y/∂x = 2(w·x + x)·(w + 1) = ${x.grad!.item()}\n`);

// ── 2. A Squeeze-and-Excitation block ────────────────────────────────────────────────────────────────────────────────────
//
// The same rule on tensors. An SE block (Hu et al. 2017) computes one scale per channel from the means of all channels:
// z = mean(x), s = σ(W₂ relu(W₁ z)), y = x ⊙ s. Here x is one image of 2 channels and 1×2 pixels.

const image = tensor([[[[1, 3]], [[-2, 4]]]], { dtype: 'float64', requiresGrad: true, label: 'image' });
const W1 = tensor([[1, 0.5]], { dtype: 'float64', requiresGrad: true, label: 'W1' });
const W2 = tensor([[0.5], [-0.5]], { dtype: 'float64', requiresGrad: true, label: 'W2' });

const z = named('squeeze', image.mean([2, 3]));
const hidden = named('hidden', z.matmul(W1.transpose(0, 1)).relu());
const s = named('gate', hidden.matmul(W2.transpose(0, 1)).sigmoid());
const scaled = named('scaled', image.mul(s.reshape([1, 2, 1, 1])));
const total = named('total', scaled.sum());

console.log('2. An SE block: squeeze = mean of each channel, gate = σ(W2 relu(W1 squeeze)), scaled = image ⊙ gate.\n');
console.log(`${graph(total)}\n`);

const gate = Array.from(s.data());
const hiddenValue = hidden.item();
const gradientsOfImage: number[][] = [];
console.log('Its backward pass, as backwardSteps reports it:\n');
for (const step of backwardSteps(total)) {
  console.log(`  ${step}`);
  for (const input of step.inputs) {
    if (input.name === 'image') gradientsOfImage.push(Array.from(input.grad!.data()));
  }
}

// The image is used twice as well. On the direct path it is scaled, so its gradient is the gate. On the path through the
// squeeze, every pixel contributes to the mean that determines the gate. Without the second path the block would still train,
// but with wrong gradients.

const [direct, throughSqueeze] = gradientsOfImage as [number[], number[]];
expectClose('direct path', tensor(direct, { dtype: 'float64' }), [gate[0]!, gate[0]!, gate[1]!, gate[1]!]);
expectClose(
  'both paths',
  image.grad,
  direct.map((d, i) => d + throughSqueeze[i]!),
);

// By hand: total = Σ_c s_c·(sum of channel c), where the sums are 4 and 2. The derivative of the sigmoid is s(1 − s). The
// hidden unit is positive, so the derivative of relu is 1.
const sigmoidSlope = gate.map((v) => v * (1 - v));
const dHidden = 0.5 * sigmoidSlope[0]! * 4 - 0.5 * sigmoidSlope[1]! * 2;
expectClose(
  'through the squeeze',
  tensor(throughSqueeze, { dtype: 'float64' }),
  [1, 1, 0.5, 0.5].map((w1) => (dHidden * w1) / 2),
);
expectClose('∂total/∂W1', W1.grad, [dHidden * 2, dHidden * 1]);
expectClose('∂total/∂W2', W2.grad, [sigmoidSlope[0]! * 4 * hiddenValue, sigmoidSlope[1]! * 2 * hiddenValue]);

const text = (values: readonly number[]): string => `[${values.map((v) => v.toFixed(4)).join(', ')}]`;
console.log(`\n  The image gets ${text(direct)} directly`);
console.log(`  and            ${text(throughSqueeze)} through the squeeze.`);
console.log('\nAll gradients are as calculus says.');
