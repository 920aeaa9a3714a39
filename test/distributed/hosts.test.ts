import { spawnSync } from 'node:child_process';
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import { command, execute, hasMpi, type Run } from './support.ts';

// Two hosts: network namespaces with hostnames of their own, connected by a virtual link. MPICH starts the second rank through a program that
// takes the place of ssh.

const id = `${process.pid % 100_000}`;
const HOSTS = [
  { namespace: `chainrule-a${id}`, link: `cra${id}`, address: '10.99.0.1', name: 'host-a' },
  { namespace: `chainrule-b${id}`, link: `crb${id}`, address: '10.99.0.2', name: 'host-b' },
] as const;
const [a, b] = HOSTS;

function ip(...args: readonly string[]): boolean {
  return spawnSync('ip', args).status === 0;
}

function isReady({ namespace, link }: (typeof HOSTS)[number]): boolean {
  const { stdout } = spawnSync('ip', ['-n', namespace, '-json', 'link', 'show', link], { encoding: 'utf8' });
  return (JSON.parse(stdout) as [{ operstate: string }])[0].operstate === 'UP';
}

/** Whether this process may make namespaces: root in a container often may not. */
const isPermitted =
  ip('netns', 'add', `chainrule-t${id}`) && ip('netns', 'del', `chainrule-t${id}`) && spawnSync('unshare', ['--uts', 'true']).status === 0;

/** The namespaces share the memory of this machine, through which UCX would send all data. */
const TCP = { UCX_TLS: 'tcp,self' };

const folder = mkdtempSync(join(tmpdir(), 'chainrule-hosts-'));
const launcher = join(folder, 'launcher.sh');

describe.skipIf(!hasMpi || !isPermitted)('two hosts, where MPICH is installed and network namespaces are permitted', () => {
  beforeAll(async () => {
    for (const { namespace } of HOSTS) expect(ip('netns', 'add', namespace)).toBe(true);
    expect(ip('link', 'add', a.link, 'netns', a.namespace, 'type', 'veth', 'peer', 'name', b.link, 'netns', b.namespace)).toBe(true);
    for (const { namespace, link, address } of HOSTS) {
      expect(ip('-n', namespace, 'address', 'add', `${address}/24`, 'dev', link)).toBe(true);
      for (const name of [link, 'lo']) expect(ip('-n', namespace, 'link', 'set', name, 'up')).toBe(true);
    }
    // A link carries data some time after both ends are up.
    await vi.waitFor(() => expect(HOSTS.map(isReady)).toEqual([true, true]), { timeout: 10_000 });
    const cases = HOSTS.map(({ address, namespace, name }) => `${address}) namespace=${namespace} name=${name} ;;`);
    const lines = [
      '#!/bin/sh',
      'while [ "${1#-}" != "$1" ]; do shift; done',
      `case $1 in ${cases.join(' ')} esac`,
      'shift',
      'exec ip netns exec $namespace unshare --uts sh -c "hostname $name; eval \\"$*\\""',
    ];
    writeFileSync(launcher, lines.join('\n'));
    chmodSync(launcher, 0o755);
  });
  afterAll(() => {
    for (const { namespace } of HOSTS) ip('netns', 'del', namespace);
    rmSync(folder, { recursive: true, force: true });
  });

  /** Runs a program on a rank of each host. */
  async function onHosts(program: string, ...args: readonly string[]): Promise<Run> {
    const hosts = `${a.address},${b.address}`;
    const mpiexec = [
      'mpiexec',
      '-hosts',
      hosts,
      '-launcher',
      'ssh',
      '-launcher-exec',
      launcher,
      '-n',
      '2',
      ...(await command(program, args)),
    ];
    return execute(
      ['ip', 'netns', 'exec', a.namespace, 'unshare', '--uts', 'sh', '-c', `hostname ${a.name}; exec "$@"`, 'sh', ...mpiexec],
      { env: TCP },
    );
  }

  /** Returns how many bytes the first host has sent over the link. */
  function sentBytes(): number {
    const { stdout } = spawnSync('ip', ['-n', a.namespace, '-s', '-json', 'link', 'show', a.link], { encoding: 'utf8' });
    const [link] = JSON.parse(stdout) as [{ stats64: { tx: { bytes: number } } }];
    return link.stats64.tx.bytes;
  }

  test('the ranks find each other and add over the link', async () => {
    const before = sentBytes();
    expect(await onHosts('hosts.ts')).toMatchObject({ code: 0, stdout: 'host-a and host-b agree\n', stderr: '', left: [] });
    // Of 4 MB, a half goes there to be added, and the sums of the other half come back.
    expect(sentBytes() - before).toBeGreaterThan(4e6);
  });

  test('a rank of the other host that is killed ends both', async () => {
    const { code, stdout, left, ms } = await onHosts('fault.ts', 'kill while others wait');
    expect(code).not.toBe(0);
    expect(left).toEqual([]);
    expect(stdout).toMatch(/PID \d+ RUNNING AT 10\.99\.0\.2\n=   EXIT CODE: 9\n/);
    expect(ms).toBeLessThan(10_000);
  });
});
