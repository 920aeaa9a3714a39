/**
 * report.html: one file that shows a finished run, in any browser, without a network.
 */
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import type { Data } from '../data.ts';
import { INTERIM_IMAGES } from '../loop.ts';
import { flagOf, matters, type Settings } from '../options.ts';
import type { RunFolder } from '../run-folder.ts';
import { cells, COLUMNS, count, gain, percent, points, type Result } from '../table.ts';
import { confusionOf } from './confusion.ts';
import { curvesOf, SMOOTHED } from './curves.ts';
import { embeddedJson, Html, html } from './html.ts';
import { groupsOf, imageUrl } from './samples.ts';

const beside = (name: string): Html => new Html(readFileSync(new URL(name, import.meta.url), 'utf8'));
const packaged = (name: string): Html => new Html(readFileSync(createRequire(import.meta.url).resolve(name), 'utf8'));

/** Writes the report into the run's folder and returns its path. */
export function writeReport(folder: RunFolder, results: readonly Result[], data: Data): string {
  return folder.writeText('report.html', page(folder, results, data).text);
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
<style>${packaged('uplot/dist/uPlot.min.css')}${beside('style.css')}</style>
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
<script>${packaged('uplot/dist/uPlot.iife.min.js')}</script>
<script>${beside('client.js')}</script>
</body>
</html>
`;
}

/** A chart for each gate; client.js draws them. */
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
  // The gate's own range; null: as far as the values go.
  const range = { sigmoid: [0, 1], hardsigmoid: [0, 1], tanh: [-1, 1], relu: null }[gate];
  return { range, blocks: results.flatMap((r) => r.excitations) };
}

function setting([key, value]: [string, string | number | boolean | null]): Html {
  return html`<div><dt>${key}</dt><dd>${value === null ? '–' : String(value)}</dd></div>`;
}

function chartNote(testImages: number): string {
  const glance = count(Math.min(INTERIM_IMAGES, testImages));
  return (
    `Thin lines: training batches, averaged over ${100 * SMOOTHED} % of the steps. Dots: test images (the last dot all ` +
    `${count(testImages)}, those before the first ${glance}). Drag to zoom, double-click to return.`
  );
}

function headline(results: readonly Result[]): string {
  const g = gain(results);
  if (g !== null) return `Squeeze-and-excitation: ${points(g)} of test accuracy`;
  return results.map((r) => `${r.title}: ${percent(r.testAccuracy)} of the test images`).join(', ');
}

/** Bars of accuracy, and the table. */
function verdict(results: readonly Result[], settings: Settings): Html {
  const bounds = settings.data === 'synthetic' && settings.context === 'distant' && settings.model === 'tiny' ? [80, 90] : [];
  const bar = (r: Result) => html`<div class="bar ${r.net}">
    <span class="name">${r.title}</span>
    <span class="track">${bounds.map((b) => html`<i style="left:${b}%"></i>`)}<b style="width:${100 * r.testAccuracy}%"></b></span>
    <span class="value">${percent(r.testAccuracy)}</span>
  </div>`;
  const caption = 'Marks: 80 % is the best score that ignores the context, 90 % the best that only adds evidence of shape and context.';
  const g = gain(results);
  return html`<section class="verdict">
  ${results.map(bar)}
  ${bounds.length > 0 ? html`<p class="note">${caption}</p>` : null}
  <div class="scroll"><table>
    <thead><tr>${COLUMNS.map((c) => html`<th>${c}</th>`)}</tr></thead>
    <tbody>${results.map((r) => html`<tr>${cells(r).map((c, i) => (i === 0 ? html`<th scope="row"><span class="dot ${r.net}"></span>${c}</th>` : html`<td>${c}</td>`))}</tr>`)}</tbody>
    ${g === null ? null : html`<tfoot><tr><th scope="row">SE gain</th><td colspan="3"></td><td>${points(g)}</td><td></td></tr></tfoot>`}
  </table></div>
</section>`;
}

function confusion(result: Result, classes: readonly string[]): Html {
  const row = (counts: readonly number[], truth: number) => {
    const total = Math.max(
      1,
      counts.reduce((a, b) => a + b, 0),
    );
    const cell = (n: number, guess: number) => {
      const share = Math.round((100 * n) / total);
      const about = `${classes[truth]} taken for ${classes[guess]}: ${n} of ${total}`;
      return html`<td class="${guess === truth ? 'right' : 'wrong'}" style="--share:${share}%" title="${about}">${share === 0 ? '' : share}</td>`;
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

function samples(results: readonly Result[], data: Data): Html {
  const card = (index: number) => {
    const label = Number(results[0]!.labels[index]);
    const answer = (r: Result) => {
      const guess = Number(r.predictions[index]);
      const mark = guess === label ? '✓' : '✗';
      return html`<li><span class="dot ${r.net}"></span><span class="${guess === label ? 'yes' : 'no'}">${mark}</span> ${data.classes[guess]!}</li>`;
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

/** A command that trains the same again. */
function commandOf(settings: Settings): string {
  const { se, ...rest } = settings;
  const meant = (key: keyof typeof rest) => rest[key] !== null && matters(key, settings);
  const flags = (Object.keys(rest) as (keyof typeof rest)[]).filter(meant).map((key) => `${flagOf(key)} ${rest[key]}`);
  return ['npm start --', ...(se === null ? [] : [se ? '--se' : '--no-se']), ...flags].join(' ');
}
