/**
 * Trains the panel's networks in a worker.
 */
import { startWorker, type WorkerProgram } from '../workers.ts';
import type { NetworkSettings } from './network.ts';
import { train, type Trained } from './training.ts';

/** The worker's program in main.ts. */
export const SE_WORKER = 'se';

/** Answers each settings with the trained network. */
export const seProgram: WorkerProgram = (scope) => {
  scope.addEventListener('message', (event) => scope.postMessage(train(event.data as NetworkSettings), []));
};

/** Trains a network in a worker of its own. Rejects with what ended the worker. */
export function trainInWorker(settings: NetworkSettings): Promise<Trained> {
  const worker = startWorker(SE_WORKER);
  const trained = new Promise<Trained>((resolve, reject) => {
    worker.addEventListener('message', (event: MessageEvent<Trained>) => resolve(event.data));
    worker.addEventListener('error', (event) => reject(new Error(event.message)));
  });
  worker.postMessage(settings, []);
  return trained.finally(() => worker.terminate());
}
