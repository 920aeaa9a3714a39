import { ShapeError, full, memory, ones, rand, randint, randn, scope, stack, tensor, zeros, type TensorData } from 'chainrule';
import { ArrayDataset, DataLoader } from 'chainrule/data';
import { tensorsFromBytes } from 'chainrule/io';
import * as nn from 'chainrule/nn';
import { shapes, tensors } from 'chainrule/testing';
import { describe, expect, test, vi } from 'vitest';
import { refuses } from './support/refuses.ts';

// A tensor has at most 64 dims, whichever way it comes into being.

const unit = (ndim: number): number[] => new Array<number>(ndim).fill(1);
const nested = (depth: number): TensorData => Array.from({ length: depth }).reduce<TensorData>((inner) => [inner], 1);
const most = (): ReturnType<typeof ones> => ones(unit(64));
const says = (op: string, ndim: number): string => `${op}: ${ndim} dims are given or would result, a tensor has at most 64`;

const GIVEN: Readonly<Record<string, (shape: number[]) => unknown>> = {
  zeros,
  ones,
  rand,
  randn,
  full: (shape) => full(shape, 1),
  randint: (shape) => randint(0, 2, shape),
  tensor: (shape) => tensor([1], { shape }),
  reshape: (shape) => ones([1]).reshape(shape),
  view: (shape) => ones([1]).view(shape),
  expand: (shape) => ones([1]).expand(shape),
  broadcastTo: (shape) => ones([1]).broadcastTo(shape),
  unflatten: (shape) => ones([1]).unflatten(0, shape),
  ArrayDataset: (shape) => new ArrayDataset(new Float32Array(1), shape, [0]),
  LayerNorm: (shape) => new nn.LayerNorm(shape),
  'tensors: shape': (shape) => tensors({ shape }),
  'shapes: maxRank': (shape) => shapes({ maxRank: shape.length }),
};

describe('a shape that is given', () => {
  test.each(Object.entries(GIVEN))('%s', (op, make) => {
    const { tensors: before } = memory();
    scope(() => void make(unit(64)));
    for (const ndim of [65, 200_000])
      refuses(() => scope(() => void make(unit(ndim))), ShapeError, says(op === 'LayerNorm' ? 'zeros' : op, ndim));
    expect(memory().tensors - before).toBeLessThanOrEqual(op === 'LayerNorm' ? 2 : 0);
  });

  test('one size of which follows from the others', () => {
    scope(() => {
      const x = ones([1]);
      refuses(() => x.reshape([...unit(64), -1]), ShapeError, says('reshape', 65));
    });
  });

  test('arrays that are nested', () => {
    expect(scope(() => tensor(nested(64)).ndim)).toBe(64);
    const message = 'tensor: the arrays are nested deeper than 64 dims, the most that a tensor has';
    for (const depth of [65, 200_000]) refuses(() => tensor(nested(depth)), ShapeError, message);
    const endless: TensorData[] = [];
    endless.push(endless);
    refuses(() => tensor(endless), ShapeError, message);
  });
});

describe('a dim that is added', () => {
  test.each<[op: string, make: () => unknown]>([
    ['reshape', () => most().unsqueeze(0)],
    ['reshape', () => stack([most()], 0)],
    ['repeat', () => most().repeat([2, ...unit(63)])],
    ['DataLoader', () => new DataLoader({ length: 1, get: () => [most()] }).first()],
  ])('%s', (op, make) => {
    scope(() => {
      expect(make).toThrow(new ShapeError(says(op, 65)));
    });
  });

  test('none is added by a repetition that repeats nothing', () => {
    expect(scope(() => most().repeat(unit(64)).ndim)).toBe(64);
  });
});

test('a file: the tensor is left out, and said to be', () => {
  const warn = vi.spyOn(console, 'warn').mockImplementation(() => {});
  const header = new TextEncoder().encode(`{"x":{"dtype":"F32","shape":[${unit(65).join(',')}],"data_offsets":[0,4]}}`);
  const bytes = new Uint8Array(8 + header.length + 4);
  bytes[0] = header.length;
  bytes.set(header, 8);
  expect(tensorsFromBytes(bytes)).toEqual({});
  expect(warn.mock.calls).toEqual([['tensorsFromBytes: bytes: left out x (it has 65 dims, at most 64 are supported)']]);
  warn.mockRestore();
});
