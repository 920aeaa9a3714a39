import { describe, expect, test } from 'vitest';
import { headlineOf, movedText } from '../../playground/gradcheck/headline.ts';
import { checkProgram, type CheckResult } from '../../playground/gradcheck/model.ts';
import { PRESETS, type PresetName } from '../../playground/gradcheck/presets.ts';
import type { Program } from '../../playground/gradcheck/program.ts';
import { STEPS, armsOf } from '../../playground/gradcheck/steps.ts';

// The model of the panel "Gradient check": programs, their checks, and what is wrong with them.

const usual = 1e-6;

function resultOf(program: Program, eps = usual): CheckResult {
  const outcome = checkProgram({ program, eps });
  if ('failure' in outcome) throw new Error(outcome.failure.message);
  return outcome.result;
}

/** What each preset shows, and the edit of its lesson that makes it right. */
const EXPECTED: Readonly<Record<PresetName, { readonly diagnosis: readonly string[]; readonly right: Partial<Program> }>> = {
  correct: { diagnosis: [], right: {} },
  sign: { diagnosis: ['x: the sign is wrong'], right: { backward: 'dx = -g / (x * x)' } },
  factor: {
    diagnosis: ['x: the gradient is 0.5 times the right one: a factor 2 is missing'],
    right: { backward: 'dx = 2 * g * x' },
  },
  transpose: {
    diagnosis: ['x: the gradient that would be right if w were transposed: a transpose is missing, or one too much'],
    right: { backward: 'dx = g.matmul(w.transpose(0, 1))\ndw = x.transpose(0, 1).matmul(g)' },
  },
  broadcast: {
    diagnosis: [
      "w: the gradient is not summed over the dims along which the argument was broadcast; defineOp's broadcasts: true does that",
    ],
    right: { backward: 'dx = g * w\ndw = (g * x).sum(0)' },
  },
  detached: {
    diagnosis: ['x: off by an amount that is constant along dims [1]: a path through a sum or mean over them is missing or wrong'],
    right: {
      backward: 's = x.mean(1, { keepdim: true }).sigmoid()\ndx = g * s + (g * x).sum(1, { keepdim: true }) * s * (1 - s) / 3',
    },
  },
  tie: {
    diagnosis: ['x: at a tie each of 2 equal elements gets the whole gradient; they must share it, or one take it'],
    right: { backward: 'dx = g * x.eq(y) / x.eq(y).sum()' },
  },
  kink: {
    diagnosis: [
      'x: a kink at [0] that no op reported: the slope is 0 to its left and 1 to its right, and a gradient between them may be right; ' +
        "report it with defineOp's branch, or check elsewhere",
    ],
    right: { forward: 'y = (x * (x > 0)).sum()\nbranch = x > 0' },
  },
};

describe('each preset', () => {
  test.each(Object.entries(EXPECTED))('%s gives its diagnosis, and none once it is mended', (name, { diagnosis, right }) => {
    const preset = PRESETS[name as PresetName];
    expect(resultOf(preset)).toMatchObject({ ok: name === 'correct', diagnosis });
    expect(resultOf({ ...preset, ...right })).toMatchObject({ ok: true, diagnosis: [], problems: [] });
  });

  test('names the edit that mends it', () => {
    for (const [name, { right }] of Object.entries(EXPECTED)) {
      const last = Object.values(right).at(-1)?.split('\n').at(-1) ?? '';
      if (name !== 'transpose') expect(PRESETS[name as PresetName].lesson).toContain(last);
    }
  });
});

describe('the headline', () => {
  test.each<[string, Program, string]>([
    ['one right', { inputs: 'x = 2', forward: 'y = x * x', backward: 'dx = 2 * g * x' }, 'The gradient is right'],
    ['one wrong', { inputs: 'x = 2', forward: 'y = x * x', backward: 'dx = g * x' }, 'The gradient is wrong'],
    ['two right', { inputs: 'x = [1, 2]', forward: 'y = x * x', backward: 'dx = 2 * g * x' }, 'Both gradients are right'],
    ['all of four wrong', PRESETS.factor, '4 of 4 gradients are wrong'],
    ['only the tie wrong', PRESETS.tie, 'The gradients agree away from the tie, but the rule at the tie is wrong'],
    ['rejected', PRESETS.broadcast, 'No gradient could be compared'],
  ])('%s', (_, program, text) => {
    expect(headlineOf(resultOf(program))).toBe(text);
  });

  test('is followed by whether the point was moved', () => {
    expect(movedText(resultOf(PRESETS.tie))).toBe(
      'The point was moved away from a tie once. The table compares the gradients at the moved point.',
    );
    expect(movedText(resultOf(PRESETS.factor))).toBeNull();
  });
});

describe('the table', () => {
  test('has a row for each element, with the gradients of Σ g·y', () => {
    const { rows, incoming } = resultOf(PRESETS.factor);
    expect(incoming).toEqual({ shape: [], values: [1] });
    expect(rows.map((r) => [r.element, r.analytic, r.right])).toEqual([
      ['x[0]', 0.5, false],
      ['x[1]', -1.5, false],
      ['x[2]', 2, false],
      ['x[3]', 3, false],
    ]);
    rows.forEach((r, i) => expect(r.numeric).toBeCloseTo([1, -3, 4, 6][i]!, 6));
  });

  test('shows the random incoming gradient of several numbers', () => {
    expect(resultOf(PRESETS.correct).incoming).toMatchObject({ shape: [3, 2], values: { length: 6 } });
  });

  test('names a number without an index', () => {
    expect(resultOf({ inputs: 'a = 2\nb = a * 3', forward: 'y = a * b', backward: 'da = g * b\ndb = g * a' }).rows).toMatchObject([
      { element: 'a', analytic: 6 },
      { element: 'b', analytic: 2 },
    ]);
  });
});

describe('the error over the step', () => {
  test('has two arms for a right gradient, and float32 rounds much earlier', () => {
    const { errors } = resultOf(PRESETS.correct);
    const double = armsOf(errors.float64);
    const single = armsOf(errors.float32);
    expect(errors.float64).toHaveLength(STEPS.length);
    // Both dtypes have the curvature of the function.
    expect(single.truncation! / double.truncation!).toBeCloseTo(1, 0);
    expect(single.rounding! / double.rounding!).toBeGreaterThan(1e6);
  });

  test('has none for a wrong one: no step removes a mistake', () => {
    for (const name of ['factor', 'transpose', 'detached', 'kink'] as const) {
      const { errors } = resultOf(PRESETS[name]);
      expect(armsOf(errors.float64), name).toEqual({ rounding: null, truncation: null });
      expect(Math.min(...errors.float64.map((e) => e ?? 0)), name).toBeGreaterThan(0.01);
    }
  });

  test('is empty where backward was rejected, which names the input', () => {
    expect(resultOf(PRESETS.broadcast).problems).toEqual(['backward of op: the gradient of w is float64 [3,2], the argument float64 [2]']);
    expect(resultOf(PRESETS.broadcast).errors).toEqual({ float64: [], float32: [], notInFloat32: null });
  });

  test('rounds a result with a float64 constant to float32', () => {
    const scaled = { inputs: 'x = [1.5, 2.5]', forward: "y = (x ** 3 * tensor([2, 3]).to('float64')).sum()", backward: 'dx = g * x' };
    const { float32, notInFloat32 } = resultOf(scaled).errors;
    expect(notInFloat32).toBeNull();
    expect(float32.filter((e) => e !== null).length).toBeGreaterThan(10);
  });

  test('says why a program does not run in float32', () => {
    const product = {
      inputs: 'x = [[1.5, 2.5]]',
      forward: "y = linear(x, tensor([[2, 3]]).to('float64'))",
      backward: "dx = g.matmul(tensor([[2, 3]]).to('float64'))",
    };
    const { ok, errors } = resultOf(product);
    expect(ok).toBe(true);
    expect(errors.float32).toEqual([]);
    expect(errors.notInFloat32).toMatch(/^linear: .*float32.*float64/);
  });

  test('the step of the check is a choice', () => {
    const cube = { inputs: 'x = [1.5, 2.5]', forward: 'y = (x ** 3).sum()', backward: 'dx = 3 * g * x ** 2' };
    expect(resultOf(cube).ok).toBe(true);
    expect(resultOf(cube, 0.3).diagnosis[0]).toMatch(/^x: the gradient agrees with the differences of eps .* too large for the curvature/);
    expect(resultOf(cube, 1e-14).diagnosis[0]).toMatch(/^x: the gradient agrees with the differences of eps .* rounding dominates$/);
  });
});

describe('a kink at every point tried', () => {
  test('is named', () => {
    const flat = { inputs: 'x = 1', forward: 'y = x * 2\nbranch = x * 0 + rand([])', backward: 'dx = 2 * g' };
    // Two random numbers in a row are never equal, but every evaluation starts from the same state.
    expect(resultOf(flat)).toMatchObject({ ok: true, kink: null });
    const rounded = { inputs: 'x = 1', forward: 'y = x * 2\nbranch = x * 1', backward: 'dx = 2 * g' };
    expect(resultOf(rounded)).toMatchObject({ ok: false, kink: 'x', rows: [] });
  });
});

describe('an error names its editor and line', () => {
  const base: Program = PRESETS.factor;
  test.each<[string, Partial<Program>, string, number, string]>([
    ['syntax', { forward: 'h = x * 2\ny = h *' }, 'forward', 2, "Expected expression after * at character 3, in 'y = h *'"],
    ['an unknown name', { backward: '// twice\ndx = 2 * g * z' }, 'backward', 2, "'z' is not defined; defined here: x, g, y"],
    ['an unknown name in forward', { forward: 'y = x * z' }, 'forward', 1, "'z' is not defined; defined here: x"],
    ['shapes', { forward: 'y = x + ones([3])' }, 'forward', 1, 'add: '],
    ['no y', { forward: 'z = x * 2' }, 'forward', 1, 'forward must assign y, such as y = x * w'],
    ['y is no tensor', { forward: 'y = x.shape' }, 'forward', 1, 'y must be a tensor'],
    ['branch is no tensor', { forward: 'y = x.sum()\nbranch = 1' }, 'forward', 2, 'branch must be a tensor'],
    ['no gradient of an input', { inputs: 'x = 1\nw = 2' }, 'backward', 1, 'backward must assign dw: the gradient of each input'],
    ['a gradient that is no tensor', { backward: 'dx = 1' }, 'backward', 1, 'dx must be a tensor'],
    ['an input without a name', { inputs: 'x = 1\n[1, 2]' }, 'inputs', 2, 'expected a name and its values, such as x = [1, 2]'],
    ['a reserved name', { inputs: 'x = 1\ng = 2' }, 'inputs', 2, "an input cannot be called 'g'"],
    ['an input that is a text', { inputs: "x = 'a'" }, 'inputs', 1, 'expected a number, a list of numbers or a tensor'],
    ['a ragged input', { inputs: 'x = [[1, 2], [3]]' }, 'inputs', 1, 'tensor: '],
    ['too many elements', { inputs: 'x = zeros([60])\nw = zeros([5])' }, 'inputs', 2, 'expected at most 64 elements in all inputs, got 65'],
    ['nothing', { inputs: '' }, 'inputs', 1, 'expected an expression such as y = x * x'],
    ['eval', { forward: "y = eval('x')" }, 'forward', 1, "there is no function 'eval' here"],
  ])('%s', (_, change, editor, line, message) => {
    const outcome = checkProgram({ program: { ...base, ...change }, eps: usual });
    expect(outcome).toMatchObject({ failure: { editor, line } });
    expect((outcome as { failure: { message: string } }).failure.message.startsWith(message)).toBe(true);
  });

  test('an error that belongs to no text', () => {
    const outcome = checkProgram({ program: { ...base, forward: 'y = x > 0', backward: 'dx = g * x' }, eps: usual });
    expect(outcome).toMatchObject({ failure: { editor: null } });
    expect((outcome as { failure: { message: string } }).failure.message).toMatch(
      /^gradcheck: no output of the function requires a gradient/,
    );
  });
});
