/**
 * Two ranks on two hosts.
 */
import assert from 'node:assert/strict';
import { ones } from 'chainrule';
import { init } from 'chainrule/distributed';

const group = init({ timeout: 30 });
const hosts = group.members.map((member) => member.host);
assert.equal(new Set(hosts).size, 2);
const t = ones([1_000_000]);
group.allReduce(t);
assert.deepEqual(new Set(t.data()), new Set([2]));
group.finalize();
if (group.rank === 0) console.log(`${hosts.join(' and ')} agree`);
