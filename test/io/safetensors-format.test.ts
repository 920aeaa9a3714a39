import vm from 'node:vm';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { ArrayData } from '../../src/core/array-data.ts';
import { type DType, newArray } from '../../src/core/dtype.ts';
import { ArgumentError, FileError } from '../../src/core/errors.ts';
import { decodeSafetensors, encodeSafetensors } from '../../src/io/safetensors-format.ts';

/** Builds a file from its header's text and its data bytes. */
function file(header: string | Uint8Array, data: ArrayLike<number> = []): Uint8Array {
  const text = typeof header === 'string' ? new TextEncoder().encode(header) : header;
  const bytes = new Uint8Array(8 + text.length + data.length);
  new DataView(bytes.buffer).setBigUint64(0, BigInt(text.length), true);
  bytes.set(text, 8);
  bytes.set(Uint8Array.from(data), 8 + text.length);
  return bytes;
}

const one = (dtype: string, shape: string, span: number) => `{"x":{"dtype":"${dtype}","shape":${shape},"data_offsets":[0,${span}]}}`;

const read = (bytes: Uint8Array) => decodeSafetensors(bytes, 'm.safetensors');

/** Decodes a file with one entry of the given stored type. */
const readOne = (dtype: string, data: ArrayLike<number>, count = 1) =>
  read(file(one(dtype, `[${count}]`, data.length), data)).entries.get('x')!;

describe('encode', () => {
  test('lays out the bytes as the format specifies', () => {
    const bytes = encodeSafetensors(
      [
        ['b', { data: Uint8Array.of(1), shape: [], dtype: 'bool' }],
        ['w', { data: Float32Array.of(1, -2), shape: [2, 1], dtype: 'float32' }],
        ['n', { data: Int32Array.of(-3), shape: [], dtype: 'int32', storeAs: 'I64' }],
      ],
      [['format', 'pt']],
    );
    const header =
      '{"__metadata__":{"format":"pt"},"b":{"dtype":"BOOL","shape":[],"data_offsets":[16,17]},' +
      '"w":{"dtype":"F32","shape":[2,1],"data_offsets":[8,16]},"n":{"dtype":"I64","shape":[],"data_offsets":[0,8]}}';
    const padded = header.padEnd(Math.ceil(header.length / 8) * 8);
    expect(bytes).toEqual(file(padded, [253, 255, 255, 255, 255, 255, 255, 255, 0, 0, 128, 63, 0, 0, 0, 192, 1]));
    expect((bytes.length - 17) % 8).toBe(0);
  });

  test('an empty file is valid', () => {
    const bytes = encodeSafetensors([]);
    expect(bytes).toEqual(file('{}      '));
    expect(read(bytes)).toEqual({ entries: new Map(), metadata: new Map(), skipped: new Map() });
  });

  const ok: ArrayData = { data: Float32Array.of(1), shape: [1], dtype: 'float32' };
  test.each([
    [
      [
        ['a', ok],
        ['a', ok],
      ],
      'encodeSafetensors: name "a" appears twice',
    ],
    [[['__metadata__', ok]], 'encodeSafetensors: name "__metadata__" is reserved'],
    [[['\ud800', ok]], 'encodeSafetensors: "\\ud800" is no Unicode text'],
    [[['a', { ...ok, shape: [2] }]], 'encodeSafetensors: a: float32 [2] needs 2 elements in Float32Array, got 1 in Float32Array'],
    [[['a', { ...ok, dtype: 'int32' }]], 'encodeSafetensors: a: int32 [1] needs 1 elements in Int32Array, got 1 in Float32Array'],
    [[['a', { ...ok, data: [1] as never }]], 'encodeSafetensors: a: float32 [1] needs 1 elements in Float32Array, got 1 in an array'],
    [[['a', { data: Uint8Array.of(2), shape: [1], dtype: 'bool' }]], 'encodeSafetensors: a: element 0: expected 0 or 1, got 2'],
    [
      [['a', { ...ok, data: undefined as never }]],
      'encodeSafetensors: a: float32 [1] needs 1 elements in Float32Array, got undefined in undefined',
    ],
    [[[5 as never, ok]], 'encodeSafetensors: a name must be a text, got a number; write String(value)'],
    [[['a', { ...ok, storeAs: 'I64' }]], 'encodeSafetensors: a: only int32 can be stored as I64, got float32'],
  ] as [[string, ArrayData][], string][])('refuses, case %#', (entries, message) => {
    expect(() => encodeSafetensors(entries)).toThrow(new ArgumentError(message));
  });

  test('rejects a metadata value that is no text: no reader would accept the file', () => {
    for (const [value, got] of [
      [5, 'a number'],
      [null, 'null'],
      [true, 'a boolean'],
      [{ a: 1 }, 'an object'],
    ] as const) {
      expect(() => encodeSafetensors([], [['step', value as never]])).toThrow(
        new ArgumentError(`encodeSafetensors: metadata "step" must be a text, got ${got}; write String(value)`),
      );
    }
  });

  test('rejects a dtype and a shape that are none, and a metadata key that is no text', () => {
    expect(() => encodeSafetensors([['a', { ...ok, dtype: 'float16' as never }]])).toThrow(/^encodeSafetensors: .*float16/);
    expect(() => encodeSafetensors([['a', { ...ok, shape: [-1] }]])).toThrow(/^encodeSafetensors: .*-1/);
    expect(() => encodeSafetensors([], [[5 as never, 'x']])).toThrow(
      new ArgumentError('encodeSafetensors: a name must be a text, got a number; write String(value)'),
    );
  });

  test('takes arrays of another realm', () => {
    const data: Float32Array = vm.runInNewContext('Float32Array.of(1, 2)');
    const array: ArrayData = { data, shape: [2], dtype: 'float32' };
    expect(read(encodeSafetensors([['a', array]])).entries.get('a')!.data).toEqual(Float32Array.of(1, 2));
  });

  test('rejects a duplicate metadata key', () => {
    expect(() =>
      encodeSafetensors(
        [],
        [
          ['k', '1'],
          ['k', '2'],
        ],
      ),
    ).toThrow(new ArgumentError('encodeSafetensors: name "k" appears twice'));
  });
});

describe('decode: types', () => {
  test('F16 becomes float32: zeros, subnormals, normals, infinities, NaN', () => {
    const halves = [0x0000, 0x8000, 0x0001, 0x83ff, 0x0400, 0x3c00, 0xc000, 0x7bff, 0x3555, 0x7c00, 0xfc00, 0x7e01];
    const x = readOne('F16', new Uint8Array(Uint16Array.from(halves).buffer), halves.length);
    expect(x.dtype).toBe('float32');
    expect([...x.data]).toEqual(
      [0, -0, 2 ** -24, -1023 * 2 ** -24, 2 ** -14, 1, -2, 65504, 0.333251953125, Infinity, -Infinity, NaN].map(Math.fround),
    );
  });

  test('BF16 becomes float32: the upper half of its bits', () => {
    const x = readOne('BF16', new Uint8Array(Uint16Array.of(0x3f80, 0xc049, 0x0001, 0x7f80, 0x8000).buffer), 5);
    expect(x).toEqual({ data: Float32Array.of(1, -3.140625, 2 ** -133, Infinity, -0), shape: [5], dtype: 'float32' });
  });

  test.each([
    ['I64', new BigInt64Array([-(2n ** 31n), 2n ** 31n - 1n, -1n]), [-(2 ** 31), 2 ** 31 - 1, -1]],
    ['U64', new BigUint64Array([7n, 2n ** 31n - 1n]), [7, 2 ** 31 - 1]],
    ['U32', Uint32Array.of(9), [9]],
    ['U16', Uint16Array.of(65535), [65535]],
    ['I16', Int16Array.of(-32768), [-32768]],
    ['U8', Uint8Array.of(0, 255), [0, 255]],
    ['I8', Int8Array.of(-128), [-128]],
  ] as const)('%s becomes int32', (type, values, expected) => {
    const x = readOne(type, new Uint8Array(values.buffer), values.length);
    expect(x).toEqual({ data: Int32Array.from(expected), shape: [values.length], dtype: 'int32' });
  });

  test.each([
    ['I64', new BigInt64Array([0n, 2n ** 31n]), 'x: element 1: I64 2147483648 does not fit int32'],
    ['I64', new BigInt64Array([-(2n ** 31n) - 1n]), 'x: element 0: I64 -2147483649 does not fit int32'],
    ['U64', new BigUint64Array([2n ** 63n]), 'x: element 0: U64 9223372036854776000 does not fit int32'],
    ['U32', Uint32Array.of(2 ** 31), 'x: element 0: U32 2147483648 does not fit int32'],
  ] as const)('a tensor of %s out of range is skipped; asked for by name, it throws', (type, values, message) => {
    const bytes = file(one(type, `[${values.length}]`, values.byteLength), new Uint8Array(values.buffer));
    expect(read(bytes)).toEqual({ entries: new Map(), metadata: new Map(), skipped: new Map([['x', message.slice(3)]]) });
    expect(() => decodeSafetensors(bytes, 'm.safetensors', { names: ['x'] })).toThrow(
      new FileError(`decodeSafetensors: m.safetensors: ${message}`),
    );
  });

  test('a bool other than 0 and 1 throws', () => {
    for (const [values, at] of [
      [[1, 0, 2], 2],
      [[2, 0, 1], 0],
    ] as const)
      expect(() => readOne('BOOL', values, 3)).toThrow(
        new FileError(`decodeSafetensors: m.safetensors: x: element ${at}: expected 0 or 1, got 2`),
      );
  });

  test('types that no dtype can represent are skipped, and their spans are checked all the same', () => {
    const types: [string, number][] = [
      ['F8_E4M3', 4],
      ['F8_E5M2', 4],
      ['F8_E8M0', 4],
      ['F8_E4M3FNUZ', 4],
      ['F8_E5M2FNUZ', 4],
      ['F4', 2],
      ['F6_E2M3', 3],
      ['F6_E3M2', 3],
      ['C64', 32],
    ];
    const known = 'F32, F64, I32, BOOL, F16, BF16, U8, I8, U16, I16, U32, I64, U64';
    for (const [type, span] of types) {
      const text = `{"x":{"dtype":"${type}","shape":[4],"data_offsets":[4,${4 + span}]},"w":{"dtype":"F32","shape":[],"data_offsets":[0,4]}}`;
      const { entries, skipped } = read(file(text, [0, 0, 128, 63, ...Array<number>(span).fill(1)]));
      expect([...entries]).toEqual([['w', { data: Float32Array.of(1), shape: [], dtype: 'float32' }]]);
      expect([...skipped]).toEqual([['x', `dtype ${type} is not supported (expected ${known})`]]);
      expect(() => read(file(one(type, '[4]', span + 1), Array<number>(span + 1).fill(1)))).toThrow(
        new FileError(
          `decodeSafetensors: m.safetensors: x: ${type} [4] needs ${span} bytes, data_offsets [0,${span + 1}] span ${span + 1}`,
        ),
      );
    }
  });

  test('only the named tensors are decoded; a name that the file lacks throws', () => {
    const bytes = encodeSafetensors(
      ['a', 'b', '__proto__'].map((name, i) => [name, { data: Int32Array.of(i), shape: [], dtype: 'int32' }]),
    );
    const names = (...list: string[]) => [...decodeSafetensors(bytes, 'm.safetensors', { names: list }).entries.keys()];
    expect(names('__proto__', 'a')).toEqual(['a', '__proto__']);
    expect(names()).toEqual([]);
    expect(() => names('b', 'c', 'toString')).toThrow(
      new FileError('decodeSafetensors: m.safetensors: it does not have c, toString; it has a, b, __proto__'),
    );
  });

  test('takes bytes of any realm and view, and refuses what is no bytes', () => {
    const bytes = encodeSafetensors([['a', { data: Int32Array.of(7), shape: [], dtype: 'int32' }]]);
    const foreign: Uint8Array = vm.runInNewContext('n => new Uint8Array(n)')(bytes.length);
    foreign.set(bytes);
    for (const given of [foreign, Buffer.from(bytes), new DataView(bytes.buffer)]) {
      expect(read(given as Uint8Array).entries.get('a')!.data).toEqual(Int32Array.of(7));
    }
    expect(() => read(bytes.buffer as unknown as Uint8Array)).toThrow(
      new ArgumentError('decodeSafetensors: bytes must be a Uint8Array, got an ArrayBuffer; write new Uint8Array(buffer)'),
    );
  });

  test('elements need not be aligned, and the result shares no memory with the file', () => {
    const bytes = file(
      '{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},"b":{"dtype":"F32","shape":[],"data_offsets":[1,5]}}',
      [5, 0, 0, 128, 63],
    );
    const shifted = new Uint8Array(bytes.length + 3).subarray(3);
    shifted.set(bytes);
    const { entries } = read(shifted);
    shifted.fill(0);
    expect(entries.get('b')).toEqual({ data: Float32Array.of(1), shape: [], dtype: 'float32' });
  });
});

describe('decode: names', () => {
  test('preserves order and any name: __proto__, numbers, every Unicode text', () => {
    const names = ['z', '__proto__', '1', '0', '', 'é\n"\\', '\u{1f600}', 'constructor'];
    const bytes = encodeSafetensors(
      names.map((name, i) => [name, { data: Int32Array.of(i), shape: [], dtype: 'int32' }]),
      [
        ['__proto__', 'text'],
        ['0', ''],
      ],
    );
    const { entries, metadata } = read(bytes);
    expect([...entries.keys()]).toEqual(names);
    expect([...entries.values()].map(({ data }) => data[0])).toEqual(names.map((_, i) => i));
    expect([...metadata]).toEqual([
      ['__proto__', 'text'],
      ['0', ''],
    ]);
  });

  test('accepts what the reference implementation does: null as metadata, further keys in an entry', () => {
    const x = '"dtype":"U8","shape":[],"data_offsets":[0,1]';
    const expected = new Map([['x', { data: Int32Array.of(3), shape: [], dtype: 'int32' }]]);
    for (const header of [
      `{"__metadata__":null,"x":{${x}}}`,
      `{"x":{${x}},"__metadata__" : null }`,
      `{"x":{"comment":"a\\"}",${x}}}`,
      `{"x":{${x},"__proto__":[],"more":{"dtype":1,"dtype":[null,true,{"a":-1.5e+3}]},"more":false}}`,
      `{"x":{"deep":${'['.repeat(100)}${']'.repeat(100)},${x}}}`,
    ]) {
      expect(read(file(header, [3]))).toEqual({ entries: expected, metadata: new Map(), skipped: new Map() });
    }
  });

  test('accepts escapes and white space', () => {
    const header = ' { "\\u00e9\\t" :\n{"shape":[ ],\r"dtype":"U8", "data_offsets" : [ 0 , 1 ]\t} } '.trimStart();
    expect([...read(file(header, [3])).entries]).toEqual([['é\t', { data: Int32Array.of(3), shape: [], dtype: 'int32' }]]);
  });
});

describe('decode: rejects files that are not strictly valid', () => {
  const entry = '"dtype":"F32","shape":[1],"data_offsets":[0,4]';
  const x4 = [0, 0, 0, 0];
  test.each<[string, Uint8Array, string]>([
    ['no length', new Uint8Array(7), 'expected at least 8 bytes, got 7; the file is truncated'],
    ['a header beyond the file', file('{}').subarray(0, 9), 'header: expected 2 bytes, got 1; the file is truncated'],
    [
      'a header beyond the cap',
      Uint8Array.of(1, 225, 245, 5, 0, 0, 0, 0, 123),
      'header length: expected at most 100000000 bytes, got 100000001; this is no safetensors file',
    ],
    [
      'a header of the cap',
      Uint8Array.of(0, 225, 245, 5, 0, 0, 0, 0, 123),
      'header: expected 100000000 bytes, got 1; the file is truncated',
    ],
    ...[
      // As torch.save and as other programs write them.
      [80, 75, 3, 4, 0, 0, 8, 8, 0, 0],
      [80, 75, 3, 4, 20, 0, 0, 0, 8, 0],
      [80, 75, 3, 4, 0, 0, 0, 0, 0, 0],
    ].map((bytes, i): [string, Uint8Array, string] => [
      `a zip file, ${i}`,
      Uint8Array.from(bytes),
      'it is a zip file, no safetensors file; loadTorch of chainrule/interop reads those of torch.save',
    ]),
    [
      'a 64-bit header length',
      Uint8Array.of(0, 0, 0, 0, 0, 0, 0, 128),
      'header length: expected at most 100000000 bytes, got 9223372036854776000; this is no safetensors file',
    ],
    ['broken UTF-8', file(Uint8Array.of(123, 34, 255, 34, 125)), 'header: it is no UTF-8 text; the file is damaged'],
    ['a byte order mark', file('\ufeff{}'), 'header: expected \'{\' at character 0, got "\ufeff{}"'],
    ['leading space', file(' {}'), 'header: expected \'{\' at character 0, got " {}"'],
    ['nothing', file(''), "header: expected '{' at character 0, got the end"],
    ['an array', file('[]'), 'header: expected \'{\' at character 0, got "[]"'],
    ['text after the end', file('{}x'), 'header: expected the end at character 2, got "x"'],
    ['zeros after the end', file('{}\0'), 'header: expected the end at character 2, got "\\u0000"'],
    ['no end', file('{"a":{'), 'header: expected a string at character 6, got the end'],
    ['an open string', file('{"a'), 'header: string "a is no JSON'],
    ['a trailing comma', file(`{"a":{${entry}},}`, x4), 'header: expected a string at character 54, got "}"'],
    ['a raw control character', file('{"a\n":{}}'), 'header: string "a\n" is no JSON'],
    ['half a surrogate pair', file('{"\\ud83d":{}}'), 'header: string "\\ud83d" is no Unicode text'],
    ['a name twice', file(`{"a":{${entry}},"a":{${entry}}}`, x4), 'header: key "a" appears twice'],
    ['a name twice, once escaped', file(`{"a":{${entry}},"\\u0061":{${entry}}}`, x4), 'header: key "a" appears twice'],
    ['a key twice', file(`{"a":{${entry},"dtype":"F32"}}`, x4), 'header: key "dtype" appears twice'],
    ['metadata twice', file('{"__metadata__":{},"__metadata__":{}}'), 'header: key "__metadata__" appears twice'],
    ['metadata that is no text', file('{"__metadata__":{"a":1}}'), 'header: expected a string at character 21, got "1}}"'],
    ['null as an entry’s key', file('{"a":{null:1}}'), 'header: expected a string at character 6, got "null:1}}"'],
    ['an unknown value', file(`{"a":{${entry},"b":nulls}}`, x4), 'header: expected a value at character 57, got "nulls}}"'],
    ['01 as an unknown value', file(`{"a":{${entry},"b":01}}`, x4), 'header: expected a value at character 57, got "01}}"'],
    ['a lone minus', file(`{"a":{${entry},"b":-}}`, x4), 'header: expected a value at character 57, got "-}}"'],
    ['an unknown value that ends early', file(`{"a":{${entry},"b":[1,`, x4), 'header: expected a value at character 60, got the end'],
    [
      'an unknown value that is too deep',
      file(`{"a":{${entry},"b":${'['.repeat(200)}${']'.repeat(200)}}}`, x4),
      'header: values are nested more than 128 levels deep',
    ],
    ['a missing key', file('{"a":{"dtype":"F32","shape":[1]}}', x4), 'header: a: expected dtype, shape and two data_offsets'],
    [
      'one offset',
      file('{"a":{"dtype":"U8","shape":[1],"data_offsets":[1]}}', [0]),
      'header: a: expected dtype, shape and two data_offsets',
    ],
    ['null', file('{"a":null}'), 'header: expected \'{\' at character 5, got "null}"'],
    ['1.0', file(one('F32', '[1.0]', 4), x4), 'header: expected a whole number ≥ 0 written in digits, got 1.0'],
    ['1e2', file(one('F32', '[1e2]', 4), x4), 'header: expected a whole number ≥ 0 written in digits, got 1e2'],
    ['-0', file(one('F32', '[-0]', 0)), 'header: expected a whole number ≥ 0 written in digits, got -0'],
    ['01', file(one('F32', '[01]', 4), x4), 'header: expected a whole number ≥ 0 written in digits, got 01'],
    ['2^53 + 1', file(one('F32', '[9007199254740993]', 4), x4), 'header: number 9007199254740993 is above 2^53 − 1'],
    ['a text as number', file(one('F32', '["1"]', 4), x4), 'header: expected a whole number at character 29, got "\\"1\\"],\\"data_o"'],
    [
      'too many elements',
      file(one('F32', '[65536,65536]', 4), x4),
      'x: F32 [65536,65536] needs 17179869184 bytes, data_offsets [0,4] span 4',
    ],
    [
      'a product beyond all numbers',
      file(one('F32', `[${Array(40).fill('9007199254740991').join()}]`, 4), x4),
      `x: shape ${`[${Array(40).fill('9007199254740991').join()}]`.slice(0, 200)}… has more elements than a 64-bit integer can count`,
    ],
    [
      'a product that overflows before a zero',
      file(one('F32', '[4294967296,4294967296,0]', 0)),
      'x: shape [4294967296,4294967296,0] has more elements than a 64-bit integer can count',
    ],
    ['a span that does not fit', file(one('F32', '[2]', 4), x4), 'x: F32 [2] needs 8 bytes, data_offsets [0,4] span 4'],
    [
      'a span that does not fit, behind another tensor',
      file('{"w":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"x":{"dtype":"F32","shape":[2],"data_offsets":[4,8]}}', [...x4, ...x4]),
      'x: F32 [2] needs 8 bytes, data_offsets [4,8] span 4',
    ],
    ['a zero size with a span', file(one('F32', '[0,3]', 4), x4), 'x: F32 [0,3] needs 0 bytes, data_offsets [0,4] span 4'],
    [
      'an unknown type',
      file(one('F9', '[4]', 4), x4),
      'x: dtype F9 is unknown (expected F32, F64, I32, BOOL, F16, BF16, U8, I8, U16, I16, U32, I64, U64)',
    ],
    ['missing data', file(one('F32', '[1]', 4), [0, 0]), 'data: expected 4 bytes, got 2; the file is truncated'],
    ['bytes too many', file(one('F32', '[1]', 4), [0, 0, 0, 0, 0]), 'data: expected 4 bytes, got 5; the file has bytes too many'],
    [
      'a hole at the start',
      file('{"x":{"dtype":"U8","shape":[1],"data_offsets":[1,2]}}', [0, 0]),
      'x: data_offsets [1,2] must begin at 0, without hole or overlap',
    ],
    [
      'a hole',
      file('{"x":{"dtype":"U8","shape":[1],"data_offsets":[2,3]},"y":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}', [0, 0, 0]),
      'x: data_offsets [2,3] must begin at 1, without hole or overlap',
    ],
    [
      'an overlap',
      file('{"x":{"dtype":"U8","shape":[2],"data_offsets":[0,2]},"y":{"dtype":"U8","shape":[2],"data_offsets":[1,3]}}', [0, 0, 0]),
      'y: data_offsets [1,3] must begin at 2, without hole or overlap',
    ],
    [
      'an end before its begin',
      file('{"x":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},"y":{"dtype":"U8","shape":[0],"data_offsets":[1,0]}}', [0]),
      'y: data_offsets [1,0] must begin at 1, without hole or overlap',
    ],
  ])('%s', (_, bytes, message) => {
    expect(() => read(bytes)).toThrow(new FileError(`decodeSafetensors: m.safetensors: ${message}`));
  });

  test('a header whose length has the first bytes of a zip file is no zip file', () => {
    // 0x034b50 bytes.
    const bytes = file('{"__metadata__":{"k":"v"}}'.padEnd(215_888));
    expect(Array.from(bytes.subarray(0, 4))).toEqual([80, 75, 3, 0]);
    expect(read(bytes).metadata.get('k')).toBe('v');
  });

  test('errors name the function, and bytes without a file’s name', () => {
    expect(() => decodeSafetensors(new Uint8Array(7))).toThrow(
      new FileError('decodeSafetensors: bytes: expected at least 8 bytes, got 7; the file is truncated'),
    );
    expect(() => decodeSafetensors(file('{}'), 'f', { name: ['x'] } as never)).toThrow(
      new ArgumentError("decodeSafetensors: unknown option 'name'; the options are names"),
    );
  });

  test('a zero before the product overflows makes it 0, as in the reference implementation', () => {
    const { entries } = read(file(one('F32', '[0,4294967296,4294967296]', 0)));
    expect(entries.get('x')).toEqual({ data: new Float32Array(0), shape: [0, 4294967296, 4294967296], dtype: 'float32' });
  });

  test('more than 64 dims are skipped, and not written', () => {
    const shape = (n: number): number[] => Array<number>(n).fill(1);
    const { entries, skipped } = read(file(one('F32', JSON.stringify(shape(200_000)), 4), x4));
    expect([entries.size, ...skipped]).toEqual([0, ['x', 'it has 200000 dims, at most 64 are supported']]);
    const encode = (n: number) => encodeSafetensors([['x', { data: Float32Array.of(1), shape: shape(n), dtype: 'float32' }]]);
    expect(read(encode(64)).entries.get('x')!.shape).toEqual(shape(64));
    expect(() => encode(65)).toThrow(new ArgumentError('encodeSafetensors: x: it has 65 dims, at most 64 can be read'));
  });

  test('messages stay on one line and short, whatever a name holds', () => {
    const name = 'a\n\u001b[2J\u2028\u202e';
    const shown = 'a\\n\\u001b[2J\\u2028\\u202e';
    const bad = (key: string) => file(`{${JSON.stringify(key)}:{"dtype":"F32","shape":[2],"data_offsets":[0,4]}}`, x4);
    expect(() => read(bad(name))).toThrow(
      new FileError(`decodeSafetensors: m.safetensors: ${name}: F32 [2] needs 8 bytes, data_offsets [0,4] span 4`),
    );
    const messageOf = (act: () => unknown): string => {
      try {
        act();
      } catch (error) {
        return (error as Error).message;
      }
      return 'no error';
    };
    expect(messageOf(() => read(bad(name)))).toContain(`: ${shown}: F32`);
    expect(messageOf(() => read(bad('n'.repeat(1e6)))).length).toBeLessThan(400);
    expect(messageOf(() => encodeSafetensors([[name, { data: Float32Array.of(1), shape: [2], dtype: 'float32' }]]))).toBe(
      `encodeSafetensors: ${shown}: float32 [2] needs 2 elements in Float32Array, got 1 in Float32Array`,
    );
  });

  test('accepts long texts', () => {
    const long = 'ab"\\'.repeat(500_000);
    expect(read(encodeSafetensors([], [['k', long]])).metadata.get('k')).toBe(long);
    const number = file(one('F32', `[${'1'.repeat(2_000_000)}]`, 4));
    expect(() => read(number)).toThrow(
      new FileError(`decodeSafetensors: m.safetensors: header: number ${'1'.repeat(40)}… is above 2^53 − 1`),
    );
    expect(() => read(file('{"a":'.repeat(400_000)))).toThrow(FileError);
  });
});

describe('properties', () => {
  const array: fc.Arbitrary<ArrayData> = fc
    .tuple(
      fc.constantFrom<DType>('float32', 'float64', 'int32', 'bool'),
      fc.array(fc.nat(3), { maxLength: 4 }),
      fc.infiniteStream(fc.nat()),
    )
    .map(([dtype, shape, numbers]) => {
      const data = newArray(
        dtype,
        shape.reduce((a, b) => a * b, 1),
      );
      const bytes = new Uint8Array(data.buffer);
      for (let i = 0; i < bytes.length; i++) bytes[i] = numbers.next().value! & (dtype === 'bool' ? 1 : 255);
      return { data, shape, dtype };
    });
  const files = fc.tuple(
    fc.uniqueArray(
      fc.tuple(
        fc.string({ unit: 'binary' }).filter((name) => name !== '__metadata__'),
        array,
      ),
      { selector: ([name]) => name, maxLength: 6 },
    ),
    fc.uniqueArray(fc.tuple(fc.string({ unit: 'binary' }), fc.string({ unit: 'binary' })), { selector: ([key]) => key, maxLength: 3 }),
  );
  const bytesOf = ({ data }: ArrayData) => new Uint8Array(data.buffer, data.byteOffset, data.byteLength);

  test('a round trip is bitwise identical, also for NaNs', () => {
    fc.assert(
      fc.property(files, ([arrays, texts]) => {
        const { entries, metadata } = read(encodeSafetensors(arrays, texts));
        expect([...metadata]).toEqual(texts);
        expect([...entries].map(([name, { shape, dtype }]) => [name, shape, dtype])).toEqual(
          arrays.map(([name, { shape, dtype }]) => [name, shape, dtype]),
        );
        expect([...entries.values()].map(bytesOf)).toEqual(arrays.map(([, entry]) => bytesOf(entry)));
      }),
    );
  });

  test('a damaged file is read or throws a FileError, never another error', () => {
    const damage = fc.array(fc.tuple(fc.nat(), fc.nat(255)), { minLength: 1, maxLength: 8 });
    fc.assert(
      fc.property(files, damage, fc.nat(), ([arrays, texts], flips, cut) => {
        const bytes = encodeSafetensors(arrays, texts);
        for (const [at, value] of flips) bytes[at % bytes.length] = value;
        const part = cut % 4 === 0 ? bytes.subarray(0, cut % bytes.length) : bytes;
        try {
          read(part);
        } catch (error) {
          expect(error).toBeInstanceOf(FileError);
        }
      }),
      { numRuns: 2000 },
    );
  });
});
