/**
 * Writes messages of Protocol Buffers: https://protobuf.dev/programming-guides/encoding
 */
import { joinBytes } from '../core/bytes.ts';

/** The wire types of fields. */
const VARINT = 0;
const FIXED_64 = 1;
const LENGTH = 2;
const FIXED_32 = 5;

/** A message under construction. Each method appends a field and returns the message. */
export class Message {
  readonly #pieces: Uint8Array[] = [];

  /** The encoded message. */
  bytes(): Uint8Array {
    return joinBytes(this.#pieces);
  }

  /** An int32, int64, uint or enum. Negative numbers take ten bytes, as the format has it. */
  integer(field: number, value: number): this {
    return this.#tag(field, VARINT).#add(varint(value));
  }

  /** 32-bit floating point. */
  float(field: number, value: number): this {
    return this.#tag(field, FIXED_32).#add(asBytes(Float32Array.of(value)));
  }

  /** 64-bit floating point. */
  double(field: number, value: number): this {
    return this.#tag(field, FIXED_64).#add(asBytes(Float64Array.of(value)));
  }

  text(field: number, value: string): this {
    return this.raw(field, new TextEncoder().encode(value));
  }

  /** Bytes, without a copy until `bytes()`. */
  raw(field: number, value: Uint8Array): this {
    return this.#tag(field, LENGTH).#add(varint(value.length)).#add(value);
  }

  message(field: number, value: Message): this {
    return this.raw(field, value.bytes());
  }

  /** A packed repeated field of doubles. */
  doubles(field: number, values: ArrayLike<number>): this {
    return this.raw(field, asBytes(Float64Array.from(values)));
  }

  /** A packed repeated field of integers. */
  integers(field: number, values: readonly number[]): this {
    return this.raw(field, Uint8Array.from(values.flatMap((value) => [...varint(value)])));
  }

  #tag(field: number, wireType: number): this {
    return this.#add(varint(field * 8 + wireType));
  }

  #add(piece: Uint8Array): this {
    this.#pieces.push(piece);
    return this;
  }
}

/** Seven bits a byte, the lowest first; all but the last have the highest bit set. */
function varint(value: number): Uint8Array {
  let rest = BigInt.asUintN(64, BigInt(value));
  const bytes: number[] = [];
  while (rest > 127n) {
    bytes.push(Number(rest & 127n) | 128);
    rest >>= 7n;
  }
  bytes.push(Number(rest));
  return Uint8Array.from(bytes);
}

function asBytes(array: Float32Array | Float64Array): Uint8Array {
  return new Uint8Array(array.buffer);
}
