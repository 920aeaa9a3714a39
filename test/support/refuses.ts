import { memory } from 'chainrule';
import { expect } from 'vitest';

/** `act` throws a `kind` with exactly `message`, and leaves neither a tensor nor a byte behind. */
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
