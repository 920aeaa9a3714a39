/**
 * Shows each operation that a function runs, with its arguments and results: what an exporter translates.
 */
import { addInstrumentation, moduleStack, placeOf } from '../autograd/instrumentation.ts';
import type { RecordedOp } from '../autograd/tape.ts';
import type { Tensor } from '../autograd/tensor.ts';
import type { View } from '../kernels/view.ts';

/** One operation that has run. */
export interface TracedCall {
  /** The operation's name. */
  readonly op: string;
  readonly args: readonly unknown[];
  readonly results: readonly View[];
  /** The innermost module that ran it, such as `features.3 (Conv2d)`; '' outside all modules. */
  readonly place: string;
}

/** A tensor that is written in place. */
export interface TracedWrite {
  readonly op: string;
  readonly target: Tensor;
  readonly operand: Tensor | number;
}

/**
 * Runs `fn` and passes each operation that it runs to `visit`, in order, while its arguments and results still have their memory. Operations
 * that run inside another one's forward are part of that one. `visitWrite` receives what is written in place, before it is.
 */
export function trace<T>(fn: () => T, visit: (call: TracedCall) => void, visitWrite: (write: TracedWrite) => void): T {
  const open: RecordedOp[] = [];
  const stop = addInstrumentation({
    starting: (op) => open.push(op),
    computed: (op, args, results) => {
      // Operations above it on the stack have thrown and never end.
      open.length = open.lastIndexOf(op) + 1;
      const frame = moduleStack.at(-1);
      if (open.length === 1) visit({ op: op.name, args, results, place: frame === undefined ? '' : placeOf(frame) });
      open.pop();
    },
    writing: (op, target, operand) => visitWrite({ op, target, operand }),
    recorded: () => {},
    visited: () => {},
  });
  try {
    return fn();
  } finally {
    stop();
  }
}
