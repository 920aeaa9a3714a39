import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ArgumentError, FileError, memory, ones, scope, tensor, zeros, type Tensor } from 'chainrule';
import { loadNpy, loadNpz, loadTorch, npyFromBytes, npyToBytes, npzFromBytes, npzToBytes, saveNpy, saveNpz } from 'chainrule/interop';
import fc from 'fast-check';
import { afterAll, describe, expect, test, vi } from 'vitest';

// NumPy's files: those that NumPy wrote (make-npy.py), our own, and damaged ones.

interface Fixtures {
  readonly npy: readonly { readonly name: string; readonly file: string; readonly shape: number[]; readonly values: string[] }[];
  readonly refused: Readonly<Record<string, string>>;
  readonly npz: Readonly<Record<string, string>>;
}

const fixtures = JSON.parse(readFileSync(new URL('../fixtures/npy.json', import.meta.url), 'utf8')) as Fixtures;
const bytesOf = (base64: string): Uint8Array => new Uint8Array(Buffer.from(base64, 'base64'));
const folder = mkdtempSync(join(tmpdir(), 'npy-'));
afterAll(() => rmSync(folder, { recursive: true }));

const numbersOf = (t: Tensor): number[] => Array.from(t.data());
/** Python prints `inf`. */
const number = (text: string): number => Number(text.replace('inf', 'Infinity'));

describe('files that NumPy wrote', () => {
  test.each(fixtures.npy)('$name', ({ file, shape, values }) => {
    const t = npyFromBytes(bytesOf(file));
    expect(t.shape).toEqual(shape);
    expect(t.isContiguous()).toBe(true);
    expect(numbersOf(t)).toEqual(values.map(number));
  });

  test.each([
    ['texts', "elements of type '<U2' are not supported (expected a number type: f2, f4, f8, i1, i2, i4, i8, u1, u2, u4, u8, b1)"],
    ['complex numbers', "elements of type '<c16' are not supported"],
    ['Python objects', 'Python objects are not supported'],
    ['structured', 'structured arrays are not supported; save each field as an array of its own'],
    ['large integers', 'element 0: I64 1099511627776 does not fit int32'],
  ])('%s are refused by name', (name, message) => {
    expect(() => npyFromBytes(bytesOf(fixtures.refused[name]!), 'x.npy')).toThrow(`npyFromBytes: x.npy: ${message}`);
  });

  test.each(['stored', 'compressed'])('a %s .npz', async (kind) => {
    const arrays = await npzFromBytes(bytesOf(fixtures.npz[kind]!));
    expect(Object.keys(arrays)).toEqual(['a', 'b/c', '__proto__', 'long']);
    expect(arrays.a!.toArray()).toEqual([
      [0, 0.25, 0.5],
      [0.75, 1, 1.25],
    ]);
    expect(numbersOf(arrays['b/c']!)).toEqual([-5, 2 ** 31 - 1]);
    expect(Object.getOwnPropertyDescriptor(arrays, '__proto__')!.value.dtype).toBe('bool');
    expect(arrays.long!.shape).toEqual([5000]);
  });

  test('a .npz without arrays', async () => {
    expect(await npzFromBytes(bytesOf(fixtures.npz.empty!))).toEqual({});
  });

  test('what cannot be represented is left out with a warning, and refused if it is asked for', async () => {
    const warn = vi.spyOn(console, 'warn').mockImplementation(() => {});
    const bytes = bytesOf(fixtures.npz['with texts']!);
    expect(Object.keys(await npzFromBytes(bytes, 'x.npz'))).toEqual(['a']);
    expect(warn.mock.calls[0]![0]).toMatch(/^npzFromBytes: x\.npz: left out names \(elements of type '<U1' are not supported/);
    warn.mockRestore();
    expect(Object.keys(await npzFromBytes(bytes, 'x.npz', { names: ['a'] }))).toEqual(['a']);
    await expect(npzFromBytes(bytes, 'x.npz', { names: ['names'] })).rejects.toThrow("npzFromBytes: x.npz: names: elements of type '<U1'");
    await expect(npzFromBytes(bytes, 'x.npz', { names: ['b'] })).rejects.toThrow('it does not have b; it has a, names');
  });
});

test('what is no .npy file in a .npz is left out with a warning', async () => {
  const bytes = bytesOf(fixtures.npz['with other files']!);
  const warn = vi.spyOn(console, 'warn').mockImplementation(() => {});
  const arrays = await npzFromBytes(bytes, 'x.npz');
  expect([Object.keys(arrays), arrays.a!.toArray()]).toEqual([['a'], [1, 2]]);
  expect(warn.mock.calls).toEqual([['npzFromBytes: x.npz: left out README.txt (no .npy file), a (no .npy file), folder/ (no .npy file)']]);
  warn.mockRestore();
  await expect(npzFromBytes(bytes, 'x.npz', { names: ['README.txt'] })).rejects.toThrow('it does not have README.txt; it has a');
});

describe('own files', () => {
  const dtypes = ['float32', 'float64', 'int32', 'bool'] as const;

  test('a name longer than a zip file can state is refused before anything is written', () => {
    const path = join(folder, 'long.npz');
    expect(() => saveNpz(path, { ['ü'.repeat(2 ** 15)]: ones([1]) })).toThrow(
      'saveNpz: a name has 65540 bytes with .npy, at most 65535 fit a zip file',
    );
    expect(() => readFileSync(path)).toThrow('ENOENT');
  });

  test.each(dtypes)('%s comes back, of any shape and strides', (dtype) => {
    fc.assert(
      fc.property(fc.array(fc.nat(4), { maxLength: 4 }), (shape) => {
        scope(() => {
          const t = ones(shape, { dtype: 'float64' })
            .cumsum(-1 * Math.min(1, shape.length))
            .to(dtype === 'bool' ? 'float64' : dtype);
          const source = dtype === 'bool' ? t.gt(2) : t;
          const turned = source.permute(shape.map((_, d) => shape.length - 1 - d));
          const back = npyFromBytes(npyToBytes(turned));
          expect([back.dtype, back.shape]).toEqual([dtype, turned.shape]);
          expect(back.toArray()).toEqual(turned.toArray());
        });
      }),
      { seed: 1, numRuns: 40 },
    );
  });

  test.each([false, true])('a .npz comes back, compressed: %s; equal tensors give equal bytes', async (compressed) => {
    const tensors = { w: ones([40, 50]), b: tensor([1, 2], { dtype: 'int32' }), 'ä/ö': zeros([0]) };
    const bytes = await npzToBytes(tensors, { compressed });
    expect(bytes.length < 1500).toBe(compressed);
    expect(await npzToBytes(tensors, { compressed })).toEqual(bytes);
    const back = await npzFromBytes(bytes);
    expect(Object.entries(back).map(([name, t]) => [name, t.dtype, t.toArray()])).toEqual(
      Object.entries(tensors).map(([name, t]) => [name, t.dtype, t.toArray()]),
    );
  });

  test('files by path', async () => {
    const t = tensor([[1, 2]]);
    saveNpy(join(folder, 'x.npy'), t);
    expect(loadNpy(join(folder, 'x.npy')).toArray()).toEqual([[1, 2]]);
    await saveNpz(join(folder, 'x.npz'), { t });
    expect((await loadNpz(join(folder, 'x.npz'))).t!.toArray()).toEqual([[1, 2]]);
    expect(() => loadNpy(join(folder, 'none.npy'))).toThrow(`folder ${folder} has no file none.npy`);
  });

  test('the tensors can be freed while the file is compressed', async () => {
    const t = ones([3]);
    const bytes = npzToBytes({ t }, { compressed: true });
    t.dispose();
    expect((await npzFromBytes(await bytes)).t!.toArray()).toEqual([1, 1, 1]);
  });

  const python = spawnSync('/usr/bin/python3', ['-c', 'import numpy']);

  test.skipIf(python.status !== 0)('NumPy reads them, where it is installed', async () => {
    const tensors = {
      f: tensor([[1.5, -2, 3]]),
      d: tensor([1 / 3], { dtype: 'float64' }),
      i: tensor([7, -7], { dtype: 'int32' }),
      b: tensor([1, 0], { dtype: 'bool' }),
      s: tensor(4),
    };
    await saveNpz(join(folder, 'all.npz'), tensors, { compressed: true });
    saveNpy(join(folder, 'f.npy'), tensors.f.transpose(0, 1));
    const program = `
import numpy as np, json
z = np.load('all.npz')
print(json.dumps([[k, str(z[k].dtype), list(z[k].shape), z[k].ravel().tolist()] for k in z.files] + [np.load('f.npy').tolist()]))`;
    const { stdout, stderr } = spawnSync('/usr/bin/python3', ['-c', program], { cwd: folder, encoding: 'utf8' });
    expect(stderr).toBe('');
    expect(JSON.parse(stdout)).toEqual([
      ['f', 'float32', [1, 3], [1.5, -2, 3]],
      ['d', 'float64', [1], [1 / 3]],
      ['i', 'int32', [2], [7, -7]],
      ['b', 'bool', [2], [true, false]],
      ['s', 'float32', [], [4]],
      [[1.5], [-2], [3]],
    ]);
  });
});

describe('damaged files', () => {
  const npy = bytesOf(fixtures.npy[1]!.file);
  const changed = (bytes: Uint8Array, at: number, value: number): Uint8Array => Object.assign(bytes.slice(), { [at]: value });

  test.each([
    ['empty', new Uint8Array(0), 'it does not begin with \\x93NUMPY; this is no .npy file'],
    ['cut in the header', npy.slice(0, 40), 'header: expected 118 bytes, got 30; the file is truncated'],
    ['cut in the data', npy.slice(0, -1), '<f4 [2,3] needs 24 bytes, got 23; the file is truncated'],
    ['longer', new Uint8Array([...npy, 0]), '<f4 [2,3] needs 24 bytes, got 25; the file has bytes too many'],
    ['of version 9', changed(npy, 6, 9), 'version 9.0 is not supported (expected 1.0, 2.0 or 3.0)'],
    ['without a dict', changed(npy, 10, 32), "header: expected {'descr': …, 'fortran_order': …, 'shape': …}, got "],
  ])('%s', (_, bytes, message) => {
    expect(() => npyFromBytes(bytes, 'x.npy')).toThrow(`npyFromBytes: x.npy: ${message}`);
    expect(() => npyFromBytes(bytes, 'x.npy')).toThrow(FileError);
  });

  test('any change of a .npy is read or throws a FileError', () => {
    fc.assert(
      fc.property(fc.nat(npy.length - 1), fc.nat(255), (at, value) => {
        scope(() => {
          try {
            npyFromBytes(changed(npy, at, value));
          } catch (error) {
            expect(error).toBeInstanceOf(FileError);
          }
        });
      }),
      { seed: 2, numRuns: 2000 },
    );
  });

  test('any change or cut of a .npz rejects with a FileError, or changes neither names nor values', async () => {
    const small = await npzToBytes({ a: tensor([1, 2, 3]), b: ones([100]) }, { compressed: true });
    const values = [
      ['a', [1, 2, 3]],
      ['b', Array<number>(100).fill(1)],
    ];
    const { tensors } = memory();
    let read = 0;
    await fc.assert(
      fc.asyncProperty(fc.nat(small.length - 1), fc.nat(255), fc.boolean(), async (at, value, cut) => {
        const bytes = cut ? small.slice(0, at) : changed(small, at, value);
        const arrays = await npzFromBytes(bytes).catch((error: unknown) => {
          expect(error).toBeInstanceOf(FileError);
          return null;
        });
        if (arrays === null) return;
        read++;
        expect(Object.entries(arrays).map(([name, t]) => [name, numbersOf(t)])).toEqual(values);
        for (const t of Object.values(arrays)) t.dispose();
      }),
      { seed: 3, numRuns: 500 },
    );
    expect(read).toBeGreaterThan(10);
    expect(memory().tensors).toBe(tensors);
  });

  test('a member that states a size no packed bytes can have is refused before memory is taken', async () => {
    const bytes = await npzToBytes({ b: ones([5000]) }, { compressed: true });
    const view = new DataView(bytes.buffer);
    const directory = view.getUint32(bytes.length - 6, true);
    view.setUint32(directory + 24, 0xfffffff0, true);
    await expect(npzFromBytes(bytes, 'x.npz')).rejects.toThrow(/^npzFromBytes: x\.npz: b\.npy: \d+ bytes cannot unpack to 4294967280$/);
  });

  /** The file of the arrays a and b, a view of it, and the positions of its two records in the directory. */
  const pair = async (): Promise<{ bytes: Uint8Array; view: DataView; a: number; b: number }> => {
    const bytes = await npzToBytes({ a: ones([50]), b: ones([50]) });
    const entry = Buffer.from([0x50, 0x4b, 1, 2]);
    const a = Buffer.from(bytes).indexOf(entry);
    const b = Buffer.from(bytes).indexOf(entry, a + 1);
    return { bytes, view: new DataView(bytes.buffer), a, b };
  };

  test('a member whose own header has another name', async () => {
    const { bytes } = await pair();
    bytes[30] = 'c'.charCodeAt(0);
    await expect(npzFromBytes(bytes, 'x.npz')).rejects.toThrow('x.npz: a.npy: its header has another name; the file is damaged');
  });

  test('members that share bytes, which would unpack to any length', async () => {
    const { bytes, view, a, b } = await pair();
    const shared = 'x.npz: a.npy and b.npy share bytes; the file is damaged';
    const length = view.getUint32(a + 20, true);
    for (const packed of [length + 1, view.getUint32(b + 42, true)]) {
      view.setUint32(a + 20, packed, true);
      await expect(npzFromBytes(bytes, 'x.npz')).rejects.toThrow(shared);
    }
  });

  test('a comment of the greatest length stands behind the directory', async () => {
    const { bytes } = await pair();
    const commented = new Uint8Array(bytes.length + 0xffff);
    commented.set(bytes);
    new DataView(commented.buffer).setUint16(bytes.length - 2, 0xffff, true);
    const arrays = await npzFromBytes(commented);
    expect(Object.keys(arrays)).toEqual(['a', 'b']);
    for (const t of Object.values(arrays)) t.dispose();
  });

  test('an empty array of a size that no tensor has', () => {
    const bytes = npyToBytes(zeros([0, 1]));
    const text = Buffer.from(bytes)
      .toString('latin1')
      .replace(/\(0, 1\), \}( *)/, (_, spaces: string) => `(0, ${2 ** 60}), }${spaces.slice(18)}`);
    expect(() => npyFromBytes(Buffer.from(text, 'latin1'), 'x.npy')).toThrow(FileError);
    expect(() => npyFromBytes(Buffer.from(text, 'latin1'), 'x.npy')).toThrow(
      'npyFromBytes: x.npy: shape [0,1152921504606847000] has a size above 2147483647',
    );
  });

  test('a file that is none', async () => {
    writeFileSync(join(folder, 'none.npz'), 'text that is no zip file at all');
    await expect(loadNpz(join(folder, 'none.npz'))).rejects.toThrow('it has no zip directory; the file is truncated or no zip file');
  });
});

test('errors of the file system name the function that was called', async () => {
  const t = tensor([1]);
  const missing = `folder ${folder} has no file a`;
  expect(() => loadNpy(join(folder, 'a'))).toThrow(new FileError(`loadNpy: ${missing}`));
  await expect(async () => loadNpz(join(folder, 'a'))).rejects.toThrow(new FileError(`loadNpz: ${missing}`));
  await expect(async () => loadTorch(join(folder, 'a'))).rejects.toThrow(new FileError(`loadTorch: ${missing}`));
  expect(() => loadNpy('')).toThrow(new ArgumentError('loadNpy: the path must be a text that is not empty, got an empty one'));
  const wrong = 'source, if it is no path, must be a Uint8Array, got a number';
  await expect(async () => loadTorch(3 as never)).rejects.toThrow(new ArgumentError(`loadTorch: ${wrong}`));
  expect(() => saveNpy(folder, t)).toThrow(new FileError(`saveNpy: ${folder} is a folder, expected a file or nothing`));
  await expect(saveNpz(folder, { t })).rejects.toThrow(new FileError(`saveNpz: ${folder} is a folder, expected a file or nothing`));
});
