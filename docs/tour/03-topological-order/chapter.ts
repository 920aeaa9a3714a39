/** Chapter 3: y = a + b with b = a² and a = 2x at x = 3. The order of visits determines whether the gradient is right. */
import { backwardSteps, tensor } from 'chainrule';

interface Node {
  readonly name: string;
  readonly inputs: readonly Node[];
  readonly locals: readonly number[];
}

const x: Node = { name: 'x', inputs: [], locals: [] };
const a: Node = { name: 'a', inputs: [x], locals: [2] };
const b: Node = { name: 'b', inputs: [a], locals: [12] };
const y: Node = { name: 'y', inputs: [a, b], locals: [1, 1] };

/** Visits each node once. A visit passes on the gradients that have arrived by then. */
function visit(title: string, order: readonly Node[]): void {
  const arrived = new Map<Node, number>([[y, 1]]);
  for (const node of order) {
    const g = arrived.get(node)!;
    for (const [i, input] of node.inputs.entries()) {
      arrived.set(input, (arrived.get(input) ?? 0) + g * node.locals[i]!);
    }
  }
  const names = order.map(({ name }) => name).join(' ');
  console.log(`${title} (${names}): a gets ${arrived.get(a)}, x gets ${arrived.get(x)}`);
}

visit('depth first', [y, a, x, b]);
visit('by distance from y', [y, a, b, x]);
visit('topological', [y, b, a, x]);

// chainrule visits the newest node first. A node is newer than its inputs, so this order is topological.
const X = tensor(3, { requiresGrad: true, label: 'x' });
const A = X.mul(2);
A.label = 'a';
const B = A.square();
B.label = 'b';
const Y = A.add(B);
Y.label = 'y';
const visited = Array.from(backwardSteps(Y), ({ name }) => name);
console.log(`chainrule (${visited.join(' ')}): x gets ${X.grad!.item()}`);

// One visit a node: 40 doublings have 2⁴⁰ paths and 41 nodes.
const start = tensor(1, { dtype: 'float64', requiresGrad: true });
let z = start;
for (let i = 0; i < 40; i++) z = z.add(z);
const visits = Array.from(backwardSteps(z)).length;
console.log(`40 doublings: ${visits} visits, gradient ${start.grad!.item()}`);
