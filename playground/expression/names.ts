/**
 * The names that an expression may use.
 */
import {
  type Tensor,
  arange,
  cat,
  einsum,
  eye,
  full,
  linspace,
  maximum,
  minimum,
  ones,
  rand,
  randn,
  stack,
  tensor,
  where,
  zeros,
} from 'chainrule';
import * as F from 'chainrule/nn/functional';

/** Methods of a tensor that return a tensor or tensors, and have no effect. */
export const METHODS: ReadonlySet<string> = new Set(
  (
    'abs add all amax amin any argmax argmin broadcastTo ceil chunk clamp clone contiguous cos cumsum detach div dot elu eq erf exp expand ' +
    'expm1 flatten flip floor gather ge gelu gt hardsigmoid hardswish indexSelect isfinite isnan le leakyRelu log log1p logSigmoid ' +
    'logSoftmax logicalAnd logicalNot logicalOr logsumexp lt maskedFill matmul max maximum mean min minimum mish movedim mul mv ne neg ' +
    'norm outer permute pow prelu prod reciprocal relu repeat reshape roll round rsqrt scatterAdd select sigmoid sign silu sin slice ' +
    'softmax softplus split sqrt square squeeze std sub sum tanh to transpose tril triu unbind unflatten unsqueeze var view'
  ).split(' '),
);

/** Properties of a tensor that can be read. */
export const PROPERTIES: ReadonlySet<string> = new Set(['shape', 'ndim', 'numel']);

type Function_ = (...args: never[]) => unknown;

const CONSTRUCTORS = { arange, eye, full, linspace, ones, rand, randn, tensor, zeros };
const OF_TENSORS = { cat, einsum, maximum, minimum, stack, where };

/** Functions: constructors, those of several tensors, losses and layers. */
export const FUNCTIONS: Readonly<Record<string, Function_>> = {
  ...Object.fromEntries(Object.entries(CONSTRUCTORS).map(([name, make]) => [name, inFloat64(make)])),
  ...OF_TENSORS,
  ...functionsOf(F),
};

/** Makes floats in float64, so that what a page shows is exact to the digits that it shows. */
function inFloat64(make: (...args: never[]) => Tensor): Function_ {
  return (...args) => {
    const made = make(...args);
    return made.dtype === 'float32' ? made.to('float64') : made;
  };
}

/** Functions that make a tensor of a shape, whose size is checked before the memory is taken. */
export const OF_SHAPE: ReadonlySet<string> = new Set(['full', 'ones', 'rand', 'randn', 'zeros']);

/** The functions of a module, without a prototype that names could reach. */
function functionsOf(module: object): Record<string, Function_> {
  return Object.fromEntries(Object.entries(module).filter(([, value]) => typeof value === 'function')) as Record<string, Function_>;
}

/** A value that an expression can have. */
export type Value = Tensor | number | boolean | string | null | readonly Value[] | { readonly [option: string]: Value };
