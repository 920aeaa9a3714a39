/**
 * A file of lines that grows while a run goes on, such as metrics.jsonl.
 */
import { closeSync, constants, fstatSync, fsyncSync, ftruncateSync, lstatSync, openSync, readSync, type Stats, writeSync } from 'node:fs';
import { RunError, withFile } from './errors.ts';

const CHUNK = 1 << 20;
const NEWLINE = 0x0a;

/** A symbolic link is refused, because its target may be outside the folder. Windows lacks both flags. */
const FLAGS =
  constants.O_RDWR |
  constants.O_APPEND |
  constants.O_CREAT |
  ((constants.O_NOFOLLOW as number | undefined) ?? 0) |
  ((constants.O_NONBLOCK as number | undefined) ?? 0);

export class LineFile {
  readonly path: string;
  readonly #file: number;
  /** What to do if the file cannot be written. */
  readonly #remedy: string;

  /**
   * Opens the file, and creates it if it is missing.
   *
   * Throws: RunError if the path is a symbolic link, a folder or a device, or not writable
   */
  constructor(path: string, remedy: string) {
    this.path = path;
    this.#remedy = remedy;
    checkRegular(path, lstatSync(path, { throwIfNoEntry: false }));
    this.#file = withFile(path, 'open the file', remedy, () => openSync(path, FLAGS, 0o666));
    try {
      // Again, because the path may have been exchanged.
      checkRegular(path, fstatSync(this.#file));
    } catch (error) {
      closeSync(this.#file);
      throw error;
    }
  }

  get bytes(): number {
    return fstatSync(this.#file).size;
  }

  /** Appends a line: all of it, or nothing of it if the disk is full. */
  append(line: string): void {
    const bytes = Buffer.from(`${line}\n`);
    const before = this.bytes;
    withFile(this.path, 'write the file', this.#remedy, () => {
      try {
        for (let written = 0; written < bytes.length; ) written += writeSync(this.#file, bytes, written);
      } catch (error) {
        this.#takeBack(before);
        throw error;
      }
    });
  }

  /** Removes the part of a line that was written before an error. */
  #takeBack(bytes: number): void {
    try {
      ftruncateSync(this.#file, bytes);
    } catch {
      // The error that led here is the one to report; an incomplete last line is cut off when the file is opened again.
    }
  }

  /** Shortens the file to `bytes`. */
  cut(bytes: number): void {
    if (this.bytes > bytes) withFile(this.path, 'shorten the file', this.#remedy, () => ftruncateSync(this.#file, bytes));
  }

  /** Flushes the file to the disk. */
  sync(): void {
    withFile(this.path, 'flush the file', this.#remedy, () => fsyncSync(this.#file));
  }

  /** Yields the complete lines in the first `limit` bytes, with the position after each. */
  *lines(limit = Infinity): Generator<{ text: string; number: number; end: number }> {
    const size = Math.min(limit, this.bytes);
    let number = 0;
    let end = 0;
    /** What has been read of the line that begins at `end`. */
    let rest = Buffer.alloc(0);
    for (let position = 0; position < size; ) {
      const chunk = Buffer.alloc(Math.min(CHUNK, size - position));
      const count = withFile(this.path, 'read the file', this.#remedy, () => readSync(this.#file, chunk, 0, chunk.length, position));
      if (count === 0) break;
      position += count;
      let from = 0;
      for (let at = chunk.indexOf(NEWLINE); at >= 0 && at < count; at = chunk.indexOf(NEWLINE, from)) {
        const line = Buffer.concat([rest, chunk.subarray(from, at)]);
        rest = Buffer.alloc(0);
        from = at + 1;
        end += line.length + 1;
        number++;
        yield { text: line.toString('utf8'), number, end };
      }
      rest = Buffer.concat([rest, chunk.subarray(from, count)]);
    }
  }

  close(): void {
    closeSync(this.#file);
  }
}

function checkRegular(path: string, stats: Stats | undefined): void {
  if (stats === undefined || stats.isFile()) return;
  const got = stats.isSymbolicLink() ? 'a symbolic link' : 'something else';
  throw new RunError(`${path}: expected a regular file, got ${got}; put the file itself there`);
}
