/**
 * The functions of MPI that are used, on plain addresses. All data are bytes: sums are this library's own, so that their order is fixed.
 *
 * Every operation is nonblocking, and one is in flight at a time. It is started, then polled by `test`. MPI's blocking calls would spin for
 * ever if another process is gone.
 */
import { DistributedError } from '../core/errors.ts';
import type { Abi, MpiLibrary } from './abi.ts';
import type { NativeCalls, NativeFunction, NativeType } from './native.ts';

/** The most bytes of one transfer: MPI counts in 32-bit integers. */
export const MAX_BYTES = 2 ** 30;

/** The tag of the messages with which waiting processes tell each other that they wait. */
const NOTE_TAG = 1;
/** Bytes of the block that MPI writes small results to: requests, flags, a status, and texts. */
const BLOCK_BYTES = 16384;
/** Offsets in it. A status has at most 40 bytes in the known interfaces. */
const AT = { request: 0, noteRequest: 8, flag: 16, length: 20, provided: 24, rank: 28, size: 32, status: 64, text: 256 } as const;

/** Parameters: p address, i 32-bit integer, h handle. */
const SIGNATURES = {
  MPI_Init_thread: 'ppip',
  MPI_Comm_rank: 'hp',
  MPI_Comm_size: 'hp',
  MPI_Comm_set_errhandler: 'hh',
  MPI_Error_string: 'ipp',
  MPI_Get_library_version: 'pp',
  MPI_Iallgather: 'pihpihhp',
  MPI_Iallgatherv: 'pihppphhp',
  MPI_Ialltoallv: 'ppphppphhp',
  MPI_Ibcast: 'pihihp',
  MPI_Test: 'ppp',
  MPI_Isend: 'pihiihp',
  MPI_Irecv: 'pihiihp',
  MPI_Iprobe: 'iihpp',
  MPI_Abort: 'hi',
  MPI_Finalize: '',
} as const;

type Name = keyof typeof SIGNATURES;

/** A block of memory for MPI, outside the memory of tensors. */
export interface Block {
  readonly bytes: Uint8Array;
  readonly address: bigint;
}

/** Ranges of bytes, one per rank, beginning at an address. */
export interface Ranges {
  readonly address: bigint;
  readonly counts: readonly number[];
  /** Where each begins, in bytes from the address. */
  readonly starts: readonly number[];
}

/** One call of MPI that moves data. */
export interface Transfer {
  /** Counts transfers, from 1 on. */
  readonly number: number;
  /** Bytes that this rank receives. */
  readonly bytes: number;
}

const bytesOf = ({ counts }: Ranges): number => counts.reduce((sum, n) => sum + n, 0);

/** MPI, initialised. */
export class Mpi {
  /** This process's number among all. */
  readonly rank: number;
  /** The number of processes. */
  readonly size: number;
  /** The library's own description of itself, its first line. */
  readonly version: string;
  readonly file: string;
  readonly abi: Abi;
  readonly #native: NativeCalls;
  readonly #functions: Readonly<Record<Name, NativeFunction>>;
  readonly #block: Block;
  readonly #ints: Int32Array;
  /** Counts and starts of both sides of a transfer. MPI reads them until the transfer is complete. */
  readonly #counts: Block;
  /** What the transfer in flight uses, so that it is not collected. */
  readonly #inFlight: Block[] = [];
  #transfer: Transfer = { number: 0, bytes: 0 };
  /** Notes that were sent or received. There are few, as a rank that sends some is about to end. */
  readonly #notes: Block[] = [];

  /** Initialises MPI. Blocks until all processes have done so. */
  constructor(native: NativeCalls, { file, library, abi }: MpiLibrary) {
    this.#native = native;
    this.file = file;
    this.abi = abi;
    const types: Readonly<Record<string, NativeType>> = { p: 'word', i: 'int32', h: abi.handle };
    const functions = Object.entries(SIGNATURES).map(([name, letters]) => {
      const parameters = Array.from(letters, (letter) => types[letter]!);
      return [name, library.function(name, parameters)] as const;
    });
    this.#functions = Object.fromEntries(functions) as unknown as Record<Name, NativeFunction>;
    this.#block = this.allocate(BLOCK_BYTES);
    this.#ints = new Int32Array(this.#block.bytes.buffer);
    // The errors of this call are fatal: MPI prints them and ends the process.
    this.#call('MPI_Init_thread', 0, 0, abi.funneled, this.#at('provided'));
    this.#call('MPI_Comm_set_errhandler', abi.world, abi.errorsReturn);
    this.#call('MPI_Comm_rank', abi.world, this.#at('rank'));
    this.#call('MPI_Comm_size', abi.world, this.#at('size'));
    this.rank = this.#ints[AT.rank / 4]!;
    this.size = this.#ints[AT.size / 4]!;
    this.#counts = this.allocate(16 * this.size);
    this.#call('MPI_Get_library_version', this.#at('text'), this.#at('length'));
    this.version = this.#text().split('\n')[0]!.replace(/\s+/g, ' ').trim();
  }

  /** Returns a block of `n` bytes, all 0. */
  allocate(n: number): Block {
    // An explicit buffer lies outside V8's heap and never moves; that of a small typed array may.
    const bytes = new Uint8Array(new ArrayBuffer(Math.max(n, 8)), 0, n);
    return { bytes, address: this.#native.addressOf(new Uint8Array(bytes.buffer)) };
  }

  /** Returns the address of an array's first byte. */
  addressOf(bytes: Uint8Array): bigint {
    return this.#native.addressOf(bytes);
  }

  // — transfers among all ranks, each called by all in one order —

  /** Starts to gather `n` bytes of each rank on all, in rank order. */
  startAllGather(from: bigint, n: number, to: bigint, ...hold: readonly Block[]): void {
    const { byte, world } = this.abi;
    this.#start(n * this.size, hold, 'MPI_Iallgather', from, n, byte, to, n, byte, world);
  }

  /** Starts to gather `n` bytes of each rank on all; `n` is this rank's count. */
  startAllGatherRanges(from: bigint, n: number, to: Ranges, ...hold: readonly Block[]): void {
    const { byte, world } = this.abi;
    const [counts, starts] = this.#store(0, to);
    this.#start(bytesOf(to), hold, 'MPI_Iallgatherv', from, n, byte, to.address, counts, starts, byte, world);
  }

  /** Starts to send a range to each rank, and to receive one from each. */
  startAllToAll(from: Ranges, to: Ranges, ...hold: readonly Block[]): void {
    const { byte, world } = this.abi;
    const send = this.#store(0, from);
    const receive = this.#store(2, to);
    this.#start(bytesOf(to), hold, 'MPI_Ialltoallv', from.address, ...send, byte, to.address, ...receive, byte, world);
  }

  /** Starts to copy `n` bytes from rank `root` to all. */
  startBroadcast(address: bigint, n: number, root: number, ...hold: readonly Block[]): void {
    const { byte, world } = this.abi;
    this.#start(n, hold, 'MPI_Ibcast', address, n, byte, root, world);
  }

  /** The transfer that was started last. */
  get transfer(): Transfer {
    return this.#transfer;
  }

  /** Returns whether the transfer in flight is complete, and makes progress. */
  test(): boolean {
    this.#call('MPI_Test', this.#at('request'), this.#at('flag'), this.#at('status'));
    if (this.#ints[AT.flag / 4] === 0) return false;
    this.#inFlight.length = 0;
    return true;
  }

  // — notes: small messages between two ranks —

  /** Sends a note. The process does not wait for its arrival. */
  sendNote(bytes: Uint8Array, to: number): void {
    const block = this.allocate(bytes.length);
    block.bytes.set(bytes);
    this.#notes.push(block);
    const { byte, world } = this.abi;
    this.#call('MPI_Isend', block.address, bytes.length, byte, to, NOTE_TAG, world, this.#at('noteRequest'));
  }

  /** Returns the next note of `n` bytes from rank `from`; null if none has arrived. */
  receiveNote(from: number, n: number): Uint8Array | null {
    const { byte, world } = this.abi;
    this.#call('MPI_Iprobe', from, NOTE_TAG, world, this.#at('flag'), this.#at('status'));
    if (this.#ints[AT.flag / 4] === 0) return null;
    const block = this.allocate(n);
    this.#notes.push(block);
    this.#call('MPI_Irecv', block.address, n, byte, from, NOTE_TAG, world, this.#at('noteRequest'));
    // The message is here already, so this takes no wait for its sender.
    do this.#call('MPI_Test', this.#at('noteRequest'), this.#at('flag'), this.#at('status'));
    while (this.#ints[AT.flag / 4] === 0);
    return block.bytes;
  }

  // — the end —

  /** Ends all processes. Does not return. */
  abort(code: number): void {
    this.#functions.MPI_Abort(this.abi.world, code);
  }

  /** Ends MPI. Blocks until all processes do so. */
  finalize(): void {
    this.#call('MPI_Finalize');
  }

  /** Starts a transfer that brings this rank `bytes`. */
  #start(bytes: number, hold: readonly Block[], name: Name, ...args: readonly (number | bigint)[]): void {
    this.#transfer = { number: this.#transfer.number + 1, bytes };
    this.#inFlight.push(...hold);
    this.#call(name, ...args, this.#at('request'));
  }

  /** Stores counts and starts in two of the four rows of numbers; returns their addresses. */
  #store(row: number, { counts, starts }: Ranges): [counts: bigint, starts: bigint] {
    const rows = new Int32Array(this.#counts.bytes.buffer);
    rows.set(counts, row * this.size);
    rows.set(starts, (row + 1) * this.size);
    const address = this.#counts.address + BigInt(4 * row * this.size);
    return [address, address + BigInt(4 * this.size)];
  }

  #call(name: Name, ...args: readonly (number | bigint)[]): void {
    const code = this.#functions[name](...args);
    if (code === 0) return;
    this.#functions.MPI_Error_string(code, this.#at('text'), this.#at('length'));
    throw new DistributedError(`rank ${this.rank}: ${name} failed: ${this.#text()}`);
  }

  #at(field: keyof typeof AT): bigint {
    return this.#block.address + BigInt(AT[field]);
  }

  #text(): string {
    return new TextDecoder().decode(this.#block.bytes.slice(AT.text, AT.text + this.#ints[AT.length / 4]!));
  }
}
