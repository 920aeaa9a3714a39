/**
 * The options of a gradient check.
 */
import { ArgumentError } from '../../core/errors.ts';
import { checkNumber, withDefaults } from '../../core/options.ts';

/** Options of gradcheck and gradgradcheck. Names are PyTorch's, in camelCase. */
export interface GradcheckOptions {
  /** The step h of the central difference. Default 1e-6. */
  readonly eps?: number;
  /** A gradient is right if |analytic − numeric| ≤ atol + rtol · |numeric|. Default 1e-5. */
  readonly atol?: number;
  /** See atol. Default 1e-3. */
  readonly rtol?: number;
  /** How much two evaluations, or two backwards, may differ at one point. Default 0. */
  readonly nondetTol?: number;
  /**
   * Compares one random projection of each input instead of every element: two evaluations an input, whatever its size. It can
   * miss one wrong element among thousands. An input that fails is then checked in every element. Default false.
   */
  readonly fastMode?: boolean;
  /** Whether to check that backward works from each of several outputs alone, and that these gradients add up. Default true. */
  readonly checkUndefinedGrad?: boolean;
  /** Seed of the incoming gradient and of the moves away from kinks. Default 0. */
  readonly seed?: number;
  /** How often the check moves the point away from a kink before it gives up. Default 20. */
  readonly maxResamples?: number;
  /** Whether a failed check throws GradcheckError. Default true. */
  readonly raise?: boolean;
}

/** The defaults of the options. */
export const GRADCHECK_DEFAULTS: Required<GradcheckOptions> = {
  eps: 1e-6,
  atol: 1e-5,
  rtol: 1e-3,
  nondetTol: 0,
  fastMode: false,
  checkUndefinedGrad: true,
  seed: 0,
  maxResamples: 20,
  raise: true,
};

/** The options with defaults filled in. */
export type Settings = Required<GradcheckOptions>;

/** Fills in defaults and checks the options' ranges. */
export function settingsOf(name: string, options: GradcheckOptions): Settings {
  const s: Settings = withDefaults(name, options, GRADCHECK_DEFAULTS);
  for (const option of ['eps', 'atol', 'rtol', 'nondetTol', 'seed', 'maxResamples'] as const) checkNumber(name, option, s[option]);
  if (!(s.eps > 0) || !(s.atol >= 0) || !(s.rtol >= 0) || !(s.nondetTol >= 0) || !(s.maxResamples >= 0)) {
    throw new ArgumentError(
      `${name}: eps must be > 0, atol, rtol, nondetTol and maxResamples ≥ 0; got ${s.eps}, ${s.atol}, ${s.rtol}, ${s.nondetTol} and ${s.maxResamples}`,
    );
  }
  return s;
}
