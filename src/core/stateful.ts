/**
 * An object whose state can be saved and restored: a module, optimizer, scheduler, loader or generator.
 *
 * The state is a tree of records and arrays whose leaves are tensors (anything with shape, dtype and data) or plain JSON values.
 */
export interface Stateful {
  /** Returns the current state. Its tensors may be live: copy what must not change. */
  stateDict(): object;
  /** Restores a state that `stateDict` returned, by copying. */
  loadStateDict(state: never): unknown;
}
