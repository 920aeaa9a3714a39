// Hides the script `prepare` from the packed manifest: npm 11 warns of install scripts, and lists `prepare` among them for a package that
// does not come from a registry, though it runs for a clone or a git dependency alone. Called by `prepack` and `postpack`.
//
//   node scripts/pack-manifest.mjs --hide | --show
import { readFileSync, writeFileSync } from 'node:fs';

const file = new URL('../package.json', import.meta.url);
const [from, to] = process.argv[2] === '--hide' ? ['"prepare":', '"_prepare":'] : ['"_prepare":', '"prepare":'];
writeFileSync(file, readFileSync(file, 'utf8').replace(from, to));
