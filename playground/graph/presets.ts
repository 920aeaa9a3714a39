/**
 * The programs that the graph panel offers.
 */

export interface Preset {
  readonly title: string;
  /** What there is to see. */
  readonly about: string;
  readonly program: string;
}

export const PRESETS = {
  small: {
    title: 'A small expression',
    about: 'Each node multiplies what it receives by its local derivative and passes the product on. That is the whole chain rule.',
    program: `w = 3
x = 2
b = 1
y = (w * x + b) ** 2`,
  },
  twice: {
    title: 'A node used twice',
    about: 'h is used by u and by y, so it receives two gradients. They add up, and h may pass on nothing before both have arrived.',
    program: `a = 2
b = -3
h = a * b
u = h.square()
y = u + h`,
  },
  broadcasting: {
    title: 'Broadcasting',
    about: 'The forward pass repeats b for every row and s for every element. So their gradients are sums over the copies.',
    program: `x = [[1, 2, 3], [4, 5, 6]]
b = [10, 0, -10]
s = 0.5
z = (x + b) * s
y = z.square().sum()`,
  },
  se: {
    title: 'A Squeeze-and-Excitation block',
    about: 'The image is used twice: scaled by the gates, and averaged to compute them. Its gradient is the sum over both paths.',
    program: `image = linspace(0, 60, 256).sin().reshape([1, 4, 8, 8])
W1 = [[2, -1], [1, 2], [-2, 1], [1, 1]]
W2 = [[1, -2, 2, 1], [2, 1, -1, -2]]
squeeze = image.mean([2, 3])
hidden = relu(squeeze.matmul(W1))
gate = sigmoid(hidden.matmul(W2))
scaled = image * gate.reshape([1, 4, 1, 1])
loss = scaled.square().sum()`,
  },
  layers: {
    title: 'Two linear layers with ReLU',
    about: 'A network with one hidden layer and its loss. Where ReLU gave 0, no gradient passes.',
    program: `x = [[1, -2]]
W1 = [[1, -1, 0.5], [0.5, 1, -1]]
b1 = [0.5, 1, 0]
hidden = relu(x.matmul(W1) + b1)
W2 = [[1, 2], [-1, 0.5], [0.5, -1]]
b2 = [0, 1]
out = hidden.matmul(W2) + b2
loss = (out - tensor([[1, 0]])).square().mean()`,
  },
} as const satisfies Readonly<Record<string, Preset>>;

export type PresetName = keyof typeof PRESETS;
