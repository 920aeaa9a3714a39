/**
 * A property: whatever the states in a checkpoint are, loading it throws a FileError and changes nothing, or it loads them, and what it
 * has loaded can be saved and loaded again.
 */
import { FileError, manualSeed, memory, ones, type Stateful } from 'chainrule';
import { DataLoader, syntheticCifar } from 'chainrule/data';
import { checkpointFromBytes, checkpointToBytes, decodeSafetensors } from 'chainrule/io';
import * as nn from 'chainrule/nn';
import * as optim from 'chainrule/optim';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { forgeCheckpoint } from '../support/forge.ts';

/** Objects of every kind that has a state. */
function makeRun(): Record<string, Stateful> {
  const model = new nn.Sequential(new nn.Linear(3, 2), new nn.BatchNorm2d(2));
  const params = model.parameters();
  const sgd = new optim.SGD(params, { lr: 0.1, momentum: 0.9 });
  const adam = new optim.Adam(params, { lr: 0.1, amsgrad: true });
  for (const p of params) p.grad = ones(p.shape);
  sgd.step();
  adam.step();
  const parts = [new optim.StepLR(adam, { stepSize: 2 }), new optim.ExponentialLR(adam, { gamma: 0.5 })];
  return {
    model,
    sgd,
    adam,
    step: new optim.StepLR(sgd, { stepSize: 2 }),
    plateau: new optim.ReduceLROnPlateau(sgd),
    sequence: new optim.SequentialLR(adam, { schedulers: parts, milestones: [3] }),
    ema: new optim.EMA(params),
    loader: new DataLoader(syntheticCifar({ length: 8 }), { batchSize: 2 }),
  };
}

type Json = Record<string, unknown>;

/** Returns every place of a value in the tree: its record or array, and its key. */
function placesIn(json: Json): [holder: Json, key: string][] {
  return Object.entries(json).flatMap(([key, value]): [Json, string][] => {
    const inside = typeof value === 'object' && value !== null && !('$tensor' in value) ? placesIn(value as Json) : [];
    return [[json, key], ...inside];
  });
}

/** One change: the place, counted modulo their number; the key to add there, or null to replace or remove it; the value. */
const change = fc.record({
  place: fc.nat(),
  key: fc.constantFrom(null, null, '__proto__', 'constructor', 'toString', 'extra', 'params', 'lr'),
  value: fc.oneof(
    fc.jsonValue({ maxDepth: 1 }),
    fc.constantFrom<unknown>(undefined, -1, 0.5, 1e300, 1e21, [], {}, [[]], { $number: 'NaN' }, { $number: 'Infinity' }),
    fc.constantFrom('model.0.weight', 'model.0.bias', 'adam.state.0.step').map((name) => ({ $tensor: name })),
  ),
});

function apply(json: Json, { place, key, value }: { readonly place: number; readonly key: string | null; readonly value: unknown }): void {
  const places = placesIn(json);
  const [holder, own] = places[place % places.length] ?? [json, 'x'];
  const name = key === null || Array.isArray(holder) ? own : key;
  if (value === undefined) delete holder[name];
  // Not by assignment, which would set the prototype.
  else Object.defineProperty(holder, name, { value: structuredClone(value), enumerable: true, configurable: true, writable: true });
}

test('any change to the states of a checkpoint', { timeout: 300_000 }, () => {
  manualSeed(1);
  const run = makeRun();
  const good = checkpointToBytes(run);
  const { entries, metadata } = decodeSafetensors(good);
  const arrays = [...entries];
  fc.assert(
    fc.property(fc.array(change, { minLength: 1, maxLength: 3 }), (changes) => {
      const json = JSON.parse(metadata.get('chainrule.state')!) as { states: Json };
      for (const c of changes) apply(json.states, c);
      const { tensors } = memory();
      try {
        checkpointFromBytes(forgeCheckpoint(JSON.stringify(json), arrays), run);
        const loaded = checkpointToBytes(run);
        checkpointFromBytes(loaded, run);
        expect(Buffer.compare(checkpointToBytes(run), loaded)).toBe(0);
        checkpointFromBytes(good, run);
      } catch (error) {
        expect(error).toBeInstanceOf(FileError);
        expect((error as Error).message).not.toContain('could not be put back');
        expect((error as Error).message).not.toContain('\n');
      }
      expect(Buffer.compare(checkpointToBytes(run), good)).toBe(0);
      expect(memory().tensors).toBe(tensors);
      for (const object of Object.values(run)) expect(Object.getPrototypeOf(object)).toBe(object.constructor.prototype);
    }),
    { numRuns: process.env.CHAINRULE_LONG === '1' ? 10_000 : 150, seed: 11 },
  );
});
