/**
 * Calls of functions in native libraries: through the package koffi, or through Node's own `node:ffi`.
 *
 * Pointers are plain addresses. The caller keeps a reference to the memory until the library has finished with it.
 */
import { DistributedError } from '../core/errors.ts';
import { environment, nodeModules } from '../platform/node.ts';
import { errorCode } from '../platform/files.ts';

/** The type of a parameter: a 32-bit integer, or an address or another number of the width of one. */
export type NativeType = 'int32' | 'word';

/** A function of a library. It returns a 32-bit integer, as most functions in C do. */
export type NativeFunction = (...args: (number | bigint)[]) => number;

/** A library that is loaded. It stays so until the process ends. */
export interface NativeLibrary {
  /** Returns the address of a symbol; null if the library has none of this name. */
  symbol(name: string): bigint | null;
  /** Returns a function. Throws if the library has none of this name. */
  function(name: string, parameters: readonly NativeType[]): NativeFunction;
}

/** What koffi and `node:ffi` have in common. */
export interface NativeCalls {
  /** The package or module behind it. */
  readonly name: 'koffi' | 'node:ffi';
  /** Returns the address of the first byte. The array must not lie in V8's own heap: make its buffer first. */
  addressOf(bytes: Uint8Array): bigint;
  /** Loads a library. Throws if it cannot be loaded. */
  load(file: string): NativeLibrary;
}

/** The part of the package koffi that is used. Its default export is one. */
export interface Koffi {
  /** Reads the sizes that calls are made with, or sets them before the first library is loaded. */
  config(sizes?: { readonly sync_stack_size: number }): { readonly sync_stack_size?: number };
  /** Returns the address of a typed array's memory. */
  address(value: Uint8Array): bigint;
  /** Loads a library; null stands for the program itself. */
  load(file: string | null): KoffiLibrary;
}

/** A library that koffi has loaded. */
export interface KoffiLibrary {
  /** Returns a function of it. */
  func(name: string, result: string, parameters: readonly string[]): NativeFunction;
  /** Returns the address of a symbol; throws if there is none. */
  symbol(name: string): bigint;
}

/** The part of `node:ffi` that is used. */
interface NodeFfi {
  getRawPointer(value: Uint8Array): bigint;
  readonly DynamicLibrary: new (
    file: string,
  ) => {
    getFunction(name: string, types: { readonly return: string; readonly arguments: readonly string[] }): NativeFunction;
    getSymbol(name: string): bigint;
  };
}

/** Bytes of stack for a call through koffi, whose default is 2 MiB. MPI_Init runs much code of others. */
const STACK_BYTES = 8 * 2 ** 20;

const FLAG = '--experimental-ffi';

/**
 * Returns the way to call native libraries: `node:ffi` if Node was started with `--experimental-ffi`, else koffi.
 *
 * Throws: DistributedError with the command that installs koffi if there is neither
 * @param koffi the package, where it is installed elsewhere than beside this library
 */
export function nativeCalls(op: string, koffi: Koffi | null): NativeCalls {
  const load = nodeModules();
  if (load === undefined) throw new DistributedError(`${op}: this platform cannot call native libraries; several processes need Node`);
  const flags = [...process.execArgv, ...(environment('NODE_OPTIONS') ?? '').split(/\s+/)];
  if (koffi === null && flags.includes(FLAG)) {
    const ffi = load('node:ffi') as unknown as NodeFfi | undefined;
    if (ffi !== undefined) return throughNode(ffi);
  }
  return throughKoffi(koffi ?? importKoffi(op, load));
}

function importKoffi(op: string, load: typeof process.getBuiltinModule): Koffi {
  try {
    return load('node:module').createRequire(import.meta.url)('koffi') as Koffi;
  } catch (error) {
    throw new DistributedError(
      `${op}: MPI is called through the package koffi, which cannot be loaded (${errorCode(error)}); npm install koffi, ` +
        `or give { koffi } where it is installed elsewhere, or start Node ≥ 26.1 with ${FLAG}`,
      { cause: error },
    );
  }
}

function throughKoffi(koffi: Koffi): NativeCalls {
  // Once a library is loaded, perhaps by another user of koffi, its sizes are fixed.
  const { sync_stack_size: present = 0 } = koffi.config();
  if (present < STACK_BYTES) {
    try {
      koffi.config({ sync_stack_size: STACK_BYTES });
    } catch {
      // Too late to change: the default has sufficed for MPICH 4.0.
    }
  }
  return {
    name: 'koffi',
    addressOf: (bytes) => koffi.address(bytes),
    load: (file) => {
      const library = koffi.load(file);
      return {
        symbol: (name) => {
          try {
            return library.symbol(name);
          } catch {
            return null;
          }
        },
        function: (name, parameters) =>
          library.func(
            name,
            'int32',
            parameters.map((type) => (type === 'word' ? 'uintptr_t' : type)),
          ),
      };
    },
  };
}

function throughNode(ffi: NodeFfi): NativeCalls {
  return {
    name: 'node:ffi',
    addressOf: (bytes) => ffi.getRawPointer(bytes),
    load: (file) => {
      const library = new ffi.DynamicLibrary(file);
      return {
        symbol: (name) => {
          try {
            return library.getSymbol(name);
          } catch {
            return null;
          }
        },
        function: (name, parameters) => {
          const isWord = parameters.map((type) => type === 'word');
          const call = library.getFunction(name, {
            return: 'int32',
            arguments: parameters.map((type) => (type === 'word' ? 'uint64' : type)),
          });
          return (...args) => call(...args.map((value, i) => (isWord[i] === true ? BigInt(value) : value)));
        },
      };
    },
  };
}
