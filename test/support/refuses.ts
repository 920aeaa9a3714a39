import { memory } from 'chainrule';
import { expect } from 'vitest';

/** Expects that `act` throws an error of class `kind` with exactly `message`, and that it leaves no tensor and no byte behind. */
export function refuses(act: () => unknown, kind: new (message: string) => Error, message: string): void {
  const { bytes, tensors } = memory();
  let thrown: unknown = null;
  try {
    act();
  } catch (e) {
    thrown = e;
  }
  expect(thrown).toBeInstanceOf(kind);
  expect((thrown as Error).message).toBe(message);
  expect(memory()).toMatchObject({ bytes, tensors });
}
