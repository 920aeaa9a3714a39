/**
 * The number of threads that can run at once: the processor's, or fewer where a control group (a container) sets a limit.
 */
import { nodeModules } from './node.ts';

/** Reads a small text file. Returns null if it cannot be read. */
type Read = (path: string) => string | null;

/** Returns the default number of threads. */
export function availableCpus(): number {
  const load = nodeModules();
  if (load === undefined) return globalThis.navigator?.hardwareConcurrency ?? 1;
  const fs = load('node:fs');
  const read: Read = (path) => {
    try {
      return fs.readFileSync(path, 'utf8');
    } catch {
      // A file that is missing or unreadable sets no known limit.
      return null;
    }
  };
  return Math.max(1, Math.min(load('node:os').availableParallelism(), Math.floor(quotaOf(read))));
}

/**
 * Returns how many CPUs Linux control groups allow this process to use, or Infinity without a limit. Reads version 2 (`cpu.max`)
 * and version 1 (`cpu.cfs_quota_us`). The limits of all enclosing groups apply too. A container may not see the path of its group,
 * but sees its limit at the root.
 */
export function quotaOf(read: Read): number {
  let lowest = Infinity;
  for (const line of (read('/proc/self/cgroup') ?? '').split('\n')) {
    const [, controllers, path] = /^\d+:([^:]*):(.*)$/.exec(line) ?? [];
    if (controllers === undefined || path === undefined) continue;
    const isVersion2 = controllers === '';
    if (!isVersion2 && !controllers.split(',').includes('cpu')) continue;
    const root = isVersion2 ? '/sys/fs/cgroup' : '/sys/fs/cgroup/cpu';
    const names = path.split('/').filter((name) => name !== '');
    for (let depth = names.length; depth >= 0; depth--) {
      const group = [root, ...names.slice(0, depth)].join('/');
      lowest = Math.min(lowest, isVersion2 ? limitVersion2(read, group) : limitVersion1(read, group));
    }
  }
  return lowest;
}

function limitVersion2(read: Read, group: string): number {
  const [quota, period] = (read(`${group}/cpu.max`) ?? '').split(' ');
  return limitOf(quota, period);
}

function limitVersion1(read: Read, group: string): number {
  return limitOf(read(`${group}/cpu.cfs_quota_us`), read(`${group}/cpu.cfs_period_us`));
}

/** Returns quota / period. A group without a limit has the quota `max` in version 2 and −1 in version 1. */
function limitOf(quota: string | null | undefined, period: string | null | undefined): number {
  const isLimited = Number(quota) > 0 && Number(period) > 0;
  return isLimited ? Number(quota) / Number(period) : Infinity;
}
