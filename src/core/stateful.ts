/**
 * Whatever can be saved and restored: modules, optimizers, schedulers, loaders, generators.
 *
 * The state is a tree of records and arrays whose leaves are tensors (anything with shape, dtype and data) or plain JSON values.
 */
export interface Stateful {
  /** The state now. Tensors in it may be live: copy what must not change. */
  stateDict(): object;
  /** Restores what `stateDict` gave, by copying. */
  loadStateDict(state: never): unknown;
}
