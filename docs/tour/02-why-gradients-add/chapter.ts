/** Chapter 2: two paths lead from x to y = (x + 1) · 2x, and their gradients add. */
import { backwardSteps, tensor } from 'chainrule';

// Name the two occurrences of x, and move them one at a time.
const f = (first: number, second: number): number => (first + 1) * (2 * second);
const h = 0.001;
const slope = (dFirst: number, dSecond: number): string => ((f(2 + dFirst, 2 + dSecond) - f(2, 2)) / h).toFixed(3);
console.log(`the first x moves: ${slope(h, 0)}`);
console.log(`the second x moves: ${slope(0, h)}`);
console.log(`both move: ${slope(h, h)}`);

// Backward passes one gradient along each path.
const x = tensor(2, { requiresGrad: true, label: 'x' });
const a = x.add(1);
a.label = 'a';
const b = x.mul(2);
b.label = 'b';
const y = a.mul(b);
y.label = 'y';
for (const { name, inputs } of backwardSteps(y)) {
  for (const input of inputs) console.log(`${name} passes ${input.grad!.item()} to ${input.name}`);
}
console.log(`x.grad is ${x.grad!.item()}`);

// Several results add as well: .grad is a sum over calls of backward.
const w = tensor(1, { requiresGrad: true });
for (const [input, target] of [
  [1, 3],
  [2, 5],
] as const) {
  w.mul(input).sub(target).square().backward();
  console.log(`after (${input}w − ${target})²: w.grad is ${w.grad!.item()}`);
}
