/**
 * The curves of loss and accuracy.
 */
import { h } from '../../ui/dom.ts';
import { lineChart } from '../../ui/line-chart.ts';
import { Curve } from '../curve.ts';
import type { StepsReport } from '../messages.ts';
import { NETS, type PerNet, perNet } from '../nets.ts';

/** The share of the past in the average of the losses. */
const DECAY = 0.9;

const SERIES = [
  { label: 'without SE', color: 'plain' },
  { label: 'with SE', color: 'se' },
];

/** What a net can reach at best: without the band, and by adding up the evidence of shape and band. */
const MARKS = [
  { value: 80, text: '80 %: best by shape alone' },
  { value: 90, text: '90 %: best by adding shape and band' },
];

export interface Curves {
  readonly loss: HTMLElement;
  readonly accuracy: HTMLElement;
  readonly addSteps: (report: Pick<StepsReport, 'step' | 'losses'>) => void;
  readonly addAccuracy: (step: number, accuracy: PerNet<number>) => void;
  /** Begins a new run. `marks`: whether the accuracies that a net without SE can reach are shown. */
  readonly clear: (marks: boolean) => void;
}

export function curves(): Curves {
  const lossCurve = new Curve(2);
  const accuracyCurve = new Curve(2);
  let averages = { plain: 0, se: 0 };
  let marks = true;
  const loss = lineChart({
    title: 'Training loss, averaged over 10 steps',
    x: 'Step',
    series: SERIES,
    range: (_, high) => [0, Math.max(2.5, Math.min(high, 6))],
    height: 330,
  });
  const accuracy = lineChart({
    title: 'Accuracy on test images, %',
    x: 'Step',
    series: SERIES,
    range: () => [0, 100],
    marks: () => (marks ? MARKS : []),
    height: 330,
  });
  const drawAccuracy = (): void => {
    const { x, series } = accuracyCurve;
    const last = series.map((s) => s.at(-1)?.toFixed(1) ?? 'none');
    accuracy.update(x, series, `${last[0]} % without SE, ${last[1]} % with SE`);
  };
  return {
    loss: loss.element,
    accuracy: accuracy.element,
    addSteps: ({ step, losses }) => {
      const count = losses.plain.length;
      for (let i = 0; i < count; i++) {
        const at = step - count + i + 1;
        averages = perNet((name) => DECAY * averages[name] + (1 - DECAY) * losses[name][i]!);
        lossCurve.add(
          at,
          // The division corrects for the start from 0.
          NETS.map((name) => averages[name] / (1 - DECAY ** at)),
        );
      }
      const last = lossCurve.series.map((s) => s.at(-1)?.toFixed(3) ?? 'none');
      loss.update(lossCurve.x, lossCurve.series, `${last[0]} without SE, ${last[1]} with SE after ${step} steps`);
    },
    addAccuracy: (step, share) => {
      if (accuracyCurve.x.at(-1) === step) return;
      accuracyCurve.add(
        step,
        NETS.map((name) => 100 * share[name]),
      );
      drawAccuracy();
    },
    clear: (withMarks) => {
      marks = withMarks;
      averages = { plain: 0, se: 0 };
      lossCurve.clear();
      accuracyCurve.clear();
      loss.update([], [[], []], 'no step yet');
      drawAccuracy();
    },
  };
}

/** A number with its caption. */
export function stat(caption: string, color: string | null = null): Stat {
  const value = h('strong', color === null ? {} : { class: `of-${color}` }, '–');
  const below = h('span', {}, caption);
  return {
    element: h('div', { class: 'stat' }, value, below),
    set: (text, newCaption = caption) => {
      value.textContent = text;
      below.textContent = newCaption;
    },
  };
}

export interface Stat {
  readonly element: HTMLElement;
  readonly set: (text: string, caption?: string) => void;
}
