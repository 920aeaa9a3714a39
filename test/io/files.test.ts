import { execFileSync, spawn, spawnSync } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import vm from 'node:vm';
import { build } from 'vite';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { ArgumentError, FileError } from '../../src/core/errors.ts';
import { fileSystem } from '../../src/platform/files.ts';
import { Random } from '../../src/core/random.ts';
import { readBytes, writeFileAtomic } from '../../src/io/files.ts';
import { compileProgram } from '../support/compile-program.ts';

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

  test('reads what Node’s readFileSync refuses for its size, also in short pieces', () => {
    const file = path.join(dir, 'large');
    const content = Uint8Array.from({ length: 1000 }, (_, i) => i);
    fs.writeFileSync(file, content);
    vi.spyOn(fs, 'readFileSync').mockImplementation(() => {
      throw systemError('ERR_FS_FILE_TOO_LARGE');
    });
    const real = fs.readSync;
    const reads = vi
      .spyOn(fs, 'readSync')
      .mockImplementation(((fd: number, bytes: Uint8Array, at: number, length: number) =>
        real(fd, bytes, at, Math.min(length, 300), null)) as typeof fs.readSync);
    expect(readBytes(file)).toEqual(content);
    expect(reads).toHaveBeenCalledTimes(4);
  });

  test('a path that is no text is refused: Node would read 0 from its standard input', () => {
    for (const [given, got] of [
      [0, 'a number'],
      [undefined, 'undefined'],
      ['', 'an empty one'],
    ] as const) {
      const message = `the path must be a text that is not empty, got ${got}`;
      expect(() => readBytes(given as string)).toThrow(new ArgumentError(`readBytes: ${message}`));
      expect(() => writeFileAtomic(given as string, Uint8Array.of(1))).toThrow(new ArgumentError(`writeFileAtomic: ${message}`));
    }
  });

  test('the hints remain if the error is of another realm, as in Jest', () => {
    vi.spyOn(fs, 'readFileSync').mockImplementation(() => {
      throw vm.runInNewContext("Object.assign(new Error('no such file'), { code: 'ENOENT' })");
    });
    expect(() => readBytes(path.join(dir, 'b'))).toThrow(new FileError(`readBytes: folder ${dir} has no file b`));
  });

  test('a message stays on one line, whatever the path holds', () => {
    const file = path.join(dir, 'a\nb\u001b[31m\u202e');
    expect(() => readBytes(file)).toThrow(new FileError(`readBytes: folder ${dir} has no file a\\nb\\u001b[31m\\u202e`));
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

  test('tries once to rename where waiting does not help, and the cause stays readable', () => {
    const file = path.join(dir, 'out.bin');
    const cause = systemError('EXDEV');
    const rename = vi.spyOn(fs, 'renameSync').mockImplementation(() => {
      throw cause;
    });
    const error = new FileError(`writeFileAtomic: cannot write ${file} (EXDEV)`, { cause });
    expect(() => writeFileAtomic(file, Uint8Array.of(7))).toThrow(error);
    expect(rename).toHaveBeenCalledTimes(1);
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

  test.each(['EPERM', 'ERR_ACCESS_DENIED', 'NotCapable'])('skips flushing the folder where it is not possible: %s', (code) => {
    const file = path.join(dir, 'out.bin');
    const open = fs.openSync;
    vi.spyOn(fs, 'openSync').mockImplementation((name, ...rest) => {
      if (name === dir) throw code === 'NotCapable' ? Object.assign(new Error('read access'), { name: code }) : systemError(code);
      return open(name, ...rest);
    });
    writeFileAtomic(file, Uint8Array.of(8));
    expect([...fs.readFileSync(file)]).toEqual([8]);
  });

  test('flushes the file, renames it, flushes the folder, in this order, and closes both', () => {
    const file = path.join(dir, 'out.bin');
    const calls: string[] = [];
    const names = new Map<number, string>();
    const { openSync, fsyncSync, renameSync, closeSync } = fs;
    vi.spyOn(fs, 'openSync').mockImplementation((...args) => {
      const fd = openSync(...args);
      names.set(fd, args[0] === dir ? 'folder' : 'file');
      return fd;
    });
    vi.spyOn(fs, 'fsyncSync').mockImplementation((fd) => {
      calls.push(`fsync ${names.get(fd)}`);
      fsyncSync(fd);
    });
    vi.spyOn(fs, 'renameSync').mockImplementation((from, to) => {
      calls.push('rename');
      renameSync(from, to);
    });
    vi.spyOn(fs, 'closeSync').mockImplementation((fd) => {
      names.delete(fd);
      closeSync(fd);
    });
    writeFileAtomic(file, Uint8Array.of(8));
    expect(calls).toEqual(['fsync file', 'rename', 'fsync folder']);
    expect([...names.values()]).toEqual([]);
  });

  test('a folder that cannot be flushed is said, and that the new file is in place', () => {
    const file = path.join(dir, 'out.bin');
    const real = fs.fsyncSync;
    const cause = systemError('EIO');
    vi.spyOn(fs, 'fsyncSync').mockImplementationOnce(real);
    vi.spyOn(fs, 'fsyncSync').mockImplementation((fd) => {
      if (fs.fstatSync(fd).isDirectory()) throw cause;
      real(fd);
    });
    const message = `writeFileAtomic: ${file} is written, but its folder could not be flushed (EIO): a power loss may undo it`;
    expect(() => writeFileAtomic(file, Uint8Array.of(5))).toThrow(new FileError(message, { cause }));
    expect([...fs.readFileSync(file)]).toEqual([5]);
    expect(fs.readdirSync(dir)).toEqual(['out.bin']);
  });

  test('an error in the clean-up does not hide the first one', () => {
    const file = path.join(dir, 'out.bin');
    const failing = (code: string) => () => {
      throw systemError(code);
    };
    vi.spyOn(fs, 'writeFileSync').mockImplementation(failing('ENOSPC'));
    const close = vi.spyOn(fs, 'closeSync').mockImplementation(failing('EIO'));
    const unlink = vi.spyOn(fs, 'unlinkSync').mockImplementation(failing('EROFS'));
    expect(() => writeFileAtomic(file, Uint8Array.of(1))).toThrow(new FileError(`writeFileAtomic: cannot write ${file} (ENOSPC)`));
    expect([close, unlink].map((spy) => spy.mock.calls.length)).toEqual([1, 1]);
    for (const [fd] of close.mock.calls) {
      close.mockRestore();
      fs.closeSync(fd);
    }
  });

  test('a path below a file, a name that is too long, a folder: one line each', () => {
    const plain = path.join(dir, 'plain');
    fs.writeFileSync(plain, 'x');
    const below = path.join(plain, 'out.bin');
    const long = path.join(dir, 'n'.repeat(300));
    const refused = (file: string, what: string) =>
      expect(() => writeFileAtomic(file, Uint8Array.of(1))).toThrow(new FileError(`writeFileAtomic: ${what}`));
    refused(below, `cannot write ${below} (ENOTDIR): a part of the path is a file, not a folder`);
    expect(() => readBytes(below)).toThrow(new FileError(`readBytes: ${plain} is not a folder, so there is no file ${below}`));
    refused(long, `cannot write ${long} (ENAMETOOLONG): the name is too long for the file system`);
    refused(dir, `${dir} is a folder, expected a file or nothing`);
    const unsearchable = path.join(dir, 'private', 'out.bin');
    vi.spyOn(fs, 'statSync').mockImplementationOnce(() => {
      throw systemError('EACCES');
    });
    refused(unsearchable, `cannot write ${unsearchable} (EACCES)`);
    expect(fs.readdirSync(dir)).toEqual(['plain']);
  });

  test.each(['n'.repeat(255), '\u{1f600}'.repeat(63)])('a name as long as the file system allows', (name) => {
    writeFileAtomic(path.join(dir, name), Uint8Array.of(3));
    expect(fs.readdirSync(dir)).toEqual([name]);
  });

  test.skipIf(process.platform === 'win32')('a pipe, a device, or a link to one, is not replaced', () => {
    const pipe = path.join(dir, 'pipe');
    execFileSync('mkfifo', [pipe]);
    const link = path.join(dir, 'link');
    fs.symlinkSync('/dev/null', link);
    for (const [file, kind] of [
      [pipe, 'a pipe'],
      [link, 'a character device'],
    ] as const) {
      expect(() => writeFileAtomic(file, Uint8Array.of(1))).toThrow(
        new FileError(`writeFileAtomic: ${file} is ${kind}, expected a file or nothing`),
      );
    }
    expect(fs.lstatSync(pipe).isFIFO()).toBe(true);
    expect(fs.readlinkSync(link)).toBe('/dev/null');
    expect(fs.readdirSync(dir)).toEqual(['link', 'pipe']);
  });

  test.skipIf(process.platform === 'win32')('the new file has the permissions of the old one, and never more while it is written', () => {
    const file = path.join(dir, 'private.bin');
    const modeOf = (f: string): number => fs.statSync(f).mode & 0o777;
    const real = fs.writeFileSync;
    const whileWriting: number[] = [];
    vi.spyOn(fs, 'writeFileSync').mockImplementation((...args) => {
      const [temporary] = fs.readdirSync(dir).filter((name) => name.endsWith('.tmp'));
      if (temporary !== undefined) whileWriting.push(modeOf(path.join(dir, temporary)));
      real(...args);
    });
    for (const mode of [0o600, 0o640, 0o444, 0o666]) {
      fs.rmSync(file, { force: true });
      real(file, 'old');
      fs.chmodSync(file, mode);
      writeFileAtomic(file, Uint8Array.of(1));
      expect(modeOf(file)).toBe(mode);
    }
    expect(whileWriting).toEqual([0o600, 0o600, 0o400, 0o600]);
    const link = path.join(dir, 'link');
    fs.chmodSync(file, 0o600);
    fs.symlinkSync('private.bin', link);
    writeFileAtomic(link, Uint8Array.of(2));
    expect([fs.lstatSync(link).isSymbolicLink(), modeOf(link), fs.readFileSync(file).length]).toEqual([false, 0o600, 1]);
  });

  test.skipIf(process.getuid?.() !== 0)('a file of another user stays that user’s; if it cannot, its group loses the permissions', () => {
    const [self, group] = [process.getuid!(), process.getgid!()];
    const file = path.join(dir, 'theirs.bin');
    const old = (uid: number, gid: number): void => {
      fs.writeFileSync(file, 'old');
      fs.chownSync(file, uid, gid);
      fs.chmodSync(file, 0o660);
    };
    const state = (): number[] => {
      const { uid, gid, mode } = fs.statSync(file);
      return [uid, gid, mode & 0o777];
    };
    const owners: readonly (readonly [uid: number, gid: number])[] = [
      [1234, 2345],
      [1234, group],
      [self, 2345],
    ];
    for (const owner of owners) {
      old(...owner);
      writeFileAtomic(file, Uint8Array.of(1));
      expect(state()).toEqual([...owner, 0o660]);
    }
    for (const [uid, gid] of [...owners, [self, group] as const]) {
      old(uid, gid);
      const chown = vi.spyOn(fs, 'chownSync').mockImplementation(() => {
        throw systemError('EPERM');
      });
      writeFileAtomic(file, Uint8Array.of(1));
      expect(state()).toEqual([self, group, uid === self && gid === group ? 0o660 : 0o600]);
      chown.mockRestore();
    }
  });

  test('takes bytes of any view and realm, and refuses what is no bytes before it opens a file', () => {
    const file = path.join(dir, 'out.bin');
    const floats = Float32Array.of(0, 1, 2).subarray(1);
    for (const [content, expected] of [
      [vm.runInNewContext('Uint8Array.of(1, 2)'), [1, 2]],
      [
        [vm.runInNewContext('Uint8Array.of(3)'), Buffer.from('a')],
        [3, 97],
      ],
      [vm.runInNewContext('[Uint8Array.of(4)]'), [4]],
      [floats, [0, 0, 128, 63, 0, 0, 0, 64]],
      [new DataView(Uint8Array.of(5, 6, 7).buffer, 1), [6, 7]],
    ] as const) {
      writeFileAtomic(file, content as Uint8Array);
      expect([...fs.readFileSync(file)]).toEqual(expected);
    }
    for (const [content, message] of [
      [[1, 2], 'content must be a Uint8Array, got an array; write Uint8Array.from(numbers)'],
      ['text', 'content must be a Uint8Array, got a string; encode it with new TextEncoder().encode(text)'],
      [new ArrayBuffer(3), 'content must be a Uint8Array, got an ArrayBuffer; write new Uint8Array(buffer)'],
      [undefined, 'content must be a Uint8Array, got undefined'],
      [{ length: 3 }, 'content must be a Uint8Array, got an object'],
      [[Uint8Array.of(1), 'text'], 'piece 1 of content must be a Uint8Array, got a string; encode it with new TextEncoder().encode(text)'],
    ] as const) {
      expect(() => writeFileAtomic(file, content as Uint8Array)).toThrow(new ArgumentError(`writeFileAtomic: ${message}`));
    }
    expect([...fs.readFileSync(file)]).toEqual([6, 7]);
    expect(fs.readdirSync(dir)).toEqual(['out.bin']);
  });

  test('under Node’s permission model it needs the rights to read and write the folder, no more', { timeout: 30_000 }, async () => {
    const folder = path.join(dir, 'out');
    fs.mkdirSync(folder);
    const entry = path.join(dir, 'entry.ts');
    fs.writeFileSync(
      entry,
      `import { writeFileAtomic } from '${new URL('../../src/io/files.ts', import.meta.url).pathname}';
      for (const n of [1, 2]) writeFileAtomic(process.argv[2], new Uint8Array(n).fill(n));`,
    );
    await build({
      configFile: false,
      logLevel: 'error',
      build: { outDir: dir, emptyOutDir: false, lib: { entry, formats: ['es'], fileName: 'program' }, minify: false },
    });
    const bundle = fs.readdirSync(dir).find((name) => /^program\.m?js$/.test(name))!;
    const flag = process.allowedNodeEnvironmentFlags.has('--permission') ? '--permission' : '--experimental-permission';
    const run = (...rights: string[]): string => {
      const { stderr } = spawnSync(process.execPath, ['--no-warnings', flag, ...rights, path.join(dir, bundle), path.join(folder, 'a')], {
        encoding: 'utf8',
      });
      return stderr;
    };
    expect(run('--allow-fs-read=*', `--allow-fs-write=${folder}/`)).toBe('');
    expect(fs.readdirSync(folder)).toEqual(['a']);
    expect(run('--allow-fs-read=*')).toContain(
      `FileError: writeFileAtomic: cannot write ${folder}/a (ERR_ACCESS_DENIED): allow both --allow-fs-read and --allow-fs-write for ${folder}\n`,
    );
    expect([...fs.readFileSync(path.join(folder, 'a'))]).toEqual([2, 2]);
  });
});

test('a process killed while it saves leaves the complete old or new file', { timeout: 30_000 }, async () => {
  const file = path.join(dir, 'state.bin');
  const size = 2 ** 20;
  writeFileAtomic(file, new Uint8Array(size));
  const program = await compileProgram(fileURLToPath(new URL('./programs/saves.ts', import.meta.url)));
  const random = new Random(7);
  let saves = 0;
  for (let round = 0; round < 6; round++) {
    const child = spawn(process.execPath, [program, file], { stdio: ['ignore', 'pipe', 'inherit'] });
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
  // Each round waits for one save at least; how many more there are depends on the machine's speed.
  expect(saves).toBeGreaterThanOrEqual(6);
});
