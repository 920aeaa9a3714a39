/**
 * The processes of a group, and how messages name them.
 */

/** One process of a group. */
export interface Member {
  /** Its number in the group. */
  readonly rank: number;
  /** The name of its machine. */
  readonly host: string;
  /** Its number on its machine. */
  readonly pid: number;
}

/** `rank 3`, `ranks 0, 2`; of many, the first ones. */
export function rankList(ranks: readonly number[]): string {
  const shown = ranks.slice(0, 8).join(', ');
  const more = ranks.length > 8 ? `, … (${ranks.length} in all)` : '';
  return `${ranks.length === 1 ? 'rank' : 'ranks'} ${shown}${more}`;
}

/** `rank 1 (pid 4711 on node-a)`; null for a process that has not introduced itself. */
export function memberText(member: Member | undefined): string | null {
  return member === undefined ? null : `rank ${member.rank} (pid ${member.pid} on ${member.host})`;
}
