// Checks the subjects of commits against CONTRIBUTING.md: a conventional prefix, then what the commit does, in the imperative, at most 72
// characters. Whether it is one topic, and whether the body says why, is left to the reviewer.
//
//   node scripts/check-commits.mjs
import { spawnSync } from 'node:child_process';
import { dirname } from 'node:path';
import { fileURLToPath } from 'node:url';

/** The last commit of the time before this rule. */
const BASE = 'd979fe6bdc3a7b04a4641f8f3b47bc056e279879';

const LONGEST = 72;
const TYPES = ['build', 'chore', 'ci', 'docs', 'feat', 'fix', 'perf', 'refactor', 'revert', 'style', 'test'];
const PREFIX = new RegExp(`^(${TYPES.join('|')})(\\([a-z0-9/-]+\\))?!?: `);

/** Common first words that are not imperatives: third person, past and gerund. */
const NOT_IMPERATIVE = new Set(
  `adds added adding allows allowed allowing changes changed changing checks checked checking drops dropped dropping fixes fixed fixing
  gives gave giving has having holds held holding implements implemented implementing improves improved improving is keeps kept keeping
  lets letting makes made making moves moved moving passes passed passing reads reading removes removed removing renames renamed
  renaming replaces replaced replacing returns returned returning runs ran running says said saying splits splitting supports supported
  supporting takes took taking tests tested testing updates updated updating uses used using writes wrote written writing`.split(/\s+/),
);

/** What is wrong with a subject; empty if nothing is. */
export function faultsOf(subject) {
  const faults = [];
  if (subject.length > LONGEST) faults.push(`${subject.length} characters, at most ${LONGEST} are allowed`);
  const prefix = PREFIX.exec(subject)?.[0];
  if (prefix === undefined) return [...faults, `expected a prefix such as 'fix(nn): ', of the types ${TYPES.join(' ')}`];
  const text = subject.slice(prefix.length);
  const first = /^\S*/.exec(text)[0];
  if (!/^[a-z]/.test(first)) faults.push(`expected a verb in lower case after the prefix, got '${first}'`);
  if (NOT_IMPERATIVE.has(first)) faults.push(`expected the imperative, got '${first}'`);
  if (text.endsWith('.')) faults.push('expected no full stop at the end');
  return faults;
}

/**
 * The commits after `base`, merges excepted. Where `base` is not there: all commits of a shallow clone, as these are the newest; none of
 * a whole history, which is then another one. `note` says which case it is.
 */
export function commitsAfter(base, cwd) {
  const git = (...args) => spawnSync('git', args, { cwd, encoding: 'utf8' });
  const shallow = git('rev-parse', '--is-shallow-repository');
  if (shallow.status !== 0) return { commits: [], note: 'there is no git history here' };
  const known = git('cat-file', '-e', `${base}^{commit}`).status === 0;
  if (!known && shallow.stdout.trim() !== 'true') return { commits: [], note: `${base.slice(0, 7)} is not part of this history` };
  const { stdout } = git('log', '--no-merges', '--format=%h %s', known ? `${base}..HEAD` : 'HEAD');
  const commits = stdout
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => ({ hash: line.slice(0, line.indexOf(' ')), subject: line.slice(line.indexOf(' ') + 1) }));
  return { commits, note: known ? `after ${base.slice(0, 7)}` : `all of a shallow clone, without ${base.slice(0, 7)}` };
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const { commits, note } = commitsAfter(BASE, dirname(fileURLToPath(import.meta.url)));
  const wrong = commits.map((c) => ({ ...c, faults: faultsOf(c.subject) })).filter((c) => c.faults.length > 0);
  for (const { hash, subject, faults } of wrong) process.stderr.write(`${hash} ${subject}\n  ${faults.join('\n  ')}\n`);
  process.stdout.write(`${commits.length} commit subjects checked (${note}), ${wrong.length} wrong\n`);
  if (wrong.length > 0) process.exitCode = 1;
}
