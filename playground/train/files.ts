/**
 * Reads files that the visitor gives.
 */
import { FilesError, type NamedBytes } from './task.ts';

/**
 * Returns the bytes of a file, unpacked if it is a .gz.
 *
 * Throws: FilesError if it cannot be read or unpacked
 */
export async function unpack(file: File): Promise<NamedBytes> {
  const { name } = file;
  const bytes = await read(file.stream(), `${name} cannot be read. Choose it again.`);
  const isPacked = bytes[0] === 0x1f && bytes[1] === 0x8b;
  if (!isPacked) return { name, bytes };
  const unpacked = new Blob([bytes]).stream().pipeThrough(new DecompressionStream('gzip'));
  return { name, bytes: await read(unpacked, `${name} cannot be unpacked: the file is damaged. Fetch it again.`) };
}

async function read(stream: ReadableStream<Uint8Array>, problem: string): Promise<Uint8Array<ArrayBuffer>> {
  try {
    return new Uint8Array(await new Response(stream).arrayBuffer());
  } catch (error) {
    throw new FilesError(problem, { cause: error });
  }
}
