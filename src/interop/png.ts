/**
 * Encodes images as PNG files: ISO/IEC 15948.
 */
import { joinBytes } from '../core/bytes.ts';
import { crc32 } from './crc.ts';

/** An image: 8 bits a channel, row by row, with the channels of a pixel side by side. */
export interface Pixels {
  readonly width: number;
  readonly height: number;
  /** 1: grey. 3: red, green, blue. 4: with alpha. */
  readonly channels: 1 | 3 | 4;
  readonly data: Uint8Array;
}

const SIGNATURE = [0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a];
/** PNG's number for each kind of pixel. */
const COLOR_TYPES = { 1: 0, 3: 2, 4: 6 } as const;
/** The filter of each row: none. */
const NO_FILTER = 0;

/** Returns the bytes of the file. `deflate` packs with zlib's header. */
export function encodePng({ width, height, channels, data }: Pixels, deflate: (bytes: Uint8Array) => Uint8Array): Uint8Array {
  const rowLength = width * channels;
  const rows = new Uint8Array(height * (rowLength + 1));
  for (let row = 0; row < height; row++) {
    rows[row * (rowLength + 1)] = NO_FILTER;
    rows.set(data.subarray(row * rowLength, (row + 1) * rowLength), row * (rowLength + 1) + 1);
  }
  const header = new Uint8Array(13);
  const view = new DataView(header.buffer);
  view.setUint32(0, width);
  view.setUint32(4, height);
  // 8 bits a channel; the one method of compression and of filtering; not interlaced.
  header.set([8, COLOR_TYPES[channels], 0, 0, 0], 8);
  const chunks = [Uint8Array.from(SIGNATURE), chunk('IHDR', header), chunk('IDAT', deflate(rows)), chunk('IEND', new Uint8Array())];
  return joinBytes(chunks);
}

/** Length, type, content, and the check of type and content. */
function chunk(type: string, content: Uint8Array): Uint8Array {
  const bytes = new Uint8Array(12 + content.length);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, content.length);
  bytes.set(new TextEncoder().encode(type), 4);
  bytes.set(content, 8);
  view.setUint32(8 + content.length, crc32(bytes.subarray(4, 8 + content.length)));
  return bytes;
}
