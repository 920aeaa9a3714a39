import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TestProject } from 'vitest/node';

declare module 'vitest' {
  interface ProvidedContext {
    /** The folder of compile-program.ts. */
    compiledPrograms: string;
  }
}

/** Makes the folder of compiled programs, and empties it where files are tested again after a change. */
export default function setup(project: TestProject): () => void {
  const folder = mkdtempSync(join(tmpdir(), 'chainrule-compiled-'));
  project.provide('compiledPrograms', folder);
  const remove = (): void => rmSync(folder, { recursive: true, force: true });
  project.onTestsRerun(() => {
    remove();
    mkdirSync(folder);
  });
  return remove;
}
