import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ArgumentError, FileError, ShapeError, ones, tensor, zeros } from 'chainrule';
import { SummaryWriter } from 'chainrule/interop';
import { PNG } from 'pngjs';
import protobuf from 'protobufjs';
import { afterAll, describe, expect, test } from 'vitest';
import { fullDisk } from '../support/full-disk.ts';

// TensorBoard's event files, read back by protobufjs, pngjs and a check of our own for each record.

const folder = mkdtempSync(join(tmpdir(), 'events-'));
afterAll(() => rmSync(folder, { recursive: true }));

/** TensorFlow's messages, as far as they are written here: tensorflow/core/util/event.proto and the files that it imports. */
const { root } = protobuf.parse(`
  syntax = "proto3";
  message Event {
    double wall_time = 1; int64 step = 2;
    oneof what { string file_version = 3; Summary summary = 5; SessionLog session_log = 7; }
  }
  message SessionLog { enum Status { UNSPECIFIED = 0; START = 1; } Status status = 1; }
  message Summary {
    message Image { int32 height = 1; int32 width = 2; int32 colorspace = 3; bytes encoded_image_string = 4; }
    message Value {
      string tag = 1; SummaryMetadata metadata = 9;
      oneof value { float simple_value = 2; Image image = 4; HistogramProto histo = 5; TensorProto tensor = 8; }
    }
    repeated Value value = 1;
  }
  message SummaryMetadata { message PluginData { string plugin_name = 1; bytes content = 2; } PluginData plugin_data = 1; }
  message HistogramProto {
    double min = 1; double max = 2; double num = 3; double sum = 4; double sum_squares = 5;
    repeated double bucket_limit = 6 [packed = true]; repeated double bucket = 7 [packed = true];
  }
  message TensorProto { int32 dtype = 1; TensorShapeProto tensor_shape = 2; repeated bytes string_val = 8; }
  message TensorShapeProto { message Dim { int64 size = 1; } repeated Dim dim = 2; }
`);
const Event = root.lookupType('Event');

interface Value {
  readonly tag: string;
  readonly simpleValue?: number;
  readonly image?: {
    readonly height: number;
    readonly width: number;
    readonly colorspace: number;
    readonly encodedImageString: Uint8Array;
  };
  readonly histo?: Readonly<Record<'min' | 'max' | 'num' | 'sum' | 'sumSquares', number>> & {
    readonly bucketLimit: number[];
    readonly bucket: number[];
  };
  readonly tensor?: { readonly dtype: number; readonly tensorShape: object; readonly stringVal: Uint8Array[] };
  readonly metadata?: { readonly pluginData: { readonly pluginName: string } };
}

interface ReadEvent {
  readonly wallTime: number;
  readonly step?: number;
  readonly fileVersion?: string;
  readonly summary?: { readonly value: readonly Value[] };
  readonly sessionLog?: { readonly status: number };
}

/** The masked CRC-32C of TFRecord, bit by bit. */
function maskedCheck(bytes: Uint8Array): number {
  let crc = 0xffffffff;
  for (const byte of bytes) {
    crc ^= byte;
    for (let bit = 0; bit < 8; bit++) crc = crc & 1 ? (crc >>> 1) ^ 0x82f63b78 : crc >>> 1;
  }
  crc = ~crc >>> 0;
  return (((crc >>> 15) | (crc << 17)) + 0xa282ead8) >>> 0;
}

/** Returns the events of a file up to the first record that is cut. Throws for a wrong check. */
function eventsIn(file: Uint8Array): ReadEvent[] {
  const view = new DataView(file.buffer, file.byteOffset, file.byteLength);
  const events: ReadEvent[] = [];
  for (let at = 0; at + 12 <= file.length; ) {
    const length = Number(view.getBigUint64(at, true));
    if (at + 16 + length > file.length) break;
    const data = file.subarray(at + 12, at + 12 + length);
    expect(view.getUint32(at + 8, true)).toBe(maskedCheck(file.subarray(at, at + 8)));
    expect(view.getUint32(at + 12 + length, true)).toBe(maskedCheck(data));
    events.push(Event.toObject(Event.decode(data), { longs: Number }) as ReadEvent);
    at += 16 + length;
  }
  return events;
}

/** Runs `act` with a writer in a new folder and returns the events, the first of which must be the version's. */
function written(act: (writer: SummaryWriter) => void, options?: { purgeStep: number }): ReadEvent[] {
  const writer = new SummaryWriter(mkdtempSync(join(folder, 'run-')), options);
  act(writer);
  writer.close();
  const [version, ...events] = eventsIn(readFileSync(writer.path));
  expect(version).toMatchObject({ fileVersion: 'brain.Event:2' });
  return events;
}

const valueOf = (event: ReadEvent): Value => event.summary!.value[0]!;

test('the check of RFC 3720, and that of an empty record', () => {
  // Appendix B.4: 32 bytes of zeros have the CRC-32C 0x8a9136aa.
  const crc = 0x8a9136aa;
  expect(maskedCheck(new Uint8Array(32))).toBe((((crc >>> 15) | (crc << 17)) + 0xa282ead8) >>> 0);
});

test('scalars, also of a tensor, NaN and a given time', () => {
  const events = written((w) => {
    w.addScalar('loss/train', 0.5, 3, { wallTime: 1234.5 });
    w.addScalar('loss/train', tensor(0.25), 2 ** 40);
    w.addScalar('loss/train', NaN, 5);
  });
  expect(events.map((e) => [e.step, valueOf(e).tag, valueOf(e).simpleValue])).toEqual([
    [3, 'loss/train', 0.5],
    [2 ** 40, 'loss/train', 0.25],
    [5, 'loss/train', NaN],
  ]);
  expect(events[0]!.wallTime).toBe(1234.5);
  expect(Math.abs(events[1]!.wallTime - Date.now() / 1000)).toBeLessThan(600);
});

test('a histogram counts every element in a bucket that holds it', () => {
  const data = [-1e30, -2, -2, 0, 1e-15, 0.5, 3, 1e25];
  const [event] = written((w) => w.addHistogram('weights', tensor(data, { dtype: 'float64' }), 1));
  const { histo } = valueOf(event!);
  expect(histo).toMatchObject({ min: -1e30, max: 1e25, num: 8 });
  expect(histo!.sum).toBe(data.reduce((a, b) => a + b));
  expect(histo!.sumSquares).toBe(data.reduce((a, b) => a + b * b, 0));
  const { bucket, bucketLimit } = histo!;
  expect(bucket.reduce((a, b) => a + b)).toBe(8);
  const inBucket = (i: number): number => data.filter((v) => v < bucketLimit[i]! && (i === 0 || v >= bucketLimit[i - 1]!)).length;
  expect(bucketLimit.map((_, i) => inBucket(i))).toEqual(bucket);
  expect(bucketLimit).toEqual([...bucketLimit].sort((a, b) => a - b));
});

test('images of floats and integers, in each order of dims', () => {
  const color = tensor([[[1, 0]], [[0, 0.5]], [[2, -1]]]);
  const events = written((w) => {
    w.addImage('chw', color, 0);
    w.addImage('hwc', color.permute([1, 2, 0]), 0, { dataFormat: 'HWC' });
    w.addImage('hw', tensor([[0, 255, 300]], { dtype: 'int32' }), 0, { dataFormat: 'HW' });
    w.addImage('alpha', zeros([4, 1, 1]), 0);
  });
  const images = events.map((e) => valueOf(e).image!);
  const pixels = images.map((image) => [...PNG.sync.read(Buffer.from(image.encodedImageString)).data]);
  expect(pixels[0]).toEqual([255, 0, 255, 255, 0, 128, 0, 255]);
  expect(pixels[1]).toEqual(pixels[0]);
  expect(pixels[2]).toEqual([0, 0, 0, 255, 255, 255, 255, 255, 255, 255, 255, 255]);
  expect(pixels[3]).toEqual([0, 0, 0, 0]);
  expect(images.map(({ height, width, colorspace }) => [height, width, colorspace])).toEqual([
    [1, 2, 3],
    [1, 2, 3],
    [1, 3, 1],
    [1, 1, 4],
  ]);
});

test('texts are tensors of the plugin for texts', () => {
  const [event] = written((w) => w.addText('notes', 'a **bold** idea, ä', 7));
  const value = valueOf(event!);
  expect([event!.step, value.tag, value.metadata!.pluginData.pluginName]).toEqual([7, 'notes/text_summary', 'text']);
  expect(value.tensor).toMatchObject({ dtype: 7, tensorShape: { dim: [{ size: 1 }] } });
  expect(Buffer.from(value.tensor!.stringVal[0]!).toString()).toBe('a **bold** idea, ä');
});

test('a resumed run discards the steps that it repeats', () => {
  const [start] = written(() => {}, { purgeStep: 40 });
  expect(start).toMatchObject({ step: 40, sessionLog: { status: 1 } });
});

test('two writers of a folder have files of their own, in a folder that is made', () => {
  const dir = join(folder, 'a/b/c');
  const writers = [new SummaryWriter(dir), new SummaryWriter(dir)];
  expect(readdirSync(dir).sort()).toEqual(writers.map((w) => w.path.slice(dir.length + 1)).sort());
  for (const w of writers) w[Symbol.dispose]();
});

test('what was added before a kill is whole; a record cut by a crash ends the file for a reader', () => {
  const dir = join(folder, 'killed');
  const program = `
    import { SummaryWriter } from '${new URL('../../src/interop/index.ts', import.meta.url).href}';
    const writer = new SummaryWriter(${JSON.stringify(dir)});
    for (let i = 0; i < 100; i++) writer.addScalar('x', i, i);
    process.kill(process.pid, 'SIGKILL');`;
  const { signal } = spawnSync(process.execPath, ['--import', 'tsx', '--input-type=module', '-e', program]);
  expect(signal).toBe('SIGKILL');
  const file = readFileSync(join(dir, readdirSync(dir)[0]!));
  expect(
    eventsIn(file)
      .slice(1)
      .map((e) => valueOf(e).simpleValue),
  ).toEqual(Array.from({ length: 100 }, (_, i) => i)); // prettier-ignore
  for (let cut = file.length - 30; cut < file.length; cut++) expect(eventsIn(file.subarray(0, cut))).toHaveLength(100);
});

describe('what is wrong is refused by name, and nothing is written', () => {
  const writer = new SummaryWriter(join(folder, 'refusals'));
  const size = (): number => readFileSync(writer.path).length;
  test.each([
    [
      'a text for a number',
      () => writer.addScalar('x', '1' as never, 0),
      ArgumentError,
      'addScalar: the value must be a number or a tensor of one element',
    ],
    ['a fractional step', () => writer.addScalar('x', 1, 0.5), ArgumentError, 'addScalar: the step must be an integer from 0 on, got 0.5'],
    [
      'no step',
      () => writer.addScalar('x', 1, undefined as never),
      ArgumentError,
      'addScalar: the step must be an integer from 0 on, got undefined',
    ],
    ['no tag', () => writer.addScalar('', 1, 0), ArgumentError, 'addScalar: the tag must be a text that is not empty, got an empty one'],
    [
      'several elements for a scalar',
      () => writer.addScalar('x', ones([2]), 0),
      ArgumentError,
      'addScalar: the value must be a number or a tensor of one element, got one of shape [2]',
    ],
    [
      'a misspelt option',
      () => writer.addScalar('x', 1, 0, { walltime: 1 } as never),
      ArgumentError,
      "addScalar: unknown option 'walltime'; the options are wallTime",
    ],
    [
      'a time before 1970',
      () => writer.addScalar('x', 1, 0, { wallTime: -1 }),
      ArgumentError,
      'addScalar: wallTime must be seconds since 1970, got -1',
    ],
    ['no elements', () => writer.addHistogram('x', zeros([0]), 0), ArgumentError, 'addHistogram: values has no elements (shape [0])'],
    [
      'NaN in a histogram',
      () => writer.addHistogram('x', tensor([1, NaN]), 0),
      ArgumentError,
      'addHistogram: expected finite values, got NaN at element 1',
    ],
    ['two dims', () => writer.addImage('x', ones([2, 2]), 0), ShapeError, 'addImage: expected 3 dims (CHW), got 2 (shape [2,2])'],
    [
      'two channels',
      () => writer.addImage('x', ones([2, 2, 2]), 0),
      ShapeError,
      'addImage: expected 1, 3 or 4 channels, got 2 (shape [2,2,2], dataFormat CHW)',
    ],
    [
      'another order',
      () => writer.addImage('x', ones([1, 2, 2]), 0, { dataFormat: 'NCHW' as never }),
      ArgumentError,
      "addImage: dataFormat must be CHW, HWC or HW, got 'NCHW'",
    ],
    ['a number for a text', () => writer.addText('x', 1 as never, 0), ArgumentError, 'addText: expected a text, got a number'],
  ] as const)('%s', (_, act, kind, message) => {
    const before = size();
    expect(act).toThrow(message);
    expect(act).toThrow(kind);
    expect(size()).toBe(before);
  });

  test.each<[name: string, add: (writer: SummaryWriter) => void, message: string]>([
    [
      'a tag that has no text',
      (w) => w.addScalar(Symbol('a') as never, 1, 1),
      'addScalar: the tag must be a text that is not empty, got a symbol',
    ],
    [
      'such a tag of a text',
      (w) => w.addText(Object.create(null) as never, 'x', 1),
      'addText: the tag must be a text that is not empty, got an object',
    ],
    [
      'a time that is a text',
      (w) => w.addScalar('a', 1, 1, { wallTime: '7' as never }),
      "addScalar: wallTime must be seconds since 1970, got '7'",
    ],
    [
      'a time that is a bigint',
      (w) => w.addScalar('a', 1, 1, { wallTime: 7n as never }),
      'addScalar: wallTime must be seconds since 1970, got 7',
    ],
  ])('%s', (_, add, message) => {
    const writer = new SummaryWriter(folder);
    expect(() => add(writer)).toThrow(message);
    expect(() => add(writer)).toThrow(ArgumentError);
    writer.close();
  });

  test('a closed writer', () => {
    const closed = new SummaryWriter(join(folder, 'closed'));
    closed.close();
    closed.close();
    expect(() => closed.addScalar('x', 1, 0)).toThrow(`addScalar: the writer of ${closed.path} is closed`);
    expect(() => closed.flush()).toThrow('is closed');
  });

  test('a full disk: what was added before stays readable, and so does what is added when there is room', () => {
    const own = new SummaryWriter(join(folder, 'full'));
    own.addScalar('a', 1, 1);
    const makeRoom = fullDisk(20);
    expect(() => own.addScalar('a', 2, 2)).toThrow(new FileError(`SummaryWriter: cannot write ${own.path} (ENOSPC)`));
    makeRoom();
    own.addScalar('a', 3, 3);
    own.close();
    expect(eventsIn(readFileSync(own.path)).map((e) => e.step ?? 0)).toEqual([0, 1, 3]);
    const again = fullDisk(20);
    expect(() => new SummaryWriter(join(folder, 'none'))).toThrow(FileError);
    again();
    expect(readdirSync(join(folder, 'none'))).toEqual([]);
  });

  test('a folder below a file', () => {
    expect(() => new SummaryWriter(join(writer.path, 'sub'))).toThrow(FileError);
    expect(() => new SummaryWriter(join(writer.path, 'sub'))).toThrow(/^SummaryWriter: cannot write .+ \(ENOTDIR\)$/);
  });
});
