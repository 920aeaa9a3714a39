/** Chapter 8: gradients are compared with differences, whose errors are known, and which fail at kinks. */
import { type Tensor, defineOp, gradcheck, tensor } from 'chainrule';

// The slope of x³ at 1 is 3. A difference with step h comes near to it.
const cube = (x: number): number => x * x * x;
for (const h of [0.1, 1e-3, 1e-5, 1e-7, 1e-9, 1e-11]) {
  const oneSided = (cube(1 + h) - cube(1)) / h;
  const central = (cube(1 + h) - cube(1 - h)) / (2 * h);
  const error = (estimate: number): string => Math.abs(estimate - 3).toExponential(0);
  console.log(`h ${h.toExponential(0)}: error one-sided ${error(oneSided)}, central ${error(central)}`);
}

// gradcheck does this for each element of each input, in float64. Here the factor 2 is missing.
const wrongSquare = defineOp({
  name: 'square',
  forward: (_kernels, x: Tensor) => x.square(),
  save: (_needs, [x]) => ({ x }),
  backward: (g, { x }) => [g.mul(x)],
});
const at = tensor([1, -2, 3], { dtype: 'float64', requiresGrad: true });
const report = gradcheck(wrongSquare, at, { raise: false });
console.log(`square: ${report.ok ? 'right' : 'wrong'}: ${report.diagnosis.join()}`);

// |x| has a kink at 0. If 0 lies between x − h and x + h, the difference is the slope of neither side.
const nearKink = 2e-7;
const h = 1e-6;
console.log(`|x| at 2e-7: slope 1, difference ${((Math.abs(nearKink + h) - Math.abs(nearKink - h)) / (2 * h)).toFixed(2)}`);

// branch names the side that each element took. gradcheck then sees that a step crosses the kink, and moves the point away.
const magnitude = (named: boolean): ((x: Tensor) => Tensor) =>
  defineOp({
    name: 'magnitude',
    forward: (_kernels, x: Tensor) => x.square().sqrt(),
    save: (_needs, [x]) => ({ x }),
    backward: (g, { x }) => [g.mul(x.sign())],
    ...(named ? { branch: ([x]: readonly [Tensor]) => x.gt(0) } : {}),
  });
const beside = tensor([2e-7, -3], { dtype: 'float64', requiresGrad: true });
for (const named of [false, true]) {
  const { ok, resampled } = gradcheck(magnitude(named), beside, { raise: false });
  console.log(`|x| ${named ? 'with' : 'without'} branch: ${ok ? 'right' : 'wrong'}, the point ${resampled > 0 ? 'moved' : 'stayed'}`);
}
