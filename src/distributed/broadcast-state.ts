/**
 * Gives all ranks the state of rank 0.
 */
import { isTensor } from '../autograd/index.ts';
import { isInstance, peek } from '../core/describe.ts';
import { ArgumentError, kindOf } from '../core/errors.ts';
import { refuseOptions } from '../core/options.ts';
import { formatShape } from '../core/shape.ts';
import type { Stateful } from '../core/stateful.ts';
import { checkpointFromBytes, checkpointToBytes } from '../io/index.ts';
import { Module } from '../nn/index.ts';
import { checkAgreement, onAllOrNone, type Descriptions } from './agreement.ts';
import { checkGroup } from './check-group.ts';
import type { Group } from './group.ts';

/**
 * Gives all ranks the states of rank 0, and the state of the default random generator. All ranks must call it with the same objects in the
 * same order: models, optimizers, schedulers, loaders, a run of `fit`. Call it once before the training, and after rank 0 has loaded a
 * checkpoint.
 * Throws: on all ranks, DisagreementError that names the rank, the path and both shapes if models differ; DistributedError if a rank cannot
 * load the state
 * @example broadcastState(group, model, optimizer);
 */
export function broadcastState(group: Group, ...objects: readonly Stateful[]): void {
  checkGroup('broadcastState', group);
  objects.forEach((object, i) => {
    const isStateful = typeof peek(object, 'stateDict') === 'function' && typeof peek(object, 'loadStateDict') === 'function';
    if (!isStateful) throw new ArgumentError(`broadcastState: object ${i} must have stateDict and loadStateDict, got ${kindOf(object)}`);
  });
  if (group.size === 1) return;
  const remedy = 'make the same objects in the same way on all ranks';
  checkAgreement('broadcastState', group, objects.flatMap(describe), remedy);
  const record = Object.fromEntries(objects.map((object, i) => [String(i), object]));
  const bytes = group.broadcastBytes(group.rank === 0 ? checkpointToBytes(record) : null, { from: 0 });
  onAllOrNone('broadcastState', group, () => {
    if (group.rank > 0) checkpointFromBytes(bytes, record, {}, "rank 0's state");
  });
}

/** Describes what must be equal before a state is loaded: the kind of an object, and all tensors of a model. */
function describe(object: Stateful, i: number): Descriptions {
  const kind = object.constructor.name;
  const tensors = isInstance(object, Module) ? describeModule(object) : [];
  return [[`object ${i}`, kind], ...tensors.map(([path, text]) => [objectPath(i, path), text] as const)];
}

const objectPath = (i: number, path: string): string => (i === 0 ? path : `object ${i}: ${path}`);

/** Describes the parameters and buffers of a model by path: `float32 [16,3,3,3]`. */
export function describeModule(model: Module): Descriptions {
  return Object.entries(model.stateDict()).map(([path, t]) => [path, `${t.dtype} ${formatShape(t.shape)}`] as const);
}

/**
 * Throws on all ranks, with the first path that differs, unless all have the same bits in all parameters. A check for tests, and for a
 * program that trains ranks apart by mistake: by a `loss.backward()` that no rank averages, or by random numbers in an update.
 * Throws: DisagreementError
 */
export function checkReplicas(group: Group, model: Module): void {
  refuseOptions('checkReplicas', arguments[2]);
  checkGroup('checkReplicas', group);
  if (!isInstance(model, Module)) throw new ArgumentError(`checkReplicas: expected a model, got ${kindOf(model)}`);
  const sums = model.namedParameters().map(([path, p]) => [path, `the checksum ${isTensor(p) ? checksum(p.data()) : ''}`] as const);
  checkAgreement('checkReplicas', group, sums, 'every step must compute its gradients with DataParallel.backward');
}

/** Returns a hash of the bits of numbers as a text: FNV-1a with 32 bits. */
function checksum(values: ArrayBufferView): string {
  const words = new Uint32Array(values.buffer, values.byteOffset, values.byteLength / 4);
  let hash = 0x811c9dc5;
  for (const word of words) hash = Math.imul(hash ^ word, 0x01000193) ^ (word >>> 15);
  return (hash >>> 0).toString(16).padStart(8, '0');
}
