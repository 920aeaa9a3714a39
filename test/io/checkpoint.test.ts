import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import vm from 'node:vm';
import { ArgumentError, FileError, manualSeed, memory, rand, randn, type Stateful, scope, tensor, type Tensor, zeros } from 'chainrule';
import type { ArrayData } from '../../src/core/array-data.ts';
import { DataLoader, syntheticCifar, transforms } from 'chainrule/data';
import {
  checkpointFromBytes,
  checkpointToBytes,
  decodeSafetensors,
  encodeSafetensors,
  loadSafetensors,
  loadCheckpoint,
  saveCheckpoint,
  saveSafetensors,
} from 'chainrule/io';
import * as nn from 'chainrule/nn';
import * as F from 'chainrule/nn/functional';
import * as optim from 'chainrule/optim';
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { forgeCheckpoint } from '../support/forge.ts';

let dir: string;
let file: string;
beforeEach(() => {
  dir = fs.mkdtempSync(path.join(os.tmpdir(), 'chainrule-checkpoint-'));
  file = path.join(dir, 'run.safetensors');
  manualSeed(0);
});
afterEach(() => {
  fs.rmSync(dir, { recursive: true });
});

/** A Stateful that stores any state tree. */
class Box implements Stateful {
  tree: unknown;
  constructor(tree: unknown = null) {
    this.tree = tree;
  }
  stateDict(): object {
    return { tree: this.tree };
  }
  loadStateDict(state: { tree: unknown }): void {
    this.tree = copied(state.tree);
  }
}

/** Copies a tree and its tensors. */
function copied(value: unknown): unknown {
  if (typeof value !== 'object' || value === null) return value;
  if ('clone' in value) return (value as Tensor).clone().keep();
  if (Array.isArray(value)) return value.map(copied);
  return Object.fromEntries(Object.entries(value).map(([key, v]) => [key, copied(v)]));
}

/** A model of two parameters whose loadStateDict throws on other names and shapes, after it has written some parameters. */
class Model implements Stateful {
  readonly parameters: Record<string, Tensor>;
  constructor(shapes: Record<string, number[]>) {
    this.parameters = scope(() =>
      Object.fromEntries(Object.entries(shapes).map(([k, s]) => [k, randn(s).mul(0.1).requiresGrad_().keep()])),
    );
  }
  stateDict(): Record<string, Tensor> {
    return { ...this.parameters };
  }
  loadStateDict(state: Record<string, Tensor>): void {
    for (const [name, p] of Object.entries(this.parameters)) {
      if (state[name] === undefined) throw new Error(`${name} is missing`);
      p.copy_(state[name]);
    }
  }
}

function bits(t: Tensor) {
  const data = t.data();
  return { dtype: t.dtype, shape: t.shape, bytes: [...new Uint8Array(data.buffer, data.byteOffset, data.byteLength)] };
}

/** Replaces a tree's tensors by their bits, so that trees can be compared. */
function seen(value: unknown): unknown {
  if (typeof value !== 'object' || value === null) return value;
  if ('clone' in value) return bits(value as Tensor);
  if (Array.isArray(value)) return value.map(seen);
  return Object.entries(value).map(([key, v]) => [key, seen(v)]);
}

const GENERATOR = '"chainrule.generator":{"seed":0,"draws":0}';

describe('saved state', () => {
  test('is restored bitwise, tensors and numbers', () => {
    const x = tensor([
      [1, NaN, -0],
      [Infinity, 1e-45, 3],
    ]);
    const shared = { x: 1 };
    const tree = {
      tensors: [
        x,
        x.transpose(0, 1),
        tensor(2 ** 31 - 1, { dtype: 'int32' }),
        tensor([true]),
        zeros([0, 2]),
        tensor(0.1, { dtype: 'float64' }),
      ],
      'a.b': tensor([1]),
      a: { b: tensor([2]), num_batches_tracked: tensor(7, { dtype: 'int32' }) },
      numbers: [0.1, -0, NaN, Infinity, -Infinity, Number.MIN_VALUE, Number.MAX_VALUE, 2 ** 53, 1 / 3],
      texts: ['', '"\\\n', '\ud800', '€'],
      flags: [true, false, null],
      twice: [shared, shared],
      $tensor: 'a',
      $number: { $$: 1 },
      ['__proto__']: { x: 1 },
      10: [],
      9: {},
    };
    const box = new Box(tree);
    saveCheckpoint(file, { box });
    const other = new Box();
    expect(loadCheckpoint(file, { box: other })).toBeUndefined();
    expect(seen(other.tree)).toEqual(seen(tree));
    expect(fs.readdirSync(dir)).toEqual(['run.safetensors']);
  });

  test('anything with shape, dtype and data is a tensor; a record with some of these keys is a record', () => {
    const data = Float32Array.of(1, 2);
    const mean = { data, shape: [2], dtype: 'float32' };
    const records = [{ shape: [2], dtype: 'x' }, { data: 'text', shape: 1, dtype: 2 }, Object.assign(Object.create(null), { a: 1 })];
    const box = new Box();
    checkpointFromBytes(checkpointToBytes({ box: new Box({ mean, records }) }), { box });
    expect(seen(box.tree)).toEqual(seen({ mean: tensor([1, 2]), records }));
    for (const partial of [{ data }, { data, shape: [2] }, { data, dtype: 'float32' }]) {
      expect(() => checkpointToBytes({ box: new Box(partial) })).toThrow(/^saveCheckpoint: box\.tree\.data: .* got a Float32Array$/);
    }
  });

  test('any tree survives a round trip', () => {
    const key = fc.oneof(fc.string({ maxLength: 3 }), fc.constantFrom('$', '$tensor', '$number', '$$tensor', '__proto__', '0', 'a.b'));
    const { tree } = fc.letrec((tie) => ({
      tree: fc.oneof(
        { maxDepth: 4 },
        fc.double(),
        fc.string(),
        fc.boolean(),
        fc.constant(null),
        fc.array(tie('tree'), { maxLength: 3 }),
        fc.dictionary(key, tie('tree'), { maxKeys: 3, noNullPrototype: true }),
      ),
    }));
    fc.assert(
      fc.property(tree, (value) => {
        const box = new Box();
        expect(checkpointFromBytes(checkpointToBytes({ box: new Box(value) }, value), { box })).toStrictEqual(value);
        expect(box.tree).toStrictEqual(value);
      }),
      { numRuns: 200 },
    );
  });

  test('names entries by path, so that other tools can read them', () => {
    const model = new Model({ 'fc.weight': [2, 3] });
    const box = new Box([0.5, -0]);
    const { entries, metadata } = decodeSafetensors(checkpointToBytes({ model, box }, { step: 3 }), 'bytes');
    expect([...entries.keys()]).toEqual(['model.fc.weight']);
    expect(metadata.get('chainrule.checkpoint')).toBe('1');
    expect(JSON.parse(metadata.get('chainrule.state')!)).toEqual({
      states: {
        model: { 'fc.weight': { $tensor: 'model.fc.weight' } },
        box: { tree: [0.5, { $number: '-0' }] },
        'chainrule.generator': { seed: 0, draws: 1 },
      },
      extra: { step: 3 },
    });
  });

  test('extra is returned, without members that are undefined', () => {
    const extra = { step: 12, best: NaN, history: [{ loss: 0.1, note: undefined }], name: 'x' };
    saveCheckpoint(file, {}, extra);
    expect(loadCheckpoint(file, {})).toStrictEqual({ step: 12, best: NaN, history: [{ loss: 0.1 }], name: 'x' });
    saveCheckpoint(file, {}, null);
    expect(loadCheckpoint(file, {})).toBe(null);
  });

  test('includes the default generator', () => {
    rand([3]);
    saveCheckpoint(file, {});
    const next = rand([4]).toArray();
    manualSeed(77);
    loadCheckpoint(file, {});
    expect(rand([4]).toArray()).toEqual(next);
    manualSeed(77);
    const other = rand([4]).toArray();
    manualSeed(77);
    loadCheckpoint(file, {}, { strict: false });
    expect(rand([4]).toArray()).toEqual(other);
  });

  test('equal states give equal bytes, and neither saving nor loading leaves tensors behind', () => {
    const model = new Model({ w: [30, 10], b: [10] });
    const before = memory();
    const bytes = checkpointToBytes({ model });
    expect(checkpointToBytes({ model })).toEqual(bytes);
    checkpointFromBytes(bytes, { model });
    expect(() => checkpointFromBytes(bytes, { model, other: new Box() })).toThrow(FileError);
    expect(memory()).toMatchObject({ bytes: before.bytes, tensors: before.tensors });
  });
});

describe('a resumed run', () => {
  const steps = 14;
  const make = () => {
    const model = new nn.Sequential(
      new nn.Conv2d(3, 4, 3, { stride: 2, bias: false }),
      new nn.BatchNorm2d(4),
      new nn.ReLU(),
      new nn.SqueezeExcite(4, { reduction: 2 }),
      new nn.AdaptiveAvgPool2d(1),
      new nn.Flatten(),
      new nn.Dropout(0.2),
      new nn.Linear(4, 10),
    );
    const optimizer = new optim.SGD(model.parameters(), { lr: 0.1, momentum: 0.9, nesterov: true, weightDecay: 5e-4 });
    const scheduler = new optim.OneCycleLR(optimizer, { maxLr: 0.1, totalSteps: steps + 1 });
    const transform = transforms.compose(transforms.randomCrop(32, { padding: 2 }), transforms.randomHorizontalFlip());
    const loader = new DataLoader(syntheticCifar({ length: 24, seed: 2 }), { batchSize: 4, shuffle: true, seed: 6, transform });
    return { model, optimizer, scheduler, loader };
  };

  const fileOf = (step: number) => path.join(dir, `${step}.safetensors`);

  /** Trains from step `from` on; saves after each step. */
  const train = ({ model, optimizer, scheduler, loader }: ReturnType<typeof make>, from = 0) => {
    let step = from;
    while (step < steps) {
      for (const [x, y] of loader) {
        const loss = F.crossEntropy(model.forward(x), y);
        optimizer.zeroGrad();
        loss.backward();
        optimizer.step();
        scheduler.step();
        step++;
        saveCheckpoint(fileOf(step), { model, optimizer, scheduler, loader }, { step, loss: loss.item() });
        if (step === steps) break;
      }
    }
  };

  test('ends bitwise identical to an uninterrupted run, at whatever step it stopped', () => {
    manualSeed(3);
    train(make());
    const whole = Array.from({ length: steps }, (_, i) => fs.readFileSync(fileOf(i + 1)));
    // 6 and 12 are ends of epochs.
    for (const stop of [1, 5, 6, 7, 12]) {
      for (let step = stop + 1; step <= steps; step++) fs.rmSync(fileOf(step));
      manualSeed(1234);
      const run = make();
      const { step } = loadCheckpoint(fileOf(stop), run) as { step: number };
      expect(step).toBe(stop);
      train(run, step);
      whole.forEach((bytes, i) => expect(fs.readFileSync(fileOf(i + 1)).equals(bytes)).toBe(true));
    }
  });

  test('its weights are readable by name', () => {
    const run = make();
    train(run);
    const { model } = make();
    model.loadStateDict(loadSafetensors(fileOf(steps)), { strict: false, rename: (name) => name.replace(/^model\./, '') });
    expect(seen(model.stateDict())).toEqual(seen(run.model.stateDict()));
    expect(model.stateDict()['1.num_batches_tracked']!.item()).toBe(steps);
    expect(fs.readFileSync(fileOf(steps)).includes('"model.1.num_batches_tracked":{"dtype":"I64","shape":[],')).toBe(true);
  });
});

describe('a checkpoint that does not fit throws, and nothing changes', () => {
  const failure = (what: string) => new FileError(`loadCheckpoint: ${file}: ${what}`);

  test('other names', () => {
    saveCheckpoint(file, { model: new Box(1), optimizer: new Box(2) });
    const model = new Box(5);
    expect(() => loadCheckpoint(file, { model })).toThrow(
      failure('states: expected model, got model, optimizer: it also has optimizer (strict: false would leave that out)'),
    );
    expect(() => loadCheckpoint(file, { model, scheduler: new Box() })).toThrow(
      failure(
        'states: expected model, scheduler, got model, optimizer: it does not have scheduler; it also has optimizer (strict: false would leave that out)',
      ),
    );
    expect(() => loadCheckpoint(file, { net: model }, { strict: false })).toThrow(
      failure('states: expected net, got model, optimizer: it does not have net'),
    );
    expect(() => loadCheckpoint(file, { net: model, ema: model })).toThrow(
      failure(
        'states: expected net, ema, got model, optimizer: it does not have net, ema; it also has model, optimizer (strict: false would leave that out)',
      ),
    );
    expect(model.tree).toBe(5);
    loadCheckpoint(file, { model }, { strict: false });
    expect(model.tree).toBe(1);
  });

  test('another model: objects restored before it, and its own written parameters, are rolled back', () => {
    const sgd = (m: Model) => new optim.SGD(Object.values(m.parameters), { lr: 0.1, momentum: 0.9 });
    const saved = new Model({ a: [2], b: [3] });
    saveCheckpoint(file, { optimizer: sgd(saved), box: new Box(3), model: saved });
    const model = new Model({ a: [2], b: [4] });
    const optimizer = sgd(model);
    model.parameters.a!.grad = tensor([1, 2]);
    model.parameters.b!.grad = tensor([1, 2, 3, 4]);
    optimizer.paramGroups[0]!.lr = 0.5;
    optimizer.step();
    const box = new Box({ mine: tensor([4]) });
    const state = () => seen([model.stateDict(), optimizer.stateDict(), box.tree, rand([1])]);
    manualSeed(5);
    const before = state();
    manualSeed(5);
    expect(() => loadCheckpoint(file, { optimizer, box, model })).toThrow(
      failure('model: copy_: shapes [4] and [3] do not broadcast (4 against 3) (nothing was changed)'),
    );
    expect(state()).toEqual(before);
    const live = memory();
    expect(() => loadCheckpoint(file, { box, optimizer, model: new Model({ c: [1] }) })).toThrow(
      failure('model: c is missing (nothing was changed)'),
    );
    // The new model's parameter, and the copy that restores the box.
    expect(memory().tensors).toBe(live.tensors + 2);
  });

  test('a state that cannot be rolled back is named, its error is the cause, and later objects are not touched', () => {
    saveCheckpoint(file, { a: new Box(1), b: new Box(2), c: new Box(3), d: new Box(4) });
    const cause = new Error('never');
    const failingFrom = (call: number): Stateful => {
      let calls = 0;
      return {
        stateDict: () => ({}),
        loadStateDict: () => {
          if (++calls >= call) throw cause;
        },
      };
    };
    const [a, d] = [new Box(9), new Box(9)];
    const load = vi.spyOn(d, 'loadStateDict');
    expect(() => loadCheckpoint(file, { a, b: failingFrom(2), c: failingFrom(1), d })).toThrow(
      new FileError(`loadCheckpoint: ${file}: c: never (b, c could not be put back)`, { cause }),
    );
    expect(a.tree).toBe(9);
    expect(load).not.toHaveBeenCalled();
  });

  test('a loader over other batches', () => {
    const make = (batchSize: number) => new DataLoader(syntheticCifar({ length: 8 }), { batchSize });
    saveCheckpoint(file, { loader: make(2) });
    expect(() => loadCheckpoint(file, { loader: make(4) })).toThrow(
      failure(
        'loader: DataLoader.loadStateDict: batchSize: the state has 2, the loader 4; make the loader as the saved one was (nothing was changed)',
      ),
    );
  });

  test('a file that is no checkpoint, a newer one, a damaged one', () => {
    const box = new Box(1);
    const load = () => loadCheckpoint(file, { box });
    expect(load).toThrow(new FileError(`loadCheckpoint: folder ${dir} has no file run.safetensors`));
    fs.writeFileSync(file, 'hello, world');
    expect(load).toThrow(
      new FileError(
        `decodeSafetensors: ${file}: header length: expected at most 100000000 bytes, got 8583909746840200000; this is no safetensors file`,
      ),
    );
    saveSafetensors(file, { w: tensor([1]) });
    expect(load).toThrow(failure('the header has no chainrule.checkpoint: this is no checkpoint; read plain tensors with loadSafetensors'));
    fs.writeFileSync(file, encodeSafetensors([], [['chainrule.checkpoint', '2']]));
    expect(load).toThrow(
      failure('chainrule.checkpoint: expected version 1, got 2; another version of chainrule wrote it, load it with that one'),
    );
    fs.writeFileSync(file, encodeSafetensors([], [['chainrule.checkpoint', '1']]));
    expect(load).toThrow(failure('the header has no chainrule.state; the file is damaged'));
    expect(box.tree).toBe(1);
  });

  test('a file with any byte flipped or cut', () => {
    const box = () => new Box([tensor([1, 2, 3]), 4, tensor(5, { dtype: 'int32' })]);
    const bytes = checkpointToBytes({ box: box() });
    const target = box();
    for (let at = 0; at < bytes.length; at++) {
      const damaged = bytes.slice();
      damaged[at]! ^= 1 << (at % 8);
      let read: unknown;
      try {
        checkpointFromBytes(damaged, { box: target });
        // The flipped byte was padding or similar, so the restored state equals the saved one.
        read = seen(target.tree);
      } catch (error) {
        expect(error).toBeInstanceOf(FileError);
        read = seen(target.tree);
      }
      expect(read).toEqual(seen(box().tree));
      expect(() => checkpointFromBytes(bytes.subarray(0, at), { box: target })).toThrow(FileError);
    }
    const damaged = bytes.slice();
    damaged[bytes.length - 1]! ^= 64;
    expect(() => checkpointFromBytes(damaged, { box: target })).toThrow(
      /^loadCheckpoint: bytes: checksum: expected [0-9a-f]{8}, got [0-9a-f]{8}; the file is damaged$/,
    );
  });

  test('a header changed from [2,3] to [3,2] fails the checksum', () => {
    const bytes = checkpointToBytes({ box: new Box(zeros([2, 3])) });
    const text = Buffer.from(bytes).toString('latin1');
    const damaged = Buffer.from(text.replace('"shape":[2,3]', '"shape":[3,2]'), 'latin1');
    expect(damaged.equals(bytes)).toBe(false);
    const box = new Box(1);
    expect(() => checkpointFromBytes(damaged, { box })).toThrow(
      /^loadCheckpoint: bytes: checksum: expected [0-9a-f]{8}, got [0-9a-f]{8}; the file is damaged$/,
    );
    expect(box.tree).toBe(1);
  });

  test.each([
    ['', 'it is no JSON; the file is damaged'],
    ['{"states":', 'it is no JSON; the file is damaged'],
    ['null', 'expected a record with the record states; the file is damaged'],
    ['{}', 'expected a record with the record states; the file is damaged'],
    ['[]', 'expected a record with the record states; the file is damaged'],
    ['5', 'expected a record with the record states; the file is damaged'],
    ['{"__proto__":{"states":{}}}', 'expected a record with the record states; the file is damaged'],
    ['{"states":null}', 'expected a record with the record states; the file is damaged'],
    ['{"states":[]}', 'expected a record with the record states; the file is damaged'],
    [
      `{"states":{"box":${'['.repeat(30_000)}${']'.repeat(30_000)},${GENERATOR}}}`,
      'it is nested more than 1000 levels deep; the file is damaged',
    ],
    [
      `{"states":{"box":${'{"a":'.repeat(30_000)}1${'}'.repeat(30_000)},${GENERATOR}}}`,
      'it is nested more than 1000 levels deep; the file is damaged',
    ],
    [
      `{"states":{"box":1,${GENERATOR}},"extra":${'['.repeat(30_000)}${']'.repeat(30_000)}}`,
      'it is nested more than 1000 levels deep; the file is damaged',
    ],
    [`{"states":{"box":{"$tensor":"w"},${GENERATOR}}}`, 'there is no tensor "w"; the file is damaged'],
    [`{"states":{"box":{"$tensor":[[1]]},${GENERATOR}}}`, 'there is no tensor an array; the file is damaged'],
    [`{"states":{"box":1,${GENERATOR}},"extra":{"$tensor":"w"}}`, 'there is no tensor "w"; the file is damaged'],
    [`{"states":{"box":{"$number":"12"},${GENERATOR}}}`, '$number is "12"; the file is damaged'],
    [`{"states":{"box":{"$number":null},${GENERATOR}}}`, '$number is null; the file is damaged'],
    [`{"states":{"box":{"$number":"NaN","a":1},${GENERATOR}}}`, 'it has the key "$number"; the file is damaged'],
    [`{"states":{"box":{"$tensor":"w","a":1},${GENERATOR}}}`, 'it has the key "$tensor"; the file is damaged'],
    [`{"states":{"box":{"$x":1},${GENERATOR}}}`, 'it has the key "$x"; the file is damaged'],
  ])('a file with a state that nothing writes, case %#', (text, problem) => {
    const box = new Box(7);
    const before = memory().tensors;
    expect(() => checkpointFromBytes(forgeCheckpoint(text), { box })).toThrow(
      new FileError(`loadCheckpoint: bytes: chainrule.state: ${problem}`),
    );
    expect([box.tree, memory().tensors]).toEqual([7, before]);
  });

  test('a file without the state of the generator, or with a tensor that no dtype can represent', () => {
    const box = new Box(7);
    expect(() => checkpointFromBytes(forgeCheckpoint('{"states":{"box":{"tree":1}}}'), { box })).toThrow(
      new FileError('loadCheckpoint: bytes: states: there is no chainrule.generator; the file is damaged'),
    );
    const header = JSON.stringify({
      x: { dtype: 'F8_E4M3', shape: [1], data_offsets: [0, 1] },
      __metadata__: { 'chainrule.checkpoint': '1', 'chainrule.state': '{"states":{}}', 'chainrule.crc32': '00000000' },
    });
    const bytes = new Uint8Array(8 + header.length + 1);
    new DataView(bytes.buffer).setBigUint64(0, BigInt(header.length), true);
    bytes.set(new TextEncoder().encode(header), 8);
    expect(() => checkpointFromBytes(bytes, { box })).toThrow(/^loadCheckpoint: bytes: x: dtype F8_E4M3 is not supported/);
    expect(box.tree).toBe(7);
  });

  test('a tensor that states refer to many times takes the memory of one', () => {
    const array: ArrayData = { data: new Float32Array(2 ** 16), shape: [2 ** 16], dtype: 'float32' };
    const references = Array<string>(2000).fill('{"$tensor":"w"}').join();
    const bytes = forgeCheckpoint(`{"states":{"a":{"list":[${references}]},${GENERATOR}}}`, [['w', array]]);
    const before = memory();
    let held = 0;
    const a: Stateful = {
      stateDict: () => ({}),
      loadStateDict: ({ list }: { list: Tensor[] }) => {
        expect([list.length, list[1999]!.shape]).toEqual([2000, [2 ** 16]]);
        held = memory().bytes - before.bytes;
      },
    };
    checkpointFromBytes(bytes, { a });
    expect(held).toBe(2 ** 18);
    expect(memory()).toMatchObject({ bytes: before.bytes, tensors: before.tensors });
  });

  test('a scheduler’s state with a foreign key is refused, and the states before it are rolled back', () => {
    const make = () => {
      const optimizer = new optim.SGD([tensor([1], { requiresGrad: true })], { lr: 0.5 });
      return { scheduler: new optim.ReduceLROnPlateau(optimizer), box: new Box(1) };
    };
    const saved = make();
    saved.scheduler.step(3);
    const text = JSON.stringify({
      states: {
        box: { tree: 2 },
        scheduler: { ...saved.scheduler.stateDict(), extra: { $tensor: 'w' } },
        'chainrule.generator': { seed: 0, draws: 0 },
      },
    });
    const { scheduler, box } = make();
    scheduler.step(5);
    const before = { ...scheduler.stateDict() };
    const bytes = forgeCheckpoint(text, [['w', { data: Float32Array.of(1), shape: [1], dtype: 'float32' }]]);
    expect(() => checkpointFromBytes(bytes, { box, scheduler })).toThrow(
      new FileError(
        "loadCheckpoint: bytes: scheduler: loadStateDict: the state does not fit ReduceLROnPlateau: it has 'extra', which is no part " +
          'of it (nothing was changed)',
      ),
    );
    expect([scheduler.stateDict(), box.tree]).toEqual([before, 1]);
  });

  test('errors of other realms and of several lines are told in one line', () => {
    saveCheckpoint(file, { a: new Box(1), b: new Box(2) });
    let failing = true;
    const b: Stateful = {
      stateDict: () => ({}),
      loadStateDict: () => {
        if (failing) throw vm.runInNewContext("new RangeError('no room\\nat all')");
      },
    };
    const a: Stateful = {
      stateDict: () => ({}),
      loadStateDict: () => {
        failing = true;
      },
    };
    expect(() => loadCheckpoint(file, { a, b })).toThrow(failure('b: no room (b could not be put back)'));
  });

  test('what is no record of objects with a state throws', () => {
    for (const [record, got] of [
      [null, 'null'],
      [[new Box()], 'an array'],
      ['model', 'a string'],
    ] as const) {
      const message = `expected a record such as { model, optimizer }, got ${got}`;
      expect(() => saveCheckpoint(file, record as never)).toThrow(new ArgumentError(`saveCheckpoint: ${message}`));
      expect(() => checkpointFromBytes(new Uint8Array(9), record as never)).toThrow(new ArgumentError(`loadCheckpoint: ${message}`));
    }
    expect(() => saveCheckpoint(file, { 'chainrule.generator': new Box() })).toThrow(
      new ArgumentError('saveCheckpoint: the name chainrule.generator is reserved'),
    );
    expect(() => loadCheckpoint(file, {}, { stric: false } as object)).toThrow(
      new ArgumentError("loadCheckpoint: unknown option 'stric'; the options are strict"),
    );
  });

  test('a tree as deep as can be read is saved; a deeper one is refused', () => {
    const nested = (depth: number, leaf: unknown = tensor([1])): unknown => {
      let tree = leaf;
      for (let d = 0; d < depth; d++) tree = [tree];
      return tree;
    };
    const box = new Box();
    // Box adds a level.
    checkpointFromBytes(checkpointToBytes({ box: new Box(nested(999)) }), { box });
    expect(seen(box.tree)).toEqual(seen(nested(999)));
    expect(() => checkpointToBytes({ box: new Box(nested(1000)) })).toThrow(
      new ArgumentError(`saveCheckpoint: ${`box.tree${'.0'.repeat(30)}`.slice(0, 40)}…: it is nested more than 1000 levels deep`),
    );
    expect(() => checkpointToBytes({}, nested(30_000, 1))).toThrow(ArgumentError);
  });

  test('records of another realm are saved', () => {
    const box = new Box();
    checkpointFromBytes(checkpointToBytes({ box: new Box(vm.runInNewContext("({ a: [1, { b: 'c' }] })")) }), { box });
    expect(box.tree).toEqual({ a: [1, { b: 'c' }] });
  });

  test('values that cannot be saved throw; the old file stays', () => {
    saveCheckpoint(file, { box: new Box(1) });
    const old = fs.readFileSync(file);
    const cyclic: Record<string, unknown> = {};
    cyclic.self = [cyclic];
    const gone = tensor([1, 2]);
    gone.dispose();
    const kinds = 'expected a tensor, a record, an array or a JSON value, got';
    for (const [tree, message] of [
      [{ f: () => 0 }, `saveCheckpoint: box.tree.f: ${kinds} a function`],
      [[1, undefined], `saveCheckpoint: box.tree.1: ${kinds} undefined`],
      [[1n], `saveCheckpoint: box.tree.0: ${kinds} a bigint`],
      [new Map(), `saveCheckpoint: box.tree: ${kinds} a Map`],
      [new Float32Array(2), `saveCheckpoint: box.tree: ${kinds} a Float32Array`],
      [cyclic, 'saveCheckpoint: box.tree.self.0: it contains itself'],
    ] as const) {
      expect(() => saveCheckpoint(file, { box: new Box(tree) })).toThrow(new ArgumentError(message));
    }
    expect(() => saveCheckpoint(file, { box: new Box(gone) })).toThrow('a tensor [2] was freed by dispose()');
    expect(() => saveCheckpoint(file, {}, { t: tensor([1]) })).toThrow(
      new ArgumentError('saveCheckpoint: extra.t: a tensor cannot be part of extra; put it into a state, or use toArray()'),
    );
    for (const [scheduler, got] of [
      [undefined, 'undefined'],
      [null, 'null'],
      [Object.create(null), 'a record'],
      [{ stateDict: () => ({}) }, 'a Object'],
      [{ loadStateDict: () => {} }, 'a Object'],
    ] as [Stateful, string][]) {
      const message = `scheduler: expected something with stateDict() and loadStateDict(), got ${got}`;
      expect(() => saveCheckpoint(file, { scheduler })).toThrow(new ArgumentError(`saveCheckpoint: ${message}`));
      expect(() => loadCheckpoint(file, { scheduler })).toThrow(new ArgumentError(`loadCheckpoint: ${message}`));
    }
    expect(fs.readFileSync(file)).toEqual(old);
  });
});
