/**
 * Makes IDX files, the format of MNIST.
 */

/** Returns an IDX file of bytes, whose elements `valueOf` gives. */
export function idxFile(shape: readonly number[], valueOf: (i: number) => number): Uint8Array<ArrayBuffer> {
  const start = 4 + 4 * shape.length;
  const size = shape.reduce((a, b) => a * b, 1);
  const bytes = new Uint8Array(start + size);
  bytes.set([0, 0, 8, shape.length]);
  const view = new DataView(bytes.buffer);
  shape.forEach((n, d) => view.setUint32(4 + 4 * d, n));
  for (let i = 0; i < size; i++) bytes[start + i] = valueOf(i);
  return bytes;
}

/** Returns images whose label is the tenth part of their height that is bright, and their labels. */
export function tinyMnist(count: number, size = 12): { images: Uint8Array<ArrayBuffer>; labels: Uint8Array<ArrayBuffer> } {
  const rowOf = (i: number): number => Math.floor((i % (size * size)) / size);
  const labelOf = (image: number): number => (image * 7) % 10;
  const images = idxFile([count, size, size], (i) => {
    const bright = rowOf(i) === labelOf(Math.floor(i / (size * size)));
    return (bright ? 200 : 20) + ((i * 31) % 40);
  });
  return { images, labels: idxFile([count], labelOf) };
}
