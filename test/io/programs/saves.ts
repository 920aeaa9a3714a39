/** Saves one number after the other to the file that the argument names, filled with the number's last byte, and prints each saved number. */
import { writeFileAtomic } from '../../../src/io/files.ts';

const half = 2 ** 19;
for (let n = 1; ; n++) {
  writeFileAtomic(process.argv[2]!, [new Uint8Array(half).fill(n), new Uint8Array(half).fill(n)]);
  process.stdout.write(`${n}\n`);
}
