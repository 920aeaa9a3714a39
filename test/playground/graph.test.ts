import { type Tensor, graph, ones, scope, tensor } from 'chainrule';
import fc from 'fast-check';
import { describe, expect, test, vi } from 'vitest';
import { type Environment, evaluate } from '../../playground/expression/evaluate.ts';
import { ExpressionError, parse } from '../../playground/expression/parse.ts';
import { HELP } from '../../playground/graph/help.ts';
import { comparisonOf } from '../../playground/graph/explain.ts';
import { gridOf } from '../../playground/graph/format.ts';
import { PRESETS } from '../../playground/graph/presets.ts';
import { withValues } from '../../playground/graph/literal.ts';
import { runProgram } from '../../playground/graph/program.ts';
import { RULES, backwardOf, fillIn, ruleOf } from '../../playground/graph/rules.ts';
import { type GraphModel, type Values, type Walk, buildModel } from '../../playground/graph/walk.ts';

// The model of the graph panel: every step of two walks, as plain data.

/** The names of the ops with a gradient. */
const differentiable = vi.hoisted(() => new Set<string>());
vi.mock('../../src/autograd/op.ts', async (importOriginal) => {
  const original = await importOriginal<Record<string, unknown>>();
  const defineOp = original.defineOp as (spec: { name: string; backward?: unknown; gradKernel?: unknown }) => unknown;
  const noting: typeof defineOp = (spec) => {
    if (spec.backward !== undefined || spec.gradKernel !== undefined) differentiable.add(spec.name);
    return defineOp(spec);
  };
  return { ...original, defineOp: noting };
});

test('every example of the help is computed as it stands', () => {
  const examples = HELP.flatMap((part) => (typeof part === 'string' ? [] : [part.code]));
  expect(examples.length).toBeGreaterThan(6);
  for (const example of examples) {
    const name = /^(\w+) = /.exec(example)?.[1];
    // What the example reads, unless it makes it itself, and a result where it makes a constant.
    const given = { w: 'w = 3', x: 'x = [[1, 2], [3, 4]]', v: 'v = 2' };
    const before = Object.entries(given).flatMap(([key, line]) => (key === name ? [] : [line]));
    const program = [...before, example, ...(name === undefined ? [] : [`result = v * ${name}`])].join('\n');
    expect(() => buildModel(program), example).not.toThrow();
    const isConstant = example.endsWith('.detach()');
    if (isConstant) expect(buildModel(program).leaves.map((leaf) => leaf.name)).not.toContain(name);
  }
});

const presets = Object.entries(PRESETS).map(([name, { program }]) => [name, program] as const);

/** The gradients of the leaves as `backward` computes them. */
function gradients(program: string): Map<string, Values> {
  return scope(() => {
    const { result, leaves } = runProgram(program);
    result.backward(ones(result.shape, { dtype: 'float64' }));
    const read = ({ name, tensor: { grad } }: { name: string; tensor: Tensor }): [string, Values] => [name, Array.from(grad?.data() ?? [])];
    return new Map(leaves.map(read));
  });
}

/** The gradients of the leaves when a walk has ended. */
function finalGradients({ leaves }: GraphModel, { states }: Walk): Map<string, Values> {
  return new Map(leaves.map(({ node, name }) => [name, states.at(-1)!.grads[node] ?? []]));
}

/** The largest difference relative to the largest element. */
function difference(a: Values, b: Values): number {
  if (a.length !== b.length) return Infinity;
  const scale = Math.max(1, ...b.map(Math.abs));
  return Math.max(0, ...a.map((x, i) => Math.abs(x - b[i]!))) / scale;
}

function expectSameGradients(program: string): void {
  const model = buildModel(program);
  const wanted = gradients(program);
  for (const [name, got] of finalGradients(model, model.newestFirst)) expect(difference(got, wanted.get(name)!), name).toBeLessThan(1e-12);
  for (const { grad, name } of model.nodes.filter((n) => n.kind === 'leaf')) {
    expect(difference(grad ?? [], wanted.get(name) ?? []), name).toBe(0);
  }
}

/** Replays the steps of a walk on the state before each, which must give the state after it. */
function expectConsistent({ steps, states }: Walk, { nodes }: GraphModel): void {
  expect(states.length).toBe(steps.length + 1);
  steps.forEach(({ node, received, arrivals, passed }, k) => {
    const [before, after] = [states[k]!, states[k + 1]!];
    const grads = before.grads.slice();
    const counts = before.counts.slice();
    for (const a of arrivals) {
      expect(a.before).toBe(grads[a.node]);
      if (a.from !== null) expect(nodes[a.from]!.inputs[a.input]).toBe(a.node);
      expect(a.after).toEqual(a.before === null ? a.added : a.before.map((x, i) => x + a.added[i]!));
      expect(a.count).toBe(++counts[a.node]!);
      grads[a.node] = a.after;
    }
    expect(after.grads).toEqual(grads);
    expect(after.counts).toEqual(counts);
    expect(after.visited).toEqual(before.visited.map((was, i) => was || i === node));
    expect(passed.every(({ values }) => values.length > 0)).toBe(true);
    expect(received.length).toBeGreaterThan(0);
  });
}

describe.each(presets)('the preset %s', (_, program) => {
  const model = buildModel(program);

  test('ends with the gradients of backward', () => {
    expectSameGradients(program);
  });

  test('has steps that lead from each state to the next', () => {
    expectConsistent(model.newestFirst, model);
    expectConsistent(model.depthFirst, model);
  });

  test('has a gradient of ones at the root and passes on nothing early', () => {
    const { steps, states } = model.newestFirst;
    expect(states[0]!.grads[model.root]!.every((x) => x === 1)).toBe(true);
    for (const { node, received, arrivals } of steps) {
      expect(received).toEqual(states.at(-1)!.grads[node]);
      expect(arrivals.some((a) => a.isLate)).toBe(false);
    }
  });

  test('computes the same again', () => {
    expect(buildModel(program)).toEqual(model);
  });

  test('names every node once', () => {
    const names = model.nodes.filter((n) => n.kind !== 'constant').map((n) => n.name);
    expect(new Set(names).size).toBe(names.length);
    expect(Math.max(...names.map((n) => n.length))).toBeLessThan(18);
  });
});

describe('depth first', () => {
  test('gives wrong numbers for the preset with a node used twice, and right ones for the others without', () => {
    const wrong = presets.filter(([, program]) => {
      const model = buildModel(program);
      const [right, naive] = [finalGradients(model, model.newestFirst), finalGradients(model, model.depthFirst)];
      return [...right].some(([name, values]) => difference(naive.get(name)!, values) > 1e-12);
    });
    expect(wrong.map(([name]) => name)).toEqual(['twice']);
    const { depthFirst, leaves } = buildModel(PRESETS.twice.program);
    // By hand: h = ab = −6, y = h² + h, so ∂y/∂h = 2h + 1 = −11. The naive walk passes on −12 alone.
    expect(leaves.map(({ node }) => depthFirst.states.at(-1)!.grads[node])).toEqual([[36], [-24]]);
    expect(depthFirst.steps.flatMap((s) => s.arrivals).filter((a) => a.isLate)).toMatchObject([
      { added: [1], before: [-12], after: [-11] },
    ]);
  });
});

// — random programs —

interface Drawn {
  readonly lines: readonly string[];
  /** How often each result of an operation is used. */
  readonly reuses: boolean;
}

const UNARY = ['tanh', 'sin', 'sigmoid', 'square', 'neg', 'relu', 'abs'];
const BINARY = [' + ', ' - ', ' * '];
const number = fc.integer({ min: -20, max: 20 }).map((n) => n / 8);

/** Programs of operations that keep or broadcast the shapes [], [3] and [2, 3]. On a tree every result is used once. */
function programs(isTree: boolean): fc.Arbitrary<Drawn> {
  const leaf = fc.oneof(
    number.map(String),
    fc.array(number, { minLength: 3, maxLength: 3 }).map((v) => `[${v.join(', ')}]`),
    fc.array(number, { minLength: 6, maxLength: 6 }).map((v) => `[[${v.slice(0, 3).join(', ')}], [${v.slice(3).join(', ')}]]`),
  );
  const operation = fc.record({ kind: fc.nat(5), which: fc.nat(20), a: fc.nat(50), b: fc.nat(50), constant: number });
  return fc
    .record({ leaves: fc.array(leaf, { minLength: 2, maxLength: 4 }), operations: fc.array(operation, { minLength: 1, maxLength: 9 }) })
    .map(({ leaves, operations }) => {
      const lines = leaves.map((text, i) => `x${i} = ${text}`);
      let usable = leaves.map((_, i) => `x${i}`);
      const results: string[] = [];
      const uses: string[] = [];
      const take = (at: number, first = false): string => {
        // Each program grows from its newest result, so that the last line uses most of it.
        const name = first && results.length > 0 ? results.at(-1)! : usable[at % usable.length]!;
        uses.push(name);
        if (isTree && results.includes(name)) usable = usable.filter((n) => n !== name);
        return name;
      };
      operations.forEach(({ kind, which, a, b, constant }, i) => {
        const left = take(a, true);
        const name = `r${i}`;
        if (kind < 2) lines.push(`${name} = ${left}.${UNARY[which % UNARY.length]!}()`);
        else if (kind === 2) lines.push(`${name} = ${left}${BINARY[which % 3]!}(${constant})`);
        else lines.push(`${name} = ${left}${BINARY[which % 3]!}${take(b)}`);
        results.push(name);
        usable.push(name);
      });
      const reuses = uses.some((name, i) => results.includes(name) && uses.indexOf(name) !== i);
      return { lines, reuses };
    });
}

describe('random programs', () => {
  test('end with the gradients of backward, by steps that lead from state to state', () => {
    fc.assert(
      fc.property(programs(false), ({ lines }) => {
        const program = lines.join('\n');
        expectSameGradients(program);
        const model = buildModel(program);
        expectConsistent(model.newestFirst, model);
        expectConsistent(model.depthFirst, model);
      }),
      { seed: 12, numRuns: 60 },
    );
  });

  test('on a tree depth first gives the same numbers', () => {
    fc.assert(
      fc.property(programs(true), ({ lines, reuses }) => {
        const model = buildModel(lines.join('\n'));
        expect(reuses).toBe(false);
        for (const [name, values] of finalGradients(model, model.depthFirst)) {
          expect(difference(values, finalGradients(model, model.newestFirst).get(name)!)).toBeLessThan(1e-12);
        }
      }),
      { seed: 12, numRuns: 60 },
    );
  });

  test('both orders are compared in words: a leaf may be used twice, the result of an operation not', () => {
    expect(comparisonOf(buildModel(PRESETS.twice.program))).toContain('The naive order is wrong: the result of an operation is used twice');
    expect(comparisonOf(buildModel(PRESETS.se.program))).toContain('Here the naive order agrees');
  });

  test('where a result is used twice, depth first loses exactly what arrives late', () => {
    let wrong = 0;
    fc.assert(
      fc.property(programs(false), ({ lines }) => {
        const model = buildModel(lines.join('\n'));
        const late = model.depthFirst.steps.flatMap((s) => s.arrivals).filter((a) => a.isLate && a.added.some((x) => x !== 0));
        const final = finalGradients(model, model.depthFirst);
        const differs = [...finalGradients(model, model.newestFirst)].some(([name, values]) => difference(final.get(name)!, values) > 1e-9);
        if (differs) wrong++;
        if (late.filter((a) => model.nodes[a.node]!.kind === 'operation').length === 0) expect(differs).toBe(false);
      }),
      { seed: 3, numRuns: 60 },
    );
    expect(wrong).toBeGreaterThan(5);
  });
});

describe('a program', () => {
  test('makes leaves of lines that use no other, and constants of those that end with detach()', () => {
    const { nodes, leaves } = buildModel('x = [1, 2]\nm = tensor([3, 4]).detach()\nr = randn([2])\ny = x * m + r * 2');
    expect(leaves.map(({ name, line, isLiteral }) => [name, line, isLiteral])).toEqual([
      ['x', 1, true],
      ['r', 3, false],
    ]);
    expect(nodes.filter((n) => n.kind === 'constant').map(({ name, value }) => [name, value])).toEqual([
      ['m', [3, 4]],
      ['2', [2]],
    ]);
  });

  test.each([
    ['y = 3 +', 'line 1: '],
    ['x = 1\n\ny = x + z', "line 3: 'z' is not defined"],
    ['x = [1, [2]]\ny = x', 'line 1: '],
    ['x = [1, 2]\nw = [1, 2, 3]\ny = x * w', 'line 3: mul: '],
    ['x = 2\n3', 'line 2: expected the last line to give a tensor'],
    ['x = 2\ny = x.detach()', 'line 2: the last line uses no leaf'],
    ['x = zeros([100, 100])\ny = x', 'line 1: expected at most 4096 elements, got 10000'],
    ['x = zeros([64])\ny = zeros([128, 1])\nz = x * y', 'line 3: expected at most 4096 elements, got 8192'],
    ["x = 'text'\ny = x", 'line 2: '],
  ])('%j is refused with its line', (program, message) => {
    expect(() => buildModel(program)).toThrow(message);
  });

  test('may use a name again, and name conditions', () => {
    const { nodes, leaves } = buildModel('x = [3, -3]\nm = tensor([2, 0]) > 1\nx = x * 2\ny = x * m + x * (x > 0)');
    expect(nodes.map((n) => n.name)).toEqual(['x#1', '2', 'x#2', 'constant', 'x#2 · constant', 'constant', '#7', 'y']);
    expect(nodes.filter((n) => n.name === 'constant').map((n) => n.value)).toEqual([
      [1, 0],
      [1, 0],
    ]);
    expect(leaves).toMatchObject([{ node: 0, name: 'x', line: 1 }]);
  });

  test('that only backward refuses names the last line', () => {
    expect(buildModel("x = [1, 2]\ny = x.to('float32')").newestFirst.steps.length).toBe(2);
    expect(() => buildModel('x = [1, 2]\ny = x.to("int32")')).toThrow('line 2: the last line uses no leaf');
  });

  test('never fails but with a line', () => {
    const words = [
      'x',
      'y',
      '1',
      '0',
      '-1',
      '[',
      ']',
      '(',
      ')',
      ' + ',
      ' * ',
      ' ** ',
      ' = ',
      '.',
      ',',
      '\n',
      'sum',
      'matmul',
      'softmax',
      'sum()',
      "'float32'",
    ];
    const program = fc.array(
      fc.constantFrom(...words, 'relu(x)', 'zeros([2, 0])', 'randn([2])', '.to(', '.split(1)', '{ keepdim: true }'),
      { maxLength: 14 },
    );
    fc.assert(
      fc.property(program, (parts) => {
        try {
          buildModel(`x = [1, 2]\n${parts.join('')}`);
        } catch (error) {
          expect(error).toBeInstanceOf(ExpressionError);
          expect((error as Error).message).toMatch(/^line \d+: ./);
        }
      }),
      { seed: 5, numRuns: 400 },
    );
  });

  test('has its numbers replaced', () => {
    const program = 'x = [[1, 2], [3, 4]] // two rows\nw = -3\ny = x * w';
    const { leaves } = buildModel(program);
    const once = withValues(program, leaves[0]!, [2, 2], [1, 0.5, -3, 1e-7]);
    expect(once).toBe('x = [[1, 0.5], [-3, 1e-7]] // two rows\nw = -3\ny = x * w');
    expect(withValues(once, leaves[1]!, [], [4])).toBe('x = [[1, 0.5], [-3, 1e-7]] // two rows\nw = 4\ny = x * w');
    expect(buildModel(once).nodes[0]!.value).toEqual([1, 0.5, -3, 1e-7]);
  });

  test('leaves nothing in memory', async () => {
    const { memory } = await import('chainrule');
    buildModel(PRESETS.se.program);
    const before = memory();
    buildModel(PRESETS.se.program);
    expect(() => buildModel('x = 1\ny = x * q')).toThrow('line 2');
    expect(memory()).toMatchObject({ tensors: before.tensors, bytes: before.bytes });
  });
});

describe('rules', () => {
  /** Ops that expressions cannot reach: gradients of ops, and parts of the engine. */
  const INTERNAL = /Grad[XW]?$|^(grad|identity|recompute)$/;

  test('every differentiable op of the library has one, and no other', () => {
    expect([...differentiable].filter((op) => !INTERNAL.test(op) && RULES[op] === undefined)).toEqual([]);
    expect(Object.keys(RULES).filter((op) => !differentiable.has(op))).toEqual([]);
  });

  test('an op of one’s own is explained in words', () => {
    expect(ruleOf('mine').says).toContain('backward of mine');
    expect(ruleOf('constructor').forward).toBe('constructor(…)');
    expect(backwardOf(ruleOf('cat'), 3)).toBe('its own part of {g}');
    expect(fillIn('{g} · {b} / {y}', { g: '2', y: 'y', inputs: ['u', 'v'] })).toBe('2 · v / y');
  });

  /** A formula with the letters g, y, a and b in its places, in the language of the editors. */
  function inEditor(formula: string): string {
    const text = fillIn(formula, { g: 'g', y: 'y', inputs: ['a', 'b'] })
      .replaceAll('−', '-')
      .replaceAll('·', '*')
      .replace(/-a²/, '-(a ** 2)')
      .replaceAll('²', ' ** 2')
      .replaceAll('2/√π', String(2 / Math.sqrt(Math.PI)))
      .replace(/e\^\((.*)\)/, '(0 + ($1)).exp()')
      .replace(/\be\^(\w)/, '$1.exp()')
      .replaceAll('^', ' ** ')
      .replace(/\bln (\w)/g, '$1.log()')
      .replace(/\bln\(([^)]*)\)/g, '($1).log()')
      .replace(/\b(sin|cos|sign) (\w)/g, '$2.$1()')
      .replace(/σ\((\w)\)/g, '$1.sigmoid()');
    const condition = /^(.*) where (.*), else (.*)$/.exec(text);
    return condition === null ? text : `where(${condition[2]!}, ${condition[1]!}, ${condition[3]!})`;
  }

  /** Rules whose conditions are in words. */
  const IN_WORDS = new Set(['clamp', 'where']);
  const formulas = Object.entries(RULES).filter(([op, rule]) => rule.elementwise === true && !IN_WORDS.has(op));

  test.each(formulas)('the formulas of %s give what the library passes on', (op, rule) => {
    const isLoss = op.startsWith('binaryCrossEntropy');
    const operands = rule.backward.map((_, i) => 'ab'[i]!);
    const call = isLoss ? `${op}(a, b)` : `a.${op}(${operands.slice(1).join('')})`;
    for (const [a, b] of [
      [0.25, 0.75],
      [0.875, 0.5],
    ] as const) {
      scope(() => {
        const program = `a = ${a}\nb = ${b}\ny = ${call}${operands.length === 1 ? ' + 0 * b' : ''}`;
        const { result } = runProgram(program);
        const node = graph(result).nodes.find((n) => n.op === op)!;
        const values = [a, b, 0.625, node.value!.item()].map((x) => tensor(x, { dtype: 'float64' }));
        const environment: Environment = new Map(['a', 'b', 'g', 'y'].map((name, i) => [name, values[i]!]));
        node.vjp(values[2]!).forEach((grad, i) => {
          const expected = evaluate(parse(inEditor(backwardOf(rule, i))), environment) as Tensor;
          expect(grad!.item(), `input ${i} at ${a}, ${b}`).toBeCloseTo(expected.item(), 12);
        });
      });
    }
  });
});

test('an image is laid out with its channels side by side', () => {
  expect(gridOf([1, 2, 2, 2])).toEqual({ rows: 2, columns: 5, order: [0, 1, -1, 4, 5, 2, 3, -1, 6, 7] });
  expect(gridOf([2, 3])).toEqual({ rows: 2, columns: 3, order: [0, 1, 2, 3, 4, 5] });
  expect(gridOf([1, 4, 1, 1])).toEqual({ rows: 1, columns: 4, order: [0, 1, 2, 3] });
  expect(gridOf([1, 1, 1])).toEqual({ rows: 1, columns: 1, order: [0] });
  expect(gridOf([4, 1])).toEqual({ rows: 4, columns: 1, order: [0, 1, 2, 3] });
  expect(gridOf([])).toEqual({ rows: 1, columns: 1, order: [0] });
});
