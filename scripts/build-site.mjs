// Builds the site into site/dist, and first installs its tools where they are missing or stale. They have a lockfile of their own, so that
// the root install stays small.
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const site = join(dirname(dirname(fileURLToPath(import.meta.url))), 'site');
/** Holds the hash of the lockfile that was installed. */
const stamp = join(site, 'node_modules/.installed');

function run(command, args, options) {
  const { status, error } = spawnSync(command, args, { cwd: site, stdio: 'inherit', ...options });
  if (error !== undefined) throw error;
  if (status !== 0) process.exit(status ?? 1);
}

const lock = createHash('sha256')
  .update(readFileSync(join(site, 'package-lock.json')))
  .digest('hex');
if (!existsSync(stamp) || readFileSync(stamp, 'utf8') !== lock) {
  // npm is a script for the shell on Windows.
  run('npm', ['ci', '--no-audit', '--no-fund'], { shell: process.platform === 'win32' });
  writeFileSync(stamp, lock);
}
run(process.execPath, ['build.mjs']);
