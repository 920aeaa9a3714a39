/**
 * Shows the outcome of a check beside the editors.
 */
import { fill, h } from '../ui/dom.ts';
import type { CheckFailure, CheckOutcome, CheckResult } from './model.ts';
import { errorChart, incomingText, table, verdict } from './results.ts';

export interface Findings {
  /** The verdict, the table, and the error over the step. */
  readonly element: HTMLElement;
  /** Says that the shown outcome is being replaced. */
  readonly wait: () => void;
  /** Shows an outcome, and marks the step of this index. */
  readonly show: (outcome: CheckOutcome, step: number) => void;
}

/** @param stepControl The control of the step, which stands above the chart. */
export function findings(stepControl: HTMLElement): Findings {
  const outcome = h('div', { class: 'outcome', 'aria-live': 'polite' }, h('p', { class: 'note' }, 'Checking …'));
  const details = h('div', {});
  const chart = errorChart();
  const box = h('div', { class: 'box errors', hidden: true }, stepControl, chart.element);
  const showFailure = ({ editor, message }: CheckFailure): void => {
    details.hidden = true;
    box.hidden = true;
    outcome.dataset['state'] = 'failed';
    fill(outcome, h('p', { class: 'error' }, editor === null ? message : `Nothing is checked: see the text "${editor}".`));
  };
  const showResult = (result: CheckResult, step: number): void => {
    details.hidden = false;
    box.hidden = result.errors.float64.length === 0;
    outcome.dataset['state'] = result.ok ? 'right' : 'wrong';
    fill(outcome, verdict(result));
    fill(details, result.rows.length > 0 && table(result.rows), h('p', { class: 'note' }, incomingText(result.incoming)));
    chart.update(result.errors, step);
  };
  return {
    element: h('div', { class: 'findings' }, outcome, details, box),
    wait: () => {
      outcome.dataset['state'] = 'checking';
    },
    show: (found, step) => {
      if ('failure' in found) showFailure(found.failure);
      else showResult(found.result, step);
    },
  };
}
