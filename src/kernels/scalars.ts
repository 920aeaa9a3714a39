/**
 * Mathematical functions of numbers, computed by the WebAssembly module, so that their last bits are the same everywhere. Those of `Math` differ:
 * `**` between V8 12 and 13 (Node 22 and 24), `exp`, `log`, `cos` and `sin` between V8, JavaScriptCore and builds of V8 with another C library.
 * `sqrt` and arithmetic are exact by the standard.
 */
import { kernelOf } from './wasm/module.ts';

type Scalar = (x: number) => number;

/** Returns a function that the module exports beside its kernels. */
const scalar = (name: string): unknown => kernelOf(name).run;

/** eˣ */
export const exp = scalar('scalarExp') as Scalar;
/** eˣ − 1 */
export const expm1 = scalar('scalarExpm1') as Scalar;
/** The natural logarithm. */
export const log = scalar('scalarLog') as Scalar;
/** log(1 + x) */
export const log1p = scalar('scalarLog1p') as Scalar;
/** The cosine of x radians. */
export const cos = scalar('scalarCos') as Scalar;
/** The sine of x radians. */
export const sin = scalar('scalarSin') as Scalar;
/** xʸ, as `x ** y`. */
export const pow = scalar('scalarPow') as (x: number, y: number) => number;
