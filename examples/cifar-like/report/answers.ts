/**
 * The sections on single answers of the nets: confusion matrices and test images.
 */
import type { Data } from '../data.ts';
import { count, type Result } from '../table.ts';
import { confusionOf } from './confusion.ts';
import { type Html, html } from './html.ts';
import { groupsOf, imageUrl } from './samples.ts';
import { scrolling } from './verdict.ts';

/** A confusion matrix as a table. */
export function confusion(result: Result, classes: readonly string[]): Html {
  const row = (counts: readonly number[], truth: number) => {
    const sum = counts.reduce((a, b) => a + b, 0);
    const cell = (n: number, predicted: number) => {
      // A class without test images must not divide by zero.
      const share = Math.round((100 * n) / Math.max(1, sum));
      const tooltip = `${classes[truth]} taken for ${classes[predicted]}: ${n} of ${sum}`;
      const kind = predicted === truth ? 'right' : 'wrong';
      return html`<td class="${kind}" style="--share:${share}%" title="${tooltip}">${share === 0 ? '' : share}</td>`;
    };
    return html`<tr><th scope="row">${classes[truth]!}</th>${counts.map(cell)}</tr>`;
  };
  const short = classes.every((c) => c.length === 1);
  return html`<figure>
  <figcaption><span class="dot ${result.net}"></span>${result.title}</figcaption>
  ${scrolling(
    `Confusion matrix: ${result.title}`,
    html`<table class="confusion ${result.net}${short ? ' short' : ''}">
    <thead><tr><td></td>${classes.map((c) => html`<th scope="col"><span>${c}</span></th>`)}</tr></thead>
    <tbody>${confusionOf(result, classes.length).map(row)}</tbody>
  </table>`,
  )}
</figure>`;
}

/** Test images in groups, with the answers of the nets. */
export function samples(results: readonly Result[], data: Data): Html {
  const card = (index: number) => {
    const label = Number(results[0]!.labels[index]);
    const answer = (r: Result) => {
      const predicted = Number(r.predictions[index]);
      const mark = predicted === label ? html`<span class="yes">✓</span>` : html`<span class="no">✗</span>`;
      return html`<li><span class="dot ${r.net}"></span>${mark} ${data.classes[predicted]!}</li>`;
    };
    return html`<figure class="card">
    <img src="${imageUrl(data.test, index)}" alt="test image ${index}: ${data.classes[label]!}" width="96" height="96">
    <figcaption>${data.classes[label]!}</figcaption>
    <ul>${results.map(answer)}</ul>
  </figure>`;
  };
  const groups = groupsOf(results).map(
    ({ title, total, indices }) => html`<h3>${title} <small>${count(total)} of ${count(results[0]!.labels.length)}</small></h3>
  <div class="cards">${indices.map(card)}</div>`,
  );
  const key = results.map((r) => html`<span class="key"><span class="dot ${r.net}"></span>${r.title}</span>`);
  return html`<p class="note">Under each image its true class, then what each net answered: ${key}</p>${groups}`;
}
