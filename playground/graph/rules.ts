/**
 * What each operation passes to its inputs, as formulas. In a formula `{g}` is the gradient of the result, `{y}` the result and `{a}`,
 * `{b}`, … are the inputs in their order; a page puts names or numbers in their place.
 */

export interface Rule {
  /** The result. */
  readonly forward: string;
  /** The gradient of each input; the last formula is that of all further inputs. */
  readonly backward: readonly string[];
  /** Whether the result and the gradients are computed element by element, so that the formulas hold for numbers. */
  readonly elementwise?: boolean;
  /** The rule in words. */
  readonly says?: string;
}

const elementwise = (forward: string, backward: readonly string[], says?: string): Rule => ({
  forward,
  backward,
  elementwise: true,
  ...(says !== undefined && { says }),
});

const ARITHMETIC: Readonly<Record<string, Rule>> = {
  add: elementwise('{a} + {b}', ['{g}', '{g}'], 'A sum passes its gradient on unchanged, to both.'),
  sub: elementwise('{a} − {b}', ['{g}', '−{g}'], 'The subtracted input gets the opposite sign.'),
  mul: elementwise('{a} · {b}', ['{g} · {b}', '{g} · {a}'], 'Each factor gets the gradient times the other factor.'),
  div: elementwise('{a} / {b}', ['{g} / {b}', '−{g} · {a} / {b}²']),
  pow: elementwise('{a}^{b}', ['{g} · {b} · {a}^({b} − 1)', '{g} · {y} · ln {a}']),
  maximum: elementwise(
    'max({a}, {b})',
    ['{g} where {a} > {b}, else 0', '{g} where {b} > {a}, else 0'],
    'The larger input gets the gradient. At a tie both get half of it.',
  ),
  minimum: elementwise(
    'min({a}, {b})',
    ['{g} where {a} < {b}, else 0', '{g} where {b} < {a}, else 0'],
    'The smaller input gets the gradient. At a tie both get half of it.',
  ),
  clamp: elementwise('{a} between its bounds', ['{g} inside the bounds, else 0', '{g} where this bound holds, else 0']),
  where: elementwise('{b} where {a} is true, else {c}', ['nothing', '{g} where {a} is true, else 0', '0 where {a} is true, else {g}']),
  neg: elementwise('−{a}', ['−{g}']),
  abs: elementwise('|{a}|', ['{g} · sign {a}']),
  square: elementwise('{a}²', ['{g} · 2 · {a}']),
  sqrt: elementwise('√{a}', ['{g} / (2 · {y})']),
  reciprocal: elementwise('1 / {a}', ['−{g} · {y}²']),
  exp: elementwise('e^{a}', ['{g} · {y}'], 'The exponential is its own derivative.'),
  expm1: elementwise('e^{a} − 1', ['{g} · e^{a}']),
  log: elementwise('ln {a}', ['{g} / {a}']),
  log1p: elementwise('ln(1 + {a})', ['{g} / (1 + {a})']),
  sin: elementwise('sin {a}', ['{g} · cos {a}']),
  cos: elementwise('cos {a}', ['−{g} · sin {a}']),
  erf: elementwise('erf {a}', ['{g} · 2/√π · e^(−{a}²)']),
  relu: elementwise('max({a}, 0)', ['{g} where {a} > 0, else 0'], 'Where the input is not positive, the path is closed.'),
  sigmoid: elementwise(
    'σ({a}) = 1 / (1 + e^−{a})',
    ['{g} · {y} · (1 − {y})'],
    'The slope is at most ¼, and nearly 0 where the sigmoid saturates.',
  ),
  tanh: elementwise('tanh {a}', ['{g} · (1 − {y}²)']),
  logSigmoid: elementwise('ln σ({a})', ['{g} · (1 − σ({a}))']),
};

const REDUCTIONS: Readonly<Record<string, Rule>> = {
  sum: { forward: 'Σ {a}', backward: ['{g}, repeated for every element of the sum'], says: 'Every summand has slope 1.' },
  cumsum: { forward: 'running sum of {a}', backward: ['the running sum of {g} from the end'] },
  amax: { forward: 'max {a}', backward: ['{g} at the largest element, 0 elsewhere'], says: 'Ties share the gradient.' },
  amin: { forward: 'min {a}', backward: ['{g} at the smallest element, 0 elsewhere'], says: 'Ties share the gradient.' },
  var: { forward: 'variance of {a}', backward: ['{g} · 2 · ({a} − mean) / (n − 1)'] },
  std: { forward: 'standard deviation of {a}', backward: ['{g} · ({a} − mean) / ({y} · (n − 1))'] },
  norm: { forward: '‖{a}‖', backward: ['{g} · {a} / {y} for the Euclidean norm'] },
  softmax: {
    forward: 'softmax {a}',
    backward: ['{y} · ({g} − Σ {g} · {y})'],
    says: 'The elements of one softmax share a sum, so each gradient depends on all of them.',
  },
  logSoftmax: { forward: 'ln softmax {a}', backward: ['{g} − softmax {a} · Σ {g}'] },
  crossEntropy: { forward: '−ln softmax {a} at the class', backward: ['{g} · (softmax {a} − one-hot class) / N'] },
};

const LOSSES: Readonly<Record<string, Rule>> = {
  binaryCrossEntropy: elementwise('−{b} · ln {a} − (1 − {b}) · ln(1 − {a})', [
    '{g} · ({a} − {b}) / ({a} · (1 − {a}))',
    '{g} · (ln(1 − {a}) − ln {a})',
  ]),
  binaryCrossEntropyWithLogits: elementwise('−ln σ of {a}, or of −{a} where {b} is 0', ['{g} · (σ({a}) − {b})', '−{g} · {a}']),
};

const REARRANGED: Readonly<Record<string, Rule>> = {
  reshape: {
    forward: '{a} in another shape',
    backward: ['{g} in the shape of {a}'],
    says: 'Nothing is computed: the numbers only get other places.',
  },
  permute: { forward: '{a} with its dims in another order', backward: ['{g} with the dims in their old order'] },
  expand: { forward: '{a}, repeated', backward: ['{g}, summed over the copies'] },
  slice: { forward: 'a part of {a}', backward: ['{g} in that part, 0 elsewhere'] },
  pad: { forward: '{a} with a border', backward: ['{g} without the border'] },
  flip: { forward: '{a} in reverse', backward: ['{g} in reverse'] },
  cat: { forward: 'the inputs one after another', backward: ['its own part of {g}'] },
  gather: { forward: 'the elements of {a} at the given places', backward: ['{g}, added at those places'] },
  scatterAdd: { forward: '{a} with elements added at the given places', backward: ['{g}', '{g} at those places'] },
  contiguous: { forward: 'a copy of {a}', backward: ['{g}'] },
  clone: { forward: 'a copy of {a}', backward: ['{g}'] },
  to: { forward: '{a} in another dtype', backward: ['{g} in the dtype of {a}'] },
};

const PRODUCTS: Readonly<Record<string, Rule>> = {
  matmul: { forward: '{a} {b}', backward: ['{g} {b}ᵀ', '{a}ᵀ {g}'], says: 'The gradient of each factor has the factor’s own shape.' },
  conv2d: { forward: '{a} ∗ {b}', backward: ['{g} convolved with the flipped weights', '{a} correlated with {g}'] },
  maxPool2d: { forward: 'the largest of each window of {a}', backward: ['{g} at the largest element of each window, 0 elsewhere'] },
  avgPool2d: { forward: 'the mean of each window of {a}', backward: ['{g} / size of the window, for each of its elements'] },
  adaptiveAvgPool2d: { forward: 'the mean of each region of {a}', backward: ['{g} / size of the region, for each of its elements'] },
  scaleChannels: { forward: '{a} · {b}, channel by channel', backward: ['{g} · {b}', 'Σ {g} · {a} over the pixels of the channel'] },
  batchNorm: {
    forward: '({a} − mean) / √(variance + ε) · {b} + {c}',
    backward: ['{b} / √(variance + ε) · ({g} without its mean and its part along {y})', 'Σ {g} · normalized {a}', 'Σ {g}'],
  },
};

export const RULES: Readonly<Record<string, Rule>> = { ...ARITHMETIC, ...REDUCTIONS, ...LOSSES, ...REARRANGED, ...PRODUCTS };

/** Returns an operation's rule; one in words for an operation without a formula here. */
export function ruleOf(op: string): Rule {
  if (Object.hasOwn(RULES, op)) return RULES[op]!;
  return {
    forward: `${op}(…)`,
    backward: ['gᵀ · ∂y/∂x: the vector–Jacobian product'],
    says: `The library’s backward of ${op} computes how the result changes with each input, weighted with the gradient received.`,
  };
}

/** Returns the formula of the gradient of input `i`. */
export function backwardOf({ backward }: Rule, i: number): string {
  return backward[Math.min(i, backward.length - 1)]!;
}

/** Puts `terms` in the places of a formula: g, y, and the inputs from a on. */
export function fillIn(formula: string, terms: { readonly g: string; readonly y: string; readonly inputs: readonly string[] }): string {
  return formula.replace(/\{(\w)\}/g, (_, place: string) => {
    if (place === 'g') return terms.g;
    if (place === 'y') return terms.y;
    return terms.inputs[place.charCodeAt(0) - 'a'.charCodeAt(0)] ?? place;
  });
}
