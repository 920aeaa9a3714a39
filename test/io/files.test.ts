import { spawn } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { FileError } from '../../src/core/errors.ts';
import { fileSystem } from '../../src/platform/files.ts';
import { Random } from '../../src/core/random.ts';
import { readBytes, writeFileAtomic } from '../../src/io/files.ts';

let dir: string;
beforeEach(() => {
  dir = fs.mkdtempSync(path.join(os.tmpdir(), 'chainrule-files-'));
});
afterEach(() => {
  vi.restoreAllMocks();
  fs.rmSync(dir, { recursive: true });
});

function systemError(code: string): Error {
  return Object.assign(new Error(code), { code });
}

describe('readBytes', () => {
  test('reads a file', () => {
    fs.writeFileSync(path.join(dir, 'a'), 'abc');
    expect([...readBytes(path.join(dir, 'a'))]).toEqual([97, 98, 99]);
  });

  test('names what is missing', () => {
    expect(() => readBytes(path.join(dir, 'b'))).toThrow(new FileError(`readBytes: folder ${dir} has no file b`));
    expect(() => readBytes(path.join(dir, 'no', 'b'))).toThrow(new FileError(`readBytes: there is no folder ${dir}/no`));
    expect(() => readBytes(dir)).toThrow(new FileError(`readBytes: ${dir} is a folder, expected a file`));
  });

  test('reports other failures by their code', () => {
    vi.spyOn(fs, 'readFileSync').mockImplementation(() => {
      throw systemError('EACCES');
    });
    expect(() => readBytes('/a/b')).toThrow(new FileError('readBytes: cannot read /a/b (EACCES)'));
  });

  test('throws a FileError without a file system', () => {
    const host = globalThis.process;
    try {
      Reflect.deleteProperty(globalThis, 'process');
      expect(() => fileSystem('loadMnist')).toThrow(
        new FileError('loadMnist: this platform has no file system; fetch the bytes and decode them instead'),
      );
    } finally {
      globalThis.process = host;
    }
  });
});

describe('writeFileAtomic', () => {
  test('writes bytes or pieces, over an old file or none, and leaves nothing else', () => {
    const file = path.join(dir, 'out.bin');
    writeFileAtomic(file, Uint8Array.of(1, 2, 3));
    expect([...fs.readFileSync(file)]).toEqual([1, 2, 3]);
    writeFileAtomic(file, [Uint8Array.of(4), new Uint8Array(0), Uint8Array.of(5, 6).subarray(1)]);
    expect([...fs.readFileSync(file)]).toEqual([4, 6]);
    writeFileAtomic(file, []);
    expect(fs.readFileSync(file)).toHaveLength(0);
    expect(fs.readdirSync(dir)).toEqual(['out.bin']);
  });

  test('a missing folder is named', () => {
    const file = path.join(dir, 'no', 'out.bin');
    expect(() => writeFileAtomic(file, Uint8Array.of(1))).toThrow(
      new FileError(`writeFileAtomic: there is no folder ${dir}/no; make it first`),
    );
  });

  test.each(['writeFileSync', 'fsyncSync', 'closeSync'] as const)(
    'when %s fails, the old file stays and the temporary one goes',
    (call) => {
      const file = path.join(dir, 'out.bin');
      fs.writeFileSync(file, 'old');
      const real = fs[call] as (...args: unknown[]) => void;
      vi.spyOn(fs, call).mockImplementationOnce((...args: unknown[]) => {
        if (call === 'closeSync') real(...args);
        throw systemError('ENOSPC');
      });
      expect(() => writeFileAtomic(file, Uint8Array.of(1))).toThrow(new FileError(`writeFileAtomic: cannot write ${file} (ENOSPC)`));
      expect(fs.readFileSync(file, 'utf8')).toBe('old');
      expect(fs.readdirSync(dir)).toEqual(['out.bin']);
    },
  );

  test('retries a rename while another program has the file open', () => {
    const file = path.join(dir, 'out.bin');
    const rename = vi.spyOn(fs, 'renameSync');
    for (const code of ['EPERM', 'EBUSY', 'EACCES']) {
      rename.mockImplementationOnce(() => {
        throw systemError(code);
      });
    }
    writeFileAtomic(file, Uint8Array.of(7));
    expect([...fs.readFileSync(file)]).toEqual([7]);
    expect(rename).toHaveBeenCalledTimes(4);
  });

  test('gives up renaming after a bounded time', () => {
    const file = path.join(dir, 'out.bin');
    const rename = vi.spyOn(fs, 'renameSync').mockImplementation(() => {
      throw systemError('EBUSY');
    });
    vi.spyOn(Atomics, 'wait').mockReturnValue('timed-out');
    expect(() => writeFileAtomic(file, Uint8Array.of(7))).toThrow(new FileError(`writeFileAtomic: cannot write ${file} (EBUSY)`));
    expect(rename).toHaveBeenCalledTimes(9);
    expect(fs.readdirSync(dir)).toEqual([]);
  });

  test('skips flushing the folder if the platform cannot', () => {
    const file = path.join(dir, 'out.bin');
    const open = fs.openSync;
    vi.spyOn(fs, 'openSync').mockImplementation((name, ...rest) => {
      if (name === dir) throw systemError('EPERM');
      return open(name, ...rest);
    });
    writeFileAtomic(file, Uint8Array.of(8));
    expect([...fs.readFileSync(file)]).toEqual([8]);
  });
});

test('a process killed while it saves leaves the complete old or new file', { timeout: 30_000 }, async () => {
  const file = path.join(dir, 'state.bin');
  const size = 2 ** 20;
  writeFileAtomic(file, new Uint8Array(size));
  // Saves one number after the other, as a file filled with the number's last byte, and prints each saved number.
  const source = `
    import { writeFileAtomic } from '${new URL('../../src/io/files.ts', import.meta.url).href}';
    for (let n = 1; ; n++) {
      writeFileAtomic(process.argv[2], [new Uint8Array(${size / 2}).fill(n), new Uint8Array(${size / 2}).fill(n)]);
      process.stdout.write(n + '\\n');
    }`;
  const script = path.join(dir, 'save.mts');
  fs.writeFileSync(script, source);
  const random = new Random(7);
  let saves = 0;
  for (let round = 0; round < 6; round++) {
    const child = spawn(process.execPath, ['--import', import.meta.resolve('tsx'), script, file], { stdio: ['ignore', 'pipe', 'inherit'] });
    let said = 0;
    const closed = new Promise((resolve) => child.on('close', resolve));
    await new Promise<void>((resolve) => {
      child.stdout.on('data', (text: Buffer) => {
        said = Number(text.toString().trim().split('\n').at(-1));
        resolve();
      });
    });
    await new Promise((resolve) => setTimeout(resolve, random.uniform() * 60));
    child.kill('SIGKILL');
    await closed;
    saves += said;
    const bytes = fs.readFileSync(file);
    expect(bytes).toHaveLength(size);
    expect(bytes.every((b) => b === bytes[0])).toBe(true);
    // The last reported number is saved; the next one may be saved too.
    expect([said & 255, (said + 1) & 255]).toContain(bytes[0]);
  }
  expect(saves).toBeGreaterThan(8);
});
