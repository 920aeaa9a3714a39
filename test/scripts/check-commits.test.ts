import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { afterAll, describe, expect, test } from 'vitest';
import { commitsAfter, faultsOf } from '../../scripts/check-commits.mjs';

describe('commit subjects', () => {
  test.each([
    'perf(kernels): fuse batch norm with ReLU',
    'fix: read the last batch',
    'feat(io)!: drop version 1 of checkpoints',
    'docs(adding-an-op): name every file that must change',
    `test: ${'a'.repeat(66)}`,
  ])('accepts %s', (subject) => {
    expect(faultsOf(subject)).toEqual([]);
  });

  test.each([
    [`test: ${'a'.repeat(67)}`, '73 characters, at most 72 are allowed'],
    ['fix(nn): Read the last batch', "expected a verb in lower case after the prefix, got 'Read'"],
    ['fix(nn): ', "expected a verb in lower case after the prefix, got ''"],
    ['fix(nn): reads the last batch', "expected the imperative, got 'reads'"],
    ['fix(nn): fixed the last batch', "expected the imperative, got 'fixed'"],
    ['fix(nn): reading the last batch', "expected the imperative, got 'reading'"],
    ['fix(nn): read the last batch.', 'expected no full stop at the end'],
  ])('refuses %s', (subject, fault) => {
    expect(faultsOf(subject)).toEqual([fault]);
  });

  test.each(['read the last batch', 'bug: read the last batch', 'fix:read the last batch', 'fix(): read', 'fixup! fix: read'])(
    'refuses %s for its prefix',
    (subject) => {
      expect(faultsOf(subject)).toEqual([
        "expected a prefix such as 'fix(nn): ', of the types build chore ci docs feat fix perf refactor revert style test",
      ]);
    },
  );

  test('names all faults of a subject', () => {
    expect(faultsOf(`fix: Adds ${'a'.repeat(70)}.`)).toHaveLength(3);
  });
});

describe('commits after a base', () => {
  const folder = mkdtempSync(join(tmpdir(), 'chainrule-commits-'));
  afterAll(() => rmSync(folder, { recursive: true, force: true }));
  const git = (cwd: string, ...args: string[]): string => {
    const identity = ['-c', 'user.name=test', '-c', 'user.email=test@example.com', '-c', 'commit.gpgsign=false'];
    const { status, stdout, stderr } = spawnSync('git', [...identity, ...args], { cwd, encoding: 'utf8' });
    if (status !== 0) throw new Error(stderr);
    return stdout.trim();
  };
  const subjects = (base: string, cwd: string): string[] => commitsAfter(base, cwd).commits.map((c) => c.subject);

  test('are those since, of a shallow clone all, of another history or none at all nothing', () => {
    const whole = join(folder, 'whole');
    git(folder, 'init', '-q', whole);
    const hashes = ['one', 'two', 'three'].map((subject) => {
      git(whole, 'commit', '-q', '--allow-empty', '-m', subject, '-m', 'a body');
      return git(whole, 'rev-parse', 'HEAD');
    });
    const base = hashes[0]!;
    expect(subjects(base, whole)).toEqual(['three', 'two']);
    expect(commitsAfter(base, whole).note).toBe(`after ${base.slice(0, 7)}`);

    const shallow = join(folder, 'shallow');
    git(folder, 'clone', '-q', '--depth', '1', pathToFileURL(whole).href, shallow);
    expect(subjects(base, shallow)).toEqual(['three']);
    expect(commitsAfter(base, shallow).note).toBe(`all of a shallow clone, without ${base.slice(0, 7)}`);

    const unknown = '0'.repeat(40);
    expect(commitsAfter(unknown, whole)).toEqual({ commits: [], note: '0000000 is not part of this history' });
    expect(commitsAfter(base, folder)).toEqual({ commits: [], note: 'there is no git history here' });
  });
});
