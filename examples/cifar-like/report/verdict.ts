/**
 * The report's headline, and its first section: bars of accuracy and the table.
 */
import type { Data } from '../data.ts';
import type { Settings } from '../options.ts';
import { cells, COLUMNS, count, gain, percent, points, type Result } from '../table.ts';
import { type Html, html } from './html.ts';

/** Returns the result in one line. It says so if the run was shorter than the default. */
export function headline(results: readonly Result[], { defaultSteps }: Pick<Data, 'defaultSteps'>): string {
  const steps = Math.min(...results.map((r) => r.steps));
  const unit = defaultSteps === 1 ? 'step' : 'steps';
  const short = steps < defaultSteps ? ` after ${count(steps)} of ${count(defaultSteps)} ${unit}` : '';
  const difference = gain(results);
  if (difference !== null) return `Squeeze-and-excitation: ${points(difference)}${short === '' ? ' of test accuracy' : short}`;
  return `${results.map((r) => `${r.title}: ${percent(r.testAccuracy)} of the test images`).join(', ')}${short}`;
}

/** What a net can reach on the synthetic task without SE, in %. */
const BOUNDS = [
  { at: 80, before: 'best without the context: ', after: '' },
  { at: 90, before: '', after: ': best by adding' },
];

export function verdict(results: readonly Result[], settings: Settings): Html {
  const hasBounds = settings.data === 'synthetic' && settings.context === 'distant' && settings.model === 'tiny';
  const bounds = hasBounds ? BOUNDS : [];
  const difference = gain(results);
  const head = COLUMNS.map((c) => html`<th scope="col">${c}</th>`);
  const foot = (text: string) => html`<tfoot><tr><th scope="row">SE gain</th><td colspan="3"></td><td>${text}</td><td></td></tr></tfoot>`;
  return html`<section class="verdict" aria-label="Result">
  ${results.map((r) =>
    meter({
      net: r.net,
      title: r.title,
      share: r.testAccuracy,
      value: percent(r.testAccuracy),
      marks: bounds.map(({ at }) => at),
    }),
  )}
  ${hasBounds ? html`<div class="bar marks"><span class="track">${bounds.map(markLabel)}</span></div>` : null}
  ${hasBounds ? html`<p class="note">80 % is the best score that ignores the context, 90 % the best that only adds the evidence of shape and context.</p>` : null}
  ${scrolling(
    'Results of the nets',
    html`<table>
    <thead><tr>${head}</tr></thead>
    <tbody>${results.map((r) => tableRow(r.net, cells(r)))}</tbody>
    ${difference === null ? null : foot(points(difference))}
  </table>`,
  )}
</section>`;
}

function markLabel({ at, before, after }: (typeof BOUNDS)[number]): Html {
  const side = at === 80 ? `right:${100 - at}%` : `left:${at}%`;
  const wide = (note: string) => (note === '' ? null : html`<span class="wide">${note}</span>`);
  return html`<span style="${side}">${wide(before)}${at} %${wide(after)}</span>`;
}

interface Meter {
  readonly net: Result['net'];
  readonly title: string;
  readonly share: number;
  readonly value: string;
  /** Positions of vertical marks, in %. */
  readonly marks?: readonly number[];
}

/** A bar of the net's colour that fills `share` of its track. */
export function meter({ net, title, share, value, marks = [] }: Meter): Html {
  return html`<div class="bar ${net}">
    <span class="name">${title}</span>
    <span class="track">${marks.map((m) => html`<i style="left:${m}%"></i>`)}<b style="width:${100 * share}%"></b></span>
    <span class="value">${value}</span>
  </div>`;
}

/** A table row: the net's name, then the other cells. */
export function tableRow(net: Result['net'], [title, ...others]: readonly string[]): Html {
  const first = html`<th scope="row"><span class="dot ${net}"></span>${title!}</th>`;
  return html`<tr>${[first, ...others.map((n) => html`<td>${n}</td>`)]}</tr>`;
}

/** A part that scrolls sideways where it is too wide, and then shows that it does. client.js marks the sides with more. */
export function scrolling(label: string, content: Html): Html {
  return html`<div class="scroll"><div class="scroller" role="region" aria-label="${label}">${content}</div><p class="hint">scroll sideways for more</p></div>`;
}
