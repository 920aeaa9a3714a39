import { readFileSync } from 'node:fs';
import { noGrad, tensor, type FloatDType, type Tensor } from 'chainrule';
import * as nn from 'chainrule/nn';
import { expect } from 'vitest';

// The fixtures of test/fixtures/make-nn.py, and its formulas for inputs and weights.

type Numbers = number[];

interface Fixture {
  functional: { op: string; shapes: number[][]; options: Record<string, unknown>; shape: number[]; y: Numbers; grads: Numbers[] }[];
  batchNorm: {
    options: Record<string, never>;
    training: { y: Numbers; dx: Numbers }[];
    evaluated: Numbers;
    dx: Numbers;
    grads: Numbers[];
    state: Record<string, Numbers>;
  }[];
  squeezeExcite: {
    keys: Record<string, number[]>;
    small: { y: Numbers; dx: Numbers; grads: Numbers[] };
    large: { means: Numbers; every: Numbers };
  };
  sgd: { options: { lr: number }; snapshots: Record<string, Numbers[]>; velocity: Numbers[] }[];
  schedulers: Record<'cosine' | 'oneCycle', { options: never; rows: [number, number][][] }[]>;
  training: { keys: string[]; losses: Numbers; logits: Numbers; mean: Numbers };
}

export const fixture = JSON.parse(readFileSync(new URL('../fixtures/nn.json', import.meta.url), 'utf8')) as Fixture;

export interface WaveOptions {
  k?: number;
  scale?: number;
  offset?: number;
  dtype?: FloatDType;
  requiresGrad?: boolean;
}

/** Returns offset + scale · sin(0.7 i + k + 1) over row-major i. */
export function wave(shape: number[], { k = 0, scale = 1, offset = 0, dtype = 'float64', requiresGrad = false }: WaveOptions = {}): Tensor {
  const n = shape.reduce((p, s) => p * s, 1);
  const values = Float64Array.from({ length: n }, (_, i) => offset + scale * Math.sin(0.7 * i + k + 1));
  return tensor(values, { shape, dtype, requiresGrad });
}

/** Does the same as the script's `fill`. */
export function fill<M extends nn.Module>(model: M): M {
  model.namedParameters().forEach(([name, p], k) => {
    const options = p.ndim > 1 ? { scale: (p.numel / p.size(0)) ** -0.5 * 1.5 } : { scale: 0.1, offset: name.endsWith('weight') ? 1 : 0 };
    noGrad(() => p.copy_(wave([...p.shape], { k, ...options })));
  });
  return model;
}

/** The tiny SE-CNN. */
export function tinyNet(options: { dtype?: FloatDType } = {}): nn.Sequential {
  const block = (i: number, o: number): nn.Layer[] => [
    new nn.Conv2d(i, o, 3, { padding: 1, bias: false, ...options }),
    new nn.BatchNorm2d(o, options),
    new nn.ReLU(),
    new nn.SqueezeExcite(o, { reduction: 4, ...options }),
  ];
  return new nn.Sequential(
    ...block(3, 16),
    new nn.MaxPool2d(2),
    ...block(16, 32),
    new nn.MaxPool2d(2),
    ...block(32, 64),
    new nn.AdaptiveAvgPool2d(1),
    new nn.Flatten(),
    new nn.Linear(64, 10, options),
  );
}

/** Expects every number within `tolerance` of the largest of `want`, relative where that is above 1. */
export function expectClose(got: Tensor | ArrayLike<number>, want: ArrayLike<number>, tolerance = 1e-10): void {
  const values = Array.from('data' in got ? got.data() : got);
  expect(values.length).toBe(want.length);
  const scale = Math.max(1, ...Array.from(want, Math.abs));
  const worst = Math.max(0, ...values.map((v, i) => Math.abs(v - want[i]!)));
  expect(worst / scale).toBeLessThanOrEqual(tolerance);
}

/** The reference kernels are slow, so long runs are shorter on them. */
export const onReference = process.env.CHAINRULE_KERNELS === 'reference';
