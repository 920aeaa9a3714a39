/**
 * Checks that all ranks have equal things. The errors are thrown on all ranks, with one text.
 */
import { DisagreementError, DistributedError } from '../core/errors.ts';
import type { Group } from './group.ts';

const encoder = new TextEncoder();
const decoder = new TextDecoder();

/** Returns the text of each rank, in rank order. */
function gatherTexts(group: Group, text: string): string[] {
  return group.allGatherBytes(encoder.encode(text)).map((bytes) => decoder.decode(bytes));
}

/** A thing that all ranks must have, by name: the description of a tensor by its path. */
export type Descriptions = readonly (readonly [name: string, description: string])[];

/**
 * Throws on all ranks unless all have equal descriptions under equal names. The error names a rank, the first difference, and what rank 0 has.
 * @param remedy ends the message
 */
export function checkAgreement(op: string, group: Group, own: Descriptions, remedy: string): void {
  if (group.size === 1) return;
  const all = gatherTexts(group, JSON.stringify(own)).map((text) => new Map(JSON.parse(text) as [string, string][]));
  const expected = all[0]!;
  for (const [rank, found] of all.entries()) {
    const name = [...expected.keys(), ...found.keys()].find((key) => expected.get(key) !== found.get(key));
    if (name === undefined) continue;
    const has = (descriptions: ReadonlyMap<string, string>): string => descriptions.get(name) ?? 'nothing of that name';
    throw new DisagreementError(`${op}: ${name}: rank ${rank} has ${has(found)}, rank 0 has ${has(expected)}; ${remedy}`);
  }
}

/**
 * Runs `fn`, which calls nothing of the group, on this rank. If it throws on any rank, all ranks throw: that rank its own error, the others one
 * that names the rank and the error's text. So no rank goes on alone.
 */
export function onAllOrNone(op: string, group: Group, fn: () => void): void {
  if (group.size === 1) {
    fn();
    return;
  }
  let failure: { readonly error: unknown } | null = null;
  try {
    fn();
  } catch (error) {
    failure = { error };
  }
  const text = failure === null ? '' : `failed: ${failure.error instanceof Error ? failure.error.message : String(failure.error)}`;
  const texts = gatherTexts(group, text);
  if (failure !== null) throw failure.error;
  const rank = texts.findIndex((other) => other !== '');
  if (rank >= 0) throw new DistributedError(`${op}: rank ${rank} ${texts[rank]}`);
}
