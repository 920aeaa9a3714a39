/**
 * Work in small tasks, so that the page answers between them.
 */

/** What there is to do, in order, each by what it draws. */
const jobs = new Map<unknown, () => void>();
let isWaiting = false;

/**
 * Calls `job` in a task of its own, after the browser has drawn what earlier jobs did: one job a frame, so that neither a task nor the
 * layout behind it holds the work of two. A job for the same `target` that still waits is replaced, as a page that nobody sees has no frames.
 */
export function later(target: unknown, job: () => void): void {
  jobs.set(target, job);
  if (!isWaiting) awaitFrame();
}

function awaitFrame(): void {
  isWaiting = true;
  // A frame calls back before its layout; the task that this makes comes behind it.
  requestAnimationFrame(() => void setTimeout(next));
}

function next(): void {
  isWaiting = false;
  const [target, job] = jobs.entries().next().value!;
  jobs.delete(target);
  if (jobs.size > 0) awaitFrame();
  job();
}
