/**
 * How many threads can run at once: the processor's, less where a control group (a container) grants fewer.
 */
import { nodeModules } from './node.ts';

/** Reads a small text file; null where there is none. */
type Read = (path: string) => string | null;

/** The number of threads to use where nobody says. */
export function availableCpus(): number {
  const load = nodeModules();
  if (load === undefined) return globalThis.navigator?.hardwareConcurrency ?? 1;
  const fs = load('node:fs');
  const read: Read = (path) => {
    try {
      return fs.readFileSync(path, 'utf8');
    } catch {
      // Not there, or not to be read by this process: no limit that can be known.
      return null;
    }
  };
  return Math.max(1, Math.min(load('node:os').availableParallelism(), Math.floor(quotaOf(read))));
}

/**
 * The CPUs' worth of time that Linux control groups grant this process, in version 2 (`cpu.max`) or 1 (`cpu.cfs_quota_us`); Infinity
 * without a limit. The limits of all groups around the process's own hold too. A container may not see its group's path, but sees
 * its limit at the root.
 */
export function quotaOf(read: Read): number {
  let least = Infinity;
  for (const line of (read('/proc/self/cgroup') ?? '').split('\n')) {
    const [, controllers, path] = /^\d+:([^:]*):(.*)$/.exec(line) ?? [];
    if (controllers === undefined || path === undefined) continue;
    const second = controllers === '';
    if (!second && !controllers.split(',').includes('cpu')) continue;
    const names = path.split('/').filter((name) => name !== '');
    for (let depth = names.length; depth >= 0; depth--) {
      const group = ['/sys/fs/cgroup', ...(second ? [] : ['cpu']), ...names.slice(0, depth)].join('/');
      const [quota, period] = second
        ? (read(`${group}/cpu.max`) ?? '').split(' ')
        : [read(`${group}/cpu.cfs_quota_us`), read(`${group}/cpu.cfs_period_us`)];
      // No limit is `max` in version 2 and −1 in version 1.
      if (Number(quota) > 0 && Number(period) > 0) least = Math.min(least, Number(quota) / Number(period));
    }
  }
  return least;
}
