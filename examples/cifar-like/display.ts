/**
 * Shows the progress of a run: a bar on a terminal, a line of text every five seconds elsewhere.
 */
import { type Bar, Presets, SingleBar } from 'cli-progress';
import type { StepReport } from './metrics.ts';

export interface Display {
  /** Training of a net starts, or resumes after `step` steps. */
  begin(net: string, step: number, total: number, batchSize: number): void;
  step(report: StepReport): void;
  /** Prints a line below the progress shown so far. */
  note(text: string): void;
  /** Stops the bar and restores the cursor. */
  end(): void;
}

/** A bar needs escape codes, which a terminal with TERM=dumb does not have. */
export function makeDisplay(output: NodeJS.WriteStream, terminal = process.env.TERM): Display {
  return output.isTTY && terminal !== 'dumb' ? new BarDisplay(output) : new LineDisplay(output);
}

/** Exponential moving averages of loss and accuracy over about the last 20 steps. */
export class RecentAverages {
  /** Sum of the weights in both averages; dividing by it corrects their start at zero. */
  #weight = 0;
  #loss = 0;
  #accuracy = 0;

  add({ loss, accuracy }: Pick<StepReport, 'loss' | 'accuracy'>): void {
    this.#weight = 0.95 * this.#weight + 0.05;
    this.#loss = 0.95 * this.#loss + 0.05 * loss;
    this.#accuracy = 0.95 * this.#accuracy + 0.05 * accuracy;
  }

  /** Returns both as text, after at least one step. */
  figures(): { loss: string; accuracy: string } {
    return {
      loss: (this.#loss / this.#weight).toFixed(3),
      accuracy: `${((100 * this.#accuracy) / this.#weight).toFixed(1)} %`,
    };
  }
}

/** The averages of recent steps, and their speed. */
export class RunningStats {
  readonly #averages = new RecentAverages();
  readonly #first: number;
  readonly #total: number;
  readonly #batchSize: number;
  readonly #start = performance.now();
  #hasSteps = false;
  /** End time and number of recent steps; the oldest is about 5 s old. */
  #recent: { at: number; step: number }[];

  constructor(step: number, total: number, batchSize: number) {
    this.#first = step;
    this.#total = total;
    this.#batchSize = batchSize;
    this.#recent = [{ at: this.#start, step }];
  }

  add({ step, loss, accuracy }: Pick<StepReport, 'step' | 'loss' | 'accuracy'>): void {
    const now = performance.now();
    this.#averages.add({ loss, accuracy });
    this.#hasSteps = true;
    this.#recent.push({ at: now, step });
    while (this.#recent.length > 2 && this.#recent[1]!.at < now - 5000) this.#recent.shift();
  }

  /** Whether a step was added, without which there are no figures. */
  get hasSteps(): boolean {
    return this.#hasSteps;
  }

  /** Returns the figures as text, for the bar and for the line. */
  figures(): { loss: string; accuracy: string; speed: string; left: string } {
    const first = this.#recent[0]!;
    const last = this.#recent.at(-1)!;
    const rate = ((last.step - first.step) * 1000) / Math.max(last.at - first.at, 1);
    const overall = ((last.step - this.#first) * 1000) / Math.max(last.at - this.#start, 1);
    return {
      ...this.#averages.figures(),
      speed: Math.round(rate * this.#batchSize).toLocaleString('en-US'),
      left: clock((this.#total - last.step) / Math.max(overall, 1e-9)),
    };
  }
}

/** Returns a duration as minutes and seconds: `1:05`. */
export function clock(seconds: number): string {
  const s = Math.round(seconds);
  return `${Math.floor(s / 60)}:${String(s % 60).padStart(2, '0')}`;
}

class BarDisplay implements Display {
  readonly #output: NodeJS.WriteStream;
  #bar: Bar | null = null;
  #stats: RunningStats | null = null;

  constructor(output: NodeJS.WriteStream) {
    this.#output = output;
  }

  begin(net: string, step: number, total: number, batchSize: number): void {
    this.end();
    const format = `${net.padEnd(10)} {bar} {value}/{total}  loss {loss}  acc {accuracy}  {speed} images/s  {left} left`;
    // The figures need 74 columns; the bar gets the rest.
    const barsize = Math.min(40, Math.max(8, (this.#output.columns || 80) - 74));
    // No graceful exit: the run handles Ctrl-C itself, because it saves first.
    const bar = new SingleBar(
      { format, barsize, fps: 10, stream: this.#output, hideCursor: true, gracefulExit: false },
      Presets.shades_classic,
    );
    bar.start(total, step, { loss: '–', accuracy: '–', speed: '–', left: '–' });
    this.#bar = bar;
    this.#stats = new RunningStats(step, total, batchSize);
  }

  step(report: StepReport): void {
    this.#stats?.add(report);
    this.#bar?.update(report.step, this.#stats?.figures());
  }

  note(text: string): void {
    this.end();
    this.#output.write(`${text}\n`);
  }

  end(): void {
    this.#bar?.stop();
    this.#bar = null;
  }
}

/** Time between two lines, in milliseconds. */
const LINE_INTERVAL_MS = 5000;

class LineDisplay implements Display {
  readonly #output: NodeJS.WriteStream;
  #net = '';
  #total = 0;
  #stats: RunningStats | null = null;
  #lastLineAt = 0;

  constructor(output: NodeJS.WriteStream) {
    this.#output = output;
  }

  begin(net: string, step: number, total: number, batchSize: number): void {
    this.#net = net;
    this.#total = total;
    this.#stats = new RunningStats(step, total, batchSize);
    this.#lastLineAt = performance.now();
  }

  step(report: StepReport): void {
    this.#stats!.add(report);
    const now = performance.now();
    if (now - this.#lastLineAt < LINE_INTERVAL_MS && report.step !== this.#total) return;
    this.#lastLineAt = now;
    const { loss, accuracy, speed, left } = this.#stats!.figures();
    this.note(`${this.#net}  step ${report.step}/${this.#total}  loss ${loss}  accuracy ${accuracy}  ${speed} images/s  ${left} left`);
  }

  note(text: string): void {
    this.#output.write(`${text}\n`);
  }

  end(): void {}
}
