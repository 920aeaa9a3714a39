/** What the types of an operation's block refuse; `npm run typecheck` is the test. */
import { expectTypeOf, test } from 'vitest';
import type { FusedOpSpec, OpSpec, SimpleOpSpec } from '../../src/autograd/op.ts';
import type { Tensor } from '../../src/autograd/index.ts';
import type { View } from '../../src/kernels/view.ts';

type Args = [x: Tensor, w: Tensor | null];
type Saved = { x: Tensor; w: Tensor | null; n: number };
type Fused = FusedOpSpec<Args, [View, View], Saved>;
type Simple = SimpleOpSpec<Args, View, Saved>;
type Any = OpSpec<Args, View, Saved> | OpSpec<Args, [View, View], Saved>;

test('a fused operation has a definition and a gradient kernel, and no backward', () => {
  expectTypeOf<Fused>().toExtend<Any>();
  expectTypeOf<Simple>().toExtend<Any>();
  expectTypeOf<Omit<Fused, 'definition'>>().not.toExtend<Any>();
  expectTypeOf<Omit<Fused, 'gradKernel'>>().not.toExtend<Any>();
  expectTypeOf<Omit<Fused, 'backward'> & Required<Pick<Simple, 'backward'>>>().not.toExtend<Any>();
});

test('a gradient kernel reads and returns views; a backward reads and returns tensors', () => {
  type OfKernel = Parameters<Fused['gradKernel']>;
  expectTypeOf<OfKernel[1]>().toEqualTypeOf<View>();
  expectTypeOf<OfKernel[2]>().toEqualTypeOf<{ readonly x: View; readonly w: View | null; readonly n: number }>();
  expectTypeOf<ReturnType<Fused['gradKernel']>>().toEqualTypeOf<readonly (View | null)[]>();
  expectTypeOf<Parameters<NonNullable<Simple['backward']>>[1]>().toEqualTypeOf<Saved>();
});

test('save gets a tuple of arguments and one of results', () => {
  expectTypeOf<Parameters<NonNullable<Simple['save']>>>().toEqualTypeOf<[readonly boolean[], Args, readonly [Tensor]]>();
  expectTypeOf<Parameters<NonNullable<Fused['save']>>>().toEqualTypeOf<[readonly boolean[], Args, readonly [Tensor, Tensor]]>();
});
