import { grad, manualSeed, noGrad, scope } from 'chainrule';
import * as F from 'chainrule/nn/functional';
import { beforeAll, describe, expect, test } from 'vitest';
import { computeBlock, type BlockResult, type Edits } from '../../playground/se/block.ts';
import { aboutTraining } from '../../playground/se/about.ts';
import { imagesOf, labelsOf, pixelsOf, shownPictures, testPictures, trainingPictures } from '../../playground/se/images.ts';
import { SmallNetwork } from '../../playground/se/network.ts';
import { SHOWN_KINDS, SIZE } from '../../playground/se/pictures.ts';
import { CHANNELS, type Gate, type Reduction } from '../../playground/se/settings.ts';
import { GATES, NO_EDITS, readState, withEdit, writeState } from '../../playground/se/state.ts';
import { networkOf, train, type Trained } from '../../playground/se/training.ts';

// The model of the panel "SE": the block's numbers, its gradient along two paths, and the trained network.

const pictures = shownPictures();

/** A network with random weights: what is checked below holds for any. */
function randomNetwork(gate: Gate, reduction: Reduction): SmallNetwork {
  manualSeed(7);
  return new SmallNetwork({ gate, reduction }).to('float64').eval();
}

const largestDifference = (a: readonly ArrayLike<number>[], b: readonly ArrayLike<number>[]): number =>
  Math.max(...a.map((map, c) => Math.max(...Array.from(map, (x, i) => Math.abs(x - b[c]![i]!)))));

const added = ({ backward }: BlockResult): number[][] =>
  backward.direct.map((map, c) => Array.from(map, (x, i) => x + backward.squeeze[c]![i]!));

const zeros = (maps: readonly ArrayLike<number>[]): number[][] => maps.map((map) => new Array<number>(map.length).fill(0));

describe('both paths of the gradient', () => {
  const cases = Object.keys(GATES).flatMap((gate) => ([2, 4, 8] as const).map((reduction) => [gate as Gate, reduction] as const));

  test.each(cases)('add up to the gradient of the library, gate %s, reduction %d', (gate, reduction) => {
    const network = randomNetwork(gate, reduction);
    for (const picture of [pictures[0]!, pictures[5]!]) {
      const result = computeBlock(network, picture, NO_EDITS);
      expect(largestDifference(added(result), result.backward.full)).toBeLessThan(1e-12);
      const whole = scope(() => {
        const u = noGrad(() => network.before.forward(imagesOf([picture]).to('float64'))).requiresGrad_();
        const loss = F.crossEntropy(network.after.forward(network.se.forward(u)), labelsOf([picture]));
        return { gradient: grad(loss, u).data(), loss: loss.item() };
      });
      const area = result.forward.maps[0]!.length;
      const byChannel = Array.from({ length: CHANNELS }, (_, c) => whole.gradient.slice(c * area, (c + 1) * area));
      expect(largestDifference(result.backward.full, byChannel)).toBeLessThan(1e-12);
      expect(result.forward.loss).toBeCloseTo(whole.loss, 12);
    }
  });

  test('are what their formulas say', () => {
    const { forward, backward } = computeBlock(randomNetwork('sigmoid', 2), pictures[1]!, NO_EDITS);
    const direct = backward.output.map((map, c) => Array.from(map, (g) => g * forward.gates[c]!));
    expect(largestDifference(backward.direct, direct)).toBeLessThan(1e-15);
    // The mean spreads its gradient evenly.
    const spread = backward.squeeze.map((map, c) => new Array<number>(map.length).fill(backward.means[c]! / map.length));
    expect(largestDifference(backward.squeeze, spread)).toBeLessThan(1e-15);
    backward.gates.forEach((ds, c) => {
      const sum = backward.output[c]!.reduce((total, g, i) => total + g * forward.maps[c]![i]!, 0);
      expect(ds).toBeCloseTo(sum, 12);
    });
  });
});

describe('the forward', () => {
  test('is equations 2 to 4 of Hu et al.', () => {
    const { forward, weights } = computeBlock(randomNetwork('sigmoid', 4), pictures[2]!, NO_EDITS);
    const hidden = forward.hidden.length;
    expect(hidden).toBe(2);
    forward.maps.forEach((map, c) => expect(forward.means[c]).toBeCloseTo(map.reduce((a, b) => a + b, 0) / map.length, 12));
    const row = (w: Float64Array, i: number, n: number, x: readonly number[]): number =>
      x.reduce((sum, value, k) => sum + w[i * n + k]! * value, 0);
    forward.hidden.forEach((h, j) => expect(h).toBeCloseTo(Math.max(0, row(weights.first, j, CHANNELS, forward.means)), 12));
    forward.gates.forEach((s, c) => expect(s).toBeCloseTo(1 / (1 + Math.exp(-row(weights.second, c, hidden, forward.hidden))), 12));
    const scaled = forward.maps.map((map, c) => Array.from(map, (u) => u * forward.gates[c]!));
    expect(largestDifference(forward.scaled, scaled)).toBeLessThan(1e-15);
    expect(forward.probabilities[0]! + forward.probabilities[1]!).toBeCloseTo(1, 12);
  });
});

describe('a value set by hand', () => {
  const network = randomNetwork('sigmoid', 2);
  const before = computeBlock(network, pictures[0]!, NO_EDITS);

  test('a gate scales its own map alone, and no gradient flows through it', () => {
    const edits = withEdit(NO_EDITS, 'gates', 3, 0.25);
    const { forward, backward } = computeBlock(network, pictures[0]!, edits);
    expect(forward.gates).toEqual(before.forward.gates.map((s, c) => (c === 3 ? 0.25 : s)));
    expect(forward.ownGates).toEqual(before.forward.gates);
    expect(forward.scaled[3]).toEqual(before.forward.maps[3]!.map((u) => u * 0.25));
    expect(forward.scaled[2]).toEqual(before.forward.scaled[2]);
    expect(forward.loss).not.toBe(before.forward.loss);
    expect(largestDifference(added({ forward, backward } as BlockResult), backward.full)).toBeLessThan(1e-12);
  });

  test('a mean changes hidden units and gates, and its channel has no gradient through the squeeze', () => {
    const edits = withEdit(NO_EDITS, 'means', 5, 2);
    const { forward, backward } = computeBlock(network, pictures[0]!, edits);
    expect(forward.means[5]).toBe(2);
    expect(forward.ownMeans).toEqual(before.forward.means);
    expect(forward.hidden).not.toEqual(before.forward.hidden);
    expect(forward.gates).not.toEqual(before.forward.gates);
    expect(Math.max(...backward.squeeze[5]!.map(Math.abs))).toBe(0);
    expect(Math.max(...backward.squeeze[4]!.map(Math.abs))).toBeGreaterThan(0);
  });

  test('all gates: only the direct path is left', () => {
    const edits: Edits = { ...NO_EDITS, gates: new Array<number>(CHANNELS).fill(0.5) };
    const { backward } = computeBlock(network, pictures[0]!, edits);
    expect(backward.squeeze.map((m) => [...m])).toEqual(zeros(backward.squeeze));
    expect(backward.full).toEqual(backward.direct);
    expect(backward.means).toEqual(new Array<number>(CHANNELS).fill(0));
  });
});

describe('the trained network', () => {
  let trained: Trained;
  beforeAll(() => {
    trained = train(readState({}).state.settings);
  });

  test('has learnt the task, and its gates tell the bands apart', () => {
    expect(trained.accuracy).toBeGreaterThan(0.85);
    const differences = trained.meanGates.warm.map((s, c) => Math.abs(s - trained.meanGates.cool[c]!));
    expect(Math.max(...differences)).toBeGreaterThan(0.3);
  });

  test('classifies in float64 as it was trained', () => {
    const network = networkOf(trained);
    const right = testPictures().filter((p) => computeBlock(network, p, NO_EDITS).forward.probabilities[p.label]! > 0.5);
    expect(right.length / testPictures().length).toBeCloseTo(trained.accuracy, 6);
  });

  test('is the same for the same settings, so that a link shows the same', () => {
    expect(train(trained.settings)).toEqual(trained);
  });
});

describe('the pictures', () => {
  test('to train, to test and to choose from are different ones', () => {
    const indices = [trainingPictures(), testPictures(), shownPictures()].map((list) => list.map((p) => p.index));
    expect(new Set(indices.flat()).size).toBe(indices.flat().length);
    expect(indices.map((list) => list.length)).toEqual([560, 40, SHOWN_KINDS.length]);
  });

  test('a warm band exchanges the classes', () => {
    for (const { shape, band, label } of pictures) expect(label).toBe((shape === 'frame') === (band === 'cool') ? 1 : 0);
  });

  test('are shown in the colours that the network gets', () => {
    const picture = pictures[0]!;
    const pixels = pixelsOf(picture);
    const image = imagesOf([picture]).mul(0.22).add(0.5).mul(255).data();
    expect(pixels).toHaveLength(4 * SIZE * SIZE);
    for (const i of [0, 17, 500]) expect(pixels[4 * i + 1]).toBe(Math.round(image[SIZE * SIZE + i]!));
  });
});

describe('the address', () => {
  test('carries picture, settings, edits and channel', () => {
    const edits = withEdit(withEdit(NO_EDITS, 'gates', 2, 0.35), 'means', 7, 1.5);
    const state = { picture: 6, settings: { gate: 'tanh', reduction: 4, seed: 12 }, edits, channel: 3 } as const;
    expect(readState(writeState(state))).toEqual({ state, problems: [] });
    expect(writeState(readState({}).state)).toEqual({ picture: '0' });
  });

  test('says why training took another seed', () => {
    const trained = (seed: number) => ({ settings: { gate: 'relu', reduction: 8, seed }, accuracy: 0.9 }) as const;
    expect(aboutTraining(trained(4), 4)).not.toContain('did not learn');
    expect(aboutTraining(trained(5), 4)).toContain('from seed 5: ');
    expect(aboutTraining(trained(5), 4)).toContain('Seed 4 did not learn the task with this gate and reduction');
    expect(aboutTraining(trained(7), 4)).toContain('Seeds 4 to 6 did not learn');
  });

  test.each([
    ['picture', '99', "The link has picture='99', expected a whole number from 0 to 7; used 0."],
    ['gate', 'constructor', "The link has gate='constructor', expected sigmoid, hardsigmoid, tanh, relu; used sigmoid."],
    ['reduction', '3', "The link has reduction='3', expected 2, 4, 8; used 2."],
    ['seed', '-1', "The link has seed='-1', expected a whole number from 0 to 9999; used 4."],
    ['gates', '9:1', /^The link has gates='9:1', expected channel:value pairs .*; used none\.$/],
    ['means', '2:abc', /^The link has means='2:abc', .*; used none\.$/],
    ['means', '2:', /used none/],
    ['gates', '__proto__:1', /used none/],
    ['channel', '1.5', "The link has channel='1.5', expected a whole number from 0 to 7; used 7."],
    ['r', '2', "The link has 'r', which is no setting; it was left out."],
  ])('with %s=%s has the default, and says so', (name, value, problem) => {
    const { state, problems } = readState({ [name]: value });
    expect(state).toEqual(readState({}).state);
    expect(problems).toEqual([typeof problem === 'string' ? problem : expect.stringMatching(problem)]);
  });
});
