/**
 * What is known of a run that goes on, and the page that shows it.
 */
import { netsOf } from '../checkpoint.ts';
import type { Data } from '../data.ts';
import { RecentAverages, RunningStats } from '../display.ts';
import { totalSteps } from '../loop.ts';
import type { Metric, StepMetric, TestMetric } from '../metrics.ts';
import { titleOf } from '../model.ts';
import type { Settings } from '../options.ts';
import { type Curves, curvesOf, SMOOTHING_SHARE } from '../report/curves.ts';
import { type Html, html } from '../report/html.ts';
import { netSection } from '../report/net.ts';
import type { Content } from '../report/page.ts';
import { gateData, header, runSection, training } from '../report/report.ts';
import { taskSection } from '../report/task.ts';
import { meter, scrolling, tableRow } from '../report/verdict.ts';
import { count, percent, type Result } from '../table.ts';

const COLUMNS = ['model', 'step', 'recent training loss', 'recent accuracy', 'test accuracy', 'images/s', 'time left'] as const;

interface NetState {
  readonly net: Result['net'];
  readonly title: string;
  step: StepMetric | null;
  test: TestMetric | null;
  readonly averages: RecentAverages;
  /** The speed; null unless the net is being trained. */
  stats: RunningStats | null;
}

/** What changes on the page, as client.js reads it. */
export interface Progress {
  readonly title: string;
  readonly headline: string;
  /** HTML of the bars, and of the table's rows. */
  readonly bars: string;
  readonly rows: string;
  readonly curves: Curves;
}

export class RunState {
  readonly #settings: Settings;
  readonly #data: Data;
  readonly #total: number;
  readonly #nets: readonly NetState[];
  readonly #metrics: Metric[] = [];
  /** The net that is being trained; null before the first one. */
  #current: NetState | null = null;

  constructor(settings: Settings, data: Data) {
    this.#settings = settings;
    this.#data = data;
    this.#total = totalSteps(data, settings);
    this.#nets = netsOf(settings).map((net) => ({
      net,
      title: titleOf(settings.model, net === 'se'),
      step: null,
      test: null,
      averages: new RecentAverages(),
      stats: null,
    }));
  }

  /** Whether no net has been trained yet. */
  get isNew(): boolean {
    return this.#current === null;
  }

  /** Training of a net starts, or resumes after `step` steps. */
  begin(net: Result['net'], step: number): void {
    for (const state of this.#nets) state.stats = null;
    this.#current = this.#nets.find((n) => n.net === net)!;
    this.#current.stats = new RunningStats(step, this.#total, this.#settings.batchSize);
  }

  add(metric: Metric): void {
    this.#metrics.push(metric);
    const state = this.#nets.find((n) => n.net === metric.net)!;
    if ('lr' in metric) {
      state.step = metric;
      state.averages.add(metric);
      state.stats?.add(metric);
    } else {
      state.test = metric;
    }
  }

  progress(): Progress {
    return {
      title: this.#title(),
      headline: this.#headline(),
      bars: this.#bars().text,
      rows: this.#rows().text,
      curves: this.#curves(),
    };
  }

  /** Returns the page, which then shows each progress. */
  page(): Content {
    const data = this.#data;
    const settings = this.#settings;
    const table = html`<table>
    <thead><tr>${COLUMNS.map((c) => html`<th scope="col">${c}</th>`)}</tr></thead>
    <tbody id="rows">${this.#rows()}</tbody>
  </table>`;
    const main = html`
${header(this.#headline(), settings, data, ' · live')}
<p class="note" id="state" role="status">Waiting for the run …</p>
<section class="verdict" aria-label="Progress">
  <div id="bars">${this.#bars()}</div>
  ${scrolling('Progress of the nets', table)}
  <p class="note">Recent: averaged over about the last 20 training steps, as in the terminal. The charts have means over
  ${100 * SMOOTHING_SHARE} % of all steps.</p>
</section>
${training(data.test.length)}
${taskSection(data, settings)}
${netSection(settings, data)}
<p class="note">When the run has finished, this page becomes its report, with the gates, the confusion matrices and test images.</p>
${runSection(settings)}
`;
    return { title: this.#title(), main, data: { curves: this.#curves(), gates: gateData([], data, settings) } };
  }

  /** The axis of the steps doubles until it has all of them: at the beginning of a long run, its curves would be a line at the edge. */
  #curves(): Curves {
    const last = this.#nets.reduce((most, { step }) => Math.max(most, step?.step ?? 1), 1);
    let end = this.#total;
    while (end >= 3 * last) end = Math.ceil(end / 2);
    return curvesOf(this.#metrics, this.#nets, end);
  }

  #title(): string {
    const position = this.#current === null ? 'starting' : `${this.#current.title} ${this.#current.step?.step ?? 0}/${this.#total}`;
    return `${position} · chainrule`;
  }

  #headline(): string {
    if (this.#current === null) return 'The run begins';
    const { title, step } = this.#current;
    if (step?.step === this.#total) return `All ${count(this.#total)} steps done, ${title}: testing`;
    return `Step ${count(step?.step ?? 0)} of ${count(this.#total)}, ${title}`;
  }

  #bars(): Html {
    return html`${this.#nets.map(({ net, title, step }) => {
      const share = (step?.step ?? 0) / this.#total;
      return meter({ net, title, share, value: `${Math.floor(100 * share)} %` });
    })}`;
  }

  #rows(): Html {
    return html`${this.#nets.map((state) => tableRow(state.net, cellsOf(state)))}`;
  }
}

/** Returns one text for each of COLUMNS. */
function cellsOf({ title, step, test, averages, stats }: NetState): string[] {
  const tested = test === null ? '–' : `${percent(test.testAccuracy)} at step ${count(test.step)}`;
  if (step === null) return [title, '0', '–', '–', tested, '–', '–'];
  const { loss, accuracy } = averages.figures();
  // The speed begins with the first step after a start.
  const { speed, left } = stats?.hasSteps === true ? stats.figures() : { speed: '–', left: '–' };
  return [title, count(step.step), loss, accuracy, tested, speed, left];
}
