/**
 * The live view: the report of a run that goes on, in a browser on this machine. It shows what metrics.jsonl has so far, and becomes
 * the report when the run ends.
 */
import type { Data } from '../data.ts';
import type { Watcher } from '../experiment.ts';
import type { Metric } from '../metrics.ts';
import { type Content, pageOf, pagePolicy } from '../report/page.ts';
import type { RunFolder } from '../run-folder.ts';
import type { Result } from '../table.ts';
import { LiveServer } from './server.ts';
import { RunState } from './state.ts';

export class LiveView implements Watcher {
  readonly #folder: RunFolder;
  readonly #state: RunState;
  readonly #server: LiveServer;

  /**
   * Starts the server of a run.
   *
   * Throws: RunError if no port is free
   */
  static async open(folder: RunFolder, data: Data): Promise<LiveView> {
    const state = new RunState(folder.settings, data);
    // Made before the training, so that nothing that is missing can end the run later.
    const page = pageOf(state.page(), true).text;
    const server = await LiveServer.listen({ page, policy: pagePolicy(), progress: () => state.progress() });
    return new LiveView(folder, state, server);
  }

  private constructor(folder: RunFolder, state: RunState, server: LiveServer) {
    this.#folder = folder;
    this.#state = state;
    this.#server = server;
  }

  get url(): string {
    return this.#server.url;
  }

  begin(net: Result['net'], step: number): void {
    // A resumed run has metrics from before.
    if (this.#state.isNew) for (const metric of this.#folder.metrics()) this.#state.add(metric);
    this.#state.begin(net, step);
    this.#server.changed();
  }

  record(metric: Metric): void {
    this.#state.add(metric);
    this.#server.changed();
  }

  /** Shows the report of the finished run, and ends the view. */
  finish(report: Content): Promise<void> {
    return this.#server.close('report', { ...report, main: report.main.text });
  }

  /** Shows why the run has ended, and ends the view. Has no effect after the report or another end. */
  end(reason: string): Promise<void> {
    return this.#server.close('end', reason);
  }
}
