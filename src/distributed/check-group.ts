/**
 * The check of an argument that must be a group.
 */
import { peek } from '../core/describe.ts';
import { ArgumentError, kindOf } from '../core/errors.ts';

/** Throws unless `group` is one. */
export function checkGroup(op: string, group: unknown): void {
  const isGroup =
    Number.isInteger(peek(group, 'rank')) && Number.isInteger(peek(group, 'size')) && typeof peek(group, 'allReduce') === 'function';
  if (!isGroup) throw new ArgumentError(`${op}: group must be the group that init() returns, got ${kindOf(group)}`);
}
