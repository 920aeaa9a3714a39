/**
 * Writes report.html: one file that shows a finished run in any browser, without a network.
 */
import type { Data } from '../data.ts';
import type { GateStatistics } from '../gates.ts';
import { INTERIM_IMAGES } from '../loop.ts';
import { flagOf, matters, type Settings } from '../options.ts';
import type { RunFolder } from '../run-folder.ts';
import { count, ranksText, type Result } from '../table.ts';
import { shellWord } from '../text.ts';
import { confusion, samples } from './answers.ts';
import { curvesOf, SMOOTHING_SHARE } from './curves.ts';
import { type Html, html } from './html.ts';
import { netSection } from './net.ts';
import { type Content, type GateData, pageOf } from './page.ts';
import { taskSection } from './task.ts';
import { headline, verdict } from './verdict.ts';

/** Writes the report into the run's folder and returns its path. */
export function writeReport(folder: RunFolder, content: Content): string {
  return folder.writeReport(pageOf(content).text);
}

/** Returns what the report of a finished run shows. */
export function reportOf(folder: RunFolder, results: readonly Result[], data: Data): Content {
  const { settings } = folder;
  const title = headline(results, data);
  const main = html`
${header(title, settings, data)}
${verdict(results, settings)}
${taskSection(data, settings)}
${netSection(settings, data)}
${training(results[0]!.labels.length)}
${gates(results, data)}
<section>
  <h2>What is taken for what</h2>
  <p class="note">Rows are the true class, columns the net’s answer, in % of the row. Bold cells on the diagonal are right answers. An empty cell means
  less than half a percent.</p>
  <div class="pair">${results.map((r) => confusion(r, data.classes))}</div>
</section>
<section>
  <h2>Test images</h2>
  ${samples(results, data)}
</section>
${runSection(settings, ranksText(results))}
`;
  const charts = {
    curves: curvesOf(folder.metrics(), results),
    gates: gateData(
      results.flatMap((r) => r.gates),
      data,
      settings,
    ),
  };
  return { title, main, data: charts };
}

export function header(title: string, settings: Settings, data: Data, state = ''): Html {
  return html`<header>
  <p class="eyebrow">chainrule · ${settings.data} · seed ${settings.seed}${state}</p>
  <h1 id="headline">${title}</h1>
  <p class="about">${data.about}</p>
</header>`;
}

/** The section with the curves. client.js draws them. */
export function training(testImages: number): Html {
  const interim = count(Math.min(INTERIM_IMAGES, testImages));
  return html`<section>
  <h2>Training</h2>
  <div class="charts">
    <figure><figcaption>Loss</figcaption><div id="loss"></div></figure>
    <figure><figcaption>Accuracy, %</figcaption><div id="accuracy"></div></figure>
    <figure><figcaption>Learning rate</figcaption><div id="lr"></div></figure>
  </div>
  <p class="note">Thin lines: training batches, the mean over ${100 * SMOOTHING_SHARE} % of all steps. Dots: test images (the last dot all
  ${count(testImages)}, those before the first ${interim}). Drag to zoom, double-click to return.</p>
</section>`;
}

/** A section with a heat map and a chart for each gate; null if there is none. client.js draws them. */
function gates(results: readonly Result[], { classes, bands }: Data): Html | null {
  const blocks = results.flatMap((r) => r.gates);
  if (blocks.length === 0) return null;
  const images = count(Math.min(INTERIM_IMAGES, results[0]!.labels.length));
  const text =
    bands === null
      ? html`Where the rows differ, the gate tells classes apart (as in Hu et al. 2017, figure 6).`
      : html`What SE has to detect is the band, so each class has a row under each. The channels are sorted: at the left those that a
  <b class="warm">warm</b> band closes, at the right those that it opens. Where the two lines part, the gate tells the bands apart.`;
  const button = (value: string, label: Html | string) =>
    html`<button type="button" class="key" data-class="${value}" aria-pressed="${String(value === '')}">${label}</button>`;
  const dot = (c: number) => (bands === null ? html`<span class="dot class-${c}"></span>` : null);
  const buttons = classes.map((name, c) => button(String(c), html`${dot(c)}${name}`));
  return html`<section>
  <h2>What the gates do</h2>
  <p class="note">The scale that each gate gives every channel (columns), averaged over the test images of a class (rows; of the first ${images}).
  ${text}</p>
  <p class="note">Choose a class to see by how much its own images differ: mean ± standard deviation (as in Hu et al. 2017, figure 7).</p>
  <div class="classes" role="group" aria-label="Class">${[button('', 'all classes'), ...buttons]}</div>
  <div class="gates${blocks.length > 4 ? ' many' : ''}">${blocks.map((block, i) => gateFigure(block, i, classes, bands))}</div>
</section>`;
}

function gateFigure({ block, means }: GateStatistics, i: number, classes: readonly string[], bands: readonly string[] | null): Html {
  const rows = html`<div class="rows">${classes.map((name) => html`<span>${name}</span>`)}</div>`;
  const title = (name: string) => (bands === null ? null : html`<p class="${name}">${name} band</p>`);
  const map = (name: string, b: number) =>
    html`<div class="map">${title(name)}${rows}<div class="cells" data-gate="${i}" data-band="${b}"></div></div>`;
  return html`<figure>
  <figcaption>${gateTitle(block)} <small>${aboutGate(means)}</small></figcaption>
  <div class="maps">${(bands ?? ['']).map(map)}</div>
  <p class="scale" id="scale-${i}"></p>
  <p class="readout" id="readout-${i}" role="status"></p>
  <div id="gate-${i}"></div>
</figure>`;
}

/** Returns the title of a gate by its path: `blocks.0.se` of the tiny net is block 1, `layer2.0.se` of a residual net stage 2, block 1. */
export function gateTitle(path: string): string {
  const [, stage, block] = /^(?:blocks|layer(\d+))\.(\d+)\./.exec(path) ?? [];
  if (block === undefined) return path;
  const number = `block ${Number(block) + 1}`;
  return stage === undefined ? number : `stage ${stage}, ${number}`;
}

/** Returns the number of channels of a gate, and the greatest difference that the band makes to one of them. */
function aboutGate(means: GateStatistics['means']): string {
  const [cool, warm] = means.map((rows) => rows.at(-1) ?? null);
  const channels = `${(cool ?? warm)?.length ?? 0} channels`;
  if (!cool || !warm) return channels;
  const difference = Math.max(...cool.map((scale, c) => Math.abs(scale - warm[c]!)));
  return `${channels}; the band changes a scale by up to ${difference.toFixed(2)}`;
}

export function gateData(blocks: GateData['blocks'], { classes, bands }: Data, { gate }: Settings): GateData {
  const range = ({ sigmoid: [0, 1], hardsigmoid: [0, 1], tanh: [-1, 1], relu: null } as const)[gate];
  return { range, classes, bands, blocks: blocks.map((b) => ({ ...b, block: gateTitle(b.block) })) };
}

/** The section with the settings, and the command that repeats the run. `note` is a line about it, such as the number of ranks. */
export function runSection(settings: Settings, note: string | null = null): Html {
  return html`<section>
  <h2>The run</h2>
  <pre>${commandOf(settings)}</pre>
  ${note === null ? null : html`<p class="note">${note}</p>`}
  <dl>${Object.entries(settings).map(setting)}</dl>
</section>`;
}

function setting([key, value]: [string, string | number | boolean | null]): Html {
  return html`<div><dt>${key}</dt><dd>${value === null ? '–' : String(value)}</dd></div>`;
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
