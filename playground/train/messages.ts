/**
 * What the page and the worker that trains tell each other.
 */
import type { SyntheticSample } from 'chainrule/data';
import type { PerNet } from './nets.ts';
import type { LayerNorm, Views } from './observe.ts';
import type { Schedule } from './session.ts';
import type { TrainSettings, Update } from './settings.ts';

/** From the page. */
export type Request =
  /** Begins a new run, in the place of the current one. `run` is its number, which all replies carry. */
  | {
      readonly kind: 'start';
      readonly run: number;
      readonly settings: TrainSettings;
      /** MNIST's files. */
      readonly files: readonly File[];
      readonly image: number;
      readonly play: boolean;
    }
  | { readonly kind: 'play' | 'pause' | 'step' }
  | { readonly kind: 'change'; readonly update: Update }
  /** Chooses the test image whose feature maps are shown. */
  | { readonly kind: 'image'; readonly image: number };

/** The test images, once a run. */
export interface Pictures {
  /** [N,C,H,W], 0 … 255. */
  readonly pixels: Uint8Array;
  readonly shape: readonly [number, number, number];
  readonly labels: Int32Array;
  /** The choices behind each synthetic image; null: the images have none. */
  readonly samples: readonly SyntheticSample[] | null;
  readonly classes: readonly string[];
}

/** What the steps since the last report brought. */
export interface StepsReport {
  /** The number of steps done. */
  readonly step: number;
  /** The losses of the steps since the last report, up to `step`. */
  readonly losses: PerNet<Float64Array>;
  /** What the next step applies. */
  readonly update: Update;
  readonly norms: readonly LayerNorm[];
  /** The average time of a step in milliseconds, without the views; null before the first step. */
  readonly stepTime: number | null;
  readonly threads: number;
  /** Bytes of tensors in WebAssembly memory. */
  readonly bytes: number;
}

/** The views after `step` steps. */
export interface ViewsReport extends Views {
  readonly step: number;
  /** The test image of the feature maps. */
  readonly image: number;
  readonly classes: readonly string[];
}

/**
 * Why a run cannot go on: a loss that is not finite, after which the nets are still there; a file that is missing, or one that cannot be
 * read; or anything else.
 */
export type Cause = 'loss' | 'missing file' | 'bad file' | 'other';

/** To the page. */
export type Reply = { readonly run: number } & (
  | ({ readonly kind: 'pictures' } & Pictures)
  | ({ readonly kind: 'steps' } & StepsReport)
  | ({ readonly kind: 'views' } & ViewsReport)
  /** A change took effect: what a link has to carry now. */
  | { readonly kind: 'schedule'; readonly schedule: Schedule }
  /** The run cannot go on. */
  | { readonly kind: 'failed'; readonly message: string; readonly cause: Cause }
);
