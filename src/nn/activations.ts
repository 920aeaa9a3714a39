import * as f from '../autograd/index.ts';
import { layer } from './layer.ts';

/** y = max(x, 0) */
export class ReLU extends layer(f.relu) {}

/** y = tanh x */
export class Tanh extends layer(f.tanh) {}

/** y = 1 / (1 + e⁻ˣ) */
export class Sigmoid extends layer(f.sigmoid) {}

/**
 * y = x where x > 0, else negativeSlope · x; 0.01 by default
 * @example new LeakyReLU(0.2)
 */
export class LeakyReLU extends layer(f.leakyRelu) {}

/**
 * y = x where x > 0, else alpha · (eˣ − 1); 1 by default
 * @example new ELU(0.5)
 */
export class ELU extends layer(f.elu) {}

/**
 * y = x Φ(x)
 * @example new GELU({ approximate: 'tanh' })
 */
export class GELU extends layer(f.gelu) {}

/** y = x σ(x) */
export class SiLU extends layer(f.silu) {}

/** y = x tanh(ln(1 + eˣ)) */
export class Mish extends layer(f.mish) {}

/**
 * y = ln(1 + e^βx) / β where βx ≤ threshold, else x
 * @example new Softplus({ beta: 2, threshold: 20 })
 */
export class Softplus extends layer(f.softplus) {}

/** y = min(max(x + 3, 0), 6) / 6 */
export class Hardsigmoid extends layer(f.hardsigmoid) {}

/** y = x min(max(x + 3, 0), 6) / 6 */
export class Hardswish extends layer(f.hardswish) {}
