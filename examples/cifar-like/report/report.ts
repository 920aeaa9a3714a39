/**
 * Writes report.html: one file that shows a finished run in any browser, without a network.
 */
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import type { Data } from '../data.ts';
import { INTERIM_IMAGES } from '../loop.ts';
import { flagOf, matters, type Settings } from '../options.ts';
import type { RunFolder } from '../run-folder.ts';
import { cells, COLUMNS, count, gain, percent, points, type Result } from '../table.ts';
import { shellWord } from '../text.ts';
import { confusionOf } from './confusion.ts';
import { curvesOf, SMOOTHING_SHARE } from './curves.ts';
import { embeddedJson, Html, html } from './html.ts';
import { groupsOf, imageUrl } from './samples.ts';

/** Reads a file of this folder. */
const ownFile = (name: string): Html => new Html(readFileSync(new URL(name, import.meta.url), 'utf8'));
/** Reads a file of an npm package. */
const packageFile = (name: string): Html => new Html(readFileSync(createRequire(import.meta.url).resolve(name), 'utf8'));

/** Writes the report into the run's folder and returns its path. */
export function writeReport(folder: RunFolder, results: readonly Result[], data: Data): string {
  return folder.writeReport(page(folder, results, data).text);
}

function page(folder: RunFolder, results: readonly Result[], data: Data): Html {
  const { settings } = folder;
  return html`<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>${headline(results)}</title>
<style>${packageFile('uplot/dist/uPlot.min.css')}${ownFile('colors.css')}${ownFile('style.css')}</style>
</head>
<body>
<main>
<header>
  <p class="eyebrow">chainrule · ${settings.data} · seed ${settings.seed}</p>
  <h1>${headline(results)}</h1>
  <p class="about">${data.about}</p>
</header>
${verdict(results, settings)}
<section>
  <h2>Training</h2>
  <div class="charts">
    <figure><figcaption>Loss (cross entropy)</figcaption><div id="loss"></div></figure>
    <figure><figcaption>Accuracy, %</figcaption><div id="accuracy"></div></figure>
    <figure><figcaption>Learning rate</figcaption><div id="lr"></div></figure>
  </div>
  <p class="note">${chartNote(results[0]!.labels.length)}</p>
</section>
${gates(results, data)}
<section>
  <h2>What is taken for what</h2>
  <p class="note">Rows are the true class, columns the net’s answer, in % of the row; empty means less than half a percent.</p>
  <div class="pair">${results.map((r) => confusion(r, data.classes))}</div>
</section>
<section>
  <h2>Test images</h2>
  ${samples(results, data)}
</section>
<section>
  <h2>The run</h2>
  <pre>${commandOf(settings)}</pre>
  <dl>${Object.entries(settings).map(setting)}</dl>
</section>
</main>
<script type="application/json" id="excitations">${embeddedJson(excitationsData(results, settings))}</script>
<script type="application/json" id="curves">${embeddedJson(curvesOf(folder.metrics(), results))}</script>
<script>${packageFile('uplot/dist/uPlot.iife.min.js')}</script>
<script>${ownFile('client.js')}</script>
</body>
</html>
`;
}

/** A section with a chart for each gate. client.js draws the charts. */
function gates(results: readonly Result[], data: Data): Html | null {
  const blocks = results.flatMap((r) => r.excitations);
  if (blocks.length === 0) return null;
  const images = count(Math.min(INTERIM_IMAGES, results[0]!.labels.length));
  return html`<section>
  <h2>What the gates do</h2>
  <p class="note">The scale that each block’s gate gives every channel, averaged over the test images of a class (of the first
  ${images}); channels run from left to right. Where the lines part, the gate tells classes apart (as in Hu et al. 2017, figure 6).
  Choose a class to see by how much its own images differ: mean ± standard deviation (figure 7).</p>
  <p class="note classes">${data.classes.map((name, c) => html`<button type="button" class="key" data-class="${c}" aria-pressed="false"><span class="dot class-${c}"></span>${name}</button>`)}</p>
  <div class="gates">${blocks.map(({ block }, i) => html`<figure><figcaption>${block}</figcaption><div id="gate-${i}"></div></figure>`)}</div>
</section>`;
}

function excitationsData(results: readonly Result[], { gate }: Settings): object {
  // The range of the gate's function; null: the range of the values.
  const range = { sigmoid: [0, 1], hardsigmoid: [0, 1], tanh: [-1, 1], relu: null }[gate];
  return { range, blocks: results.flatMap((r) => r.excitations) };
}

function setting([key, value]: [string, string | number | boolean | null]): Html {
  return html`<div><dt>${key}</dt><dd>${value === null ? '–' : String(value)}</dd></div>`;
}

function chartNote(testImages: number): string {
  const interim = count(Math.min(INTERIM_IMAGES, testImages));
  return (
    `Thin lines: training batches, averaged over ${100 * SMOOTHING_SHARE} % of the steps. Dots: test images (the last dot all ` +
    `${count(testImages)}, those before the first ${interim}). Drag to zoom, double-click to return.`
  );
}

function headline(results: readonly Result[]): string {
  const difference = gain(results);
  if (difference !== null) return `Squeeze-and-excitation: ${points(difference)} of test accuracy`;
  return results.map((r) => `${r.title}: ${percent(r.testAccuracy)} of the test images`).join(', ');
}

/** The section with bars of accuracy and the table. */
function verdict(results: readonly Result[], settings: Settings): Html {
  const hasBounds = settings.data === 'synthetic' && settings.context === 'distant' && settings.model === 'tiny';
  const bounds = hasBounds ? [80, 90] : [];
  const bar = (r: Result) => html`<div class="bar ${r.net}">
    <span class="name">${r.title}</span>
    <span class="track">${bounds.map((b) => html`<i style="left:${b}%"></i>`)}<b style="width:${100 * r.testAccuracy}%"></b></span>
    <span class="value">${percent(r.testAccuracy)}</span>
  </div>`;
  const caption = 'Marks: 80 % is the best score that ignores the context, 90 % the best that only adds evidence of shape and context.';
  const difference = gain(results);
  const head = COLUMNS.map((c) => html`<th>${c}</th>`);
  const foot = (text: string) => html`<tfoot><tr><th scope="row">SE gain</th><td colspan="3"></td><td>${text}</td><td></td></tr></tfoot>`;
  return html`<section class="verdict">
  ${results.map(bar)}
  ${bounds.length > 0 ? html`<p class="note">${caption}</p>` : null}
  <div class="scroll"><table>
    <thead><tr>${head}</tr></thead>
    <tbody>${results.map(verdictRow)}</tbody>
    ${difference === null ? null : foot(points(difference))}
  </table></div>
</section>`;
}

function verdictRow(r: Result): Html {
  const [title, ...numbers] = cells(r);
  const first = html`<th scope="row"><span class="dot ${r.net}"></span>${title!}</th>`;
  return html`<tr>${[first, ...numbers.map((n) => html`<td>${n}</td>`)]}</tr>`;
}

/** A confusion matrix as a table. */
function confusion(result: Result, classes: readonly string[]): Html {
  const row = (counts: readonly number[], truth: number) => {
    const sum = counts.reduce((a, b) => a + b, 0);
    // A class without test images must not divide by zero.
    const total = Math.max(1, sum);
    const cell = (n: number, predicted: number) => {
      const share = Math.round((100 * n) / total);
      const tooltip = `${classes[truth]} taken for ${classes[predicted]}: ${n} of ${total}`;
      const kind = predicted === truth ? 'right' : 'wrong';
      return html`<td class="${kind}" style="--share:${share}%" title="${tooltip}">${share === 0 ? '' : share}</td>`;
    };
    return html`<tr><th scope="row">${classes[truth]!}</th>${counts.map(cell)}</tr>`;
  };
  const short = classes.every((c) => c.length === 1);
  return html`<figure>
  <figcaption><span class="dot ${result.net}"></span>${result.title}</figcaption>
  <div class="scroll"><table class="confusion ${result.net}${short ? ' short' : ''}">
    <thead><tr><td></td>${classes.map((c) => html`<th scope="col"><span>${c}</span></th>`)}</tr></thead>
    <tbody>${confusionOf(result, classes.length).map(row)}</tbody>
  </table></div>
</figure>`;
}

/** Test images in groups, with the answers of the nets. */
function samples(results: readonly Result[], data: Data): Html {
  const card = (index: number) => {
    const label = Number(results[0]!.labels[index]);
    const answer = (r: Result) => {
      const predicted = Number(r.predictions[index]);
      const mark = predicted === label ? html`<span class="yes">✓</span>` : html`<span class="no">✗</span>`;
      return html`<li><span class="dot ${r.net}"></span>${mark} ${data.classes[predicted]!}</li>`;
    };
    return html`<figure class="card">
    <img src="${imageUrl(data, index)}" alt="test image ${index}: ${data.classes[label]!}" width="96" height="96">
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

/** Returns the command that repeats the run. */
function commandOf(settings: Settings): string {
  const { se, ...others } = settings;
  const words = ['npm start --'];
  if (se !== null) words.push(se ? '--se' : '--no-se');
  for (const key of Object.keys(others) as (keyof typeof others)[]) {
    if (others[key] !== null && matters(key, settings)) words.push(`${flagOf(key)} ${shellWord(String(others[key]))}`);
  }
  return words.join(' ');
}
