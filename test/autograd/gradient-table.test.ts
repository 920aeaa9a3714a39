import { describe, expect, test } from 'vitest';
import { amax, amin, maximum, minimum } from '../../src/autograd/index.ts';
import * as activations from '../../src/autograd/ops/activations.ts';
import * as attention from '../../src/autograd/ops/attention.ts';
import * as batchNorm from '../../src/autograd/ops/batch-norm.ts';
import * as broadcasting from '../../src/autograd/ops/broadcasting.ts';
import * as comparison from '../../src/autograd/ops/comparison.ts';
import * as conv from '../../src/autograd/ops/conv.ts';
import * as dropout from '../../src/autograd/ops/dropout.ts';
import * as einsum from '../../src/autograd/ops/einsum.ts';
import * as elementwise from '../../src/autograd/ops/elementwise.ts';
import * as embedding from '../../src/autograd/ops/embedding.ts';
import * as indexing from '../../src/autograd/ops/indexing.ts';
import * as instanceNorm from '../../src/autograd/ops/instance-norm.ts';
import * as interpolate from '../../src/autograd/ops/interpolate.ts';
import * as joining from '../../src/autograd/ops/joining.ts';
import * as linalg from '../../src/autograd/ops/linalg.ts';
import * as loss from '../../src/autograd/ops/loss.ts';
import * as normalization from '../../src/autograd/ops/normalization.ts';
import * as operands from '../../src/autograd/ops/operands.ts';
import * as multinomial from '../../src/autograd/ops/multinomial.ts';
import * as ordering from '../../src/autograd/ops/ordering.ts';
import * as pool from '../../src/autograd/ops/pool.ts';
import * as reduce from '../../src/autograd/ops/reduce.ts';
import * as scaleChannels from '../../src/autograd/ops/scale-channels.ts';
import * as softmax from '../../src/autograd/ops/softmax.ts';
import * as views from '../../src/autograd/ops/views.ts';
import { kernels } from '../../src/kernels/index.ts';
import {
  FIRST_ORDER_CASES,
  SECOND_ORDER_CASES,
  TIMEOUT,
  agreesWithDefinition,
  firstOrder,
  holds,
  secondOrder,
  sharesTies,
} from '../support/properties.ts';
import { FUSED, TABLE } from '../support/table.ts';

/** Exports of autograd/ops that have no gradient of their own. */
const WITHOUT_GRADIENT = [
  'eq',
  'ne',
  'lt',
  'le',
  'gt',
  'ge',
  'sign',
  'floor',
  'ceil',
  'round',
  'logicalAnd',
  'logicalOr',
  'logicalNot',
  'isnan',
  'isfinite',
  'argmax',
  'argsort',
  'multinomial',
  'nonzero',
  'argmin',
  'any',
  'all',
  'detach',
  // Functions for shapes and dtypes, helpers and checks.
  'affine',
  'ascending',
  'arithmetic',
  'causalMask',
  'channelShape',
  'sameDType',
  'floating',
  'reducedView',
  'emptyResult',
  'sumOp',
  'expandOperand',
  'expandTo',
  'withOperands',
  'toFloat',
  'outputSize',
  'poolSize',
  'reversedView',
  'checkIndex',
  'checkOperand',
  'checkProbability',
  'paddingRow',
  'requireFloat',
];

describe(`first order, ${FIRST_ORDER_CASES} cases each`, () => {
  for (const line of TABLE) test(line.name, { timeout: TIMEOUT }, () => holds(firstOrder(line), FIRST_ORDER_CASES));
});

describe(`second order, ${SECOND_ORDER_CASES} cases each`, () => {
  for (const line of TABLE) test(line.name, { timeout: TIMEOUT }, () => holds(secondOrder(line), SECOND_ORDER_CASES));
});

describe('at ties the gradient is shared', () => {
  test('amax', () =>
    holds(
      sharesTies((x) => amax(x)),
      50,
    ));
  test('amin', () =>
    holds(
      sharesTies((x) => amin(x)),
      50,
    ));
  test('maximum', () =>
    holds(
      sharesTies((x) => maximum(x, x.detach()).mul(2).div(x.numel)),
      50,
    ));
  test('minimum', () =>
    holds(
      sharesTies((x) => minimum(x, x.detach()).mul(2).div(x.numel)),
      50,
    ));
});

// On the reference kernels a fused operation is computed by its definition.
describe.runIf(kernels.name === 'wasm')('fused operations agree with their definitions', () => {
  for (const line of FUSED) test(line.name, () => holds(agreesWithDefinition(line), SECOND_ORDER_CASES));
});

test('the table has a line for every operation', () => {
  const modules: Record<string, unknown>[] = [
    activations,
    attention,
    batchNorm,
    broadcasting,
    comparison,
    conv,
    dropout,
    einsum,
    elementwise,
    embedding,
    indexing,
    instanceNorm,
    interpolate,
    joining,
    linalg,
    loss,
    normalization,
    operands,
    multinomial,
    ordering,
    pool,
    reduce,
    scaleChannels,
    softmax,
    views,
  ];
  const exported = modules.flatMap((m) => Object.keys(m)).sort();
  const covered = TABLE.flatMap((line) => line.covers ?? [line.name]);
  expect([...new Set(covered), ...WITHOUT_GRADIENT].sort()).toEqual(exported);
});
