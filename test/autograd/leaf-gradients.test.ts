/** When a backward reports the gradients of leaves, and with which values. */
import { describe, expect, it } from 'vitest';
import { grad, recompute, scope, tensor, type Tensor } from 'chainrule';
import { withLeafListener } from '../../src/autograd/index.ts';

const leaf = (values: number[], label: string): Tensor => tensor(values, { requiresGrad: true, dtype: 'float64', label });

/** Runs `fn`; returns what was reported of `leaves`, and the visits of the nodes in `watched`, in order. */
function reports(leaves: readonly Tensor[], watched: readonly Tensor[], fn: () => void): string[] {
  const found: string[] = [];
  for (const t of watched) t.registerHook(() => void found.push(`visit ${t.label}`));
  withLeafListener(leaves, (t, g) => void found.push(`${t.label} ${JSON.stringify(g.toArray())}`), fn);
  return found;
}

describe('withLeafListener', () => {
  it('reports a leaf right behind its last use, and the others later', () =>
    scope(() => {
      const [a, b] = [leaf([2], 'a'), leaf([3], 'b')];
      const first = a.mul(5);
      first.label = 'first';
      const second = first.mul(b);
      second.label = 'second';
      const found = reports([a, b], [first, second], () => second.sum().backward());
      expect(found).toEqual(['visit second', 'b [10]', 'visit first', 'a [15]']);
      expect([a.grad!.toArray(), b.grad!.toArray()]).toEqual([[15], [10]]);
    }));

  it('reports a leaf with several uses once, with its whole gradient', () =>
    scope(() => {
      const a = leaf([2], 'a');
      const first = a.mul(a);
      first.label = 'first';
      const found = reports([a], [first], () => first.mul(a).sum().backward());
      expect(found).toEqual(['visit first', 'a [12]']);
    }));

  it('reports what the hooks of the leaf have made of the gradient, without what earlier calls have accumulated', () =>
    scope(() => {
      const a = leaf([2], 'a');
      a.mul(7).sum().backward();
      a.registerHook((g) => g.mul(10));
      expect(reports([a], [], () => a.mul(3).sum().backward())).toEqual(['a [30]']);
      expect(a.grad!.toArray()).toEqual([37]);
    }));

  it('reports neither a leaf without gradient nor the gradients of grad', () =>
    scope(() => {
      const [a, b, frozen] = [leaf([2], 'a'), leaf([3], 'b'), tensor([1], { label: 'frozen' })];
      expect(reports([a, b, frozen], [], () => void grad(a.mul(b).sum(), a))).toEqual([]);
      expect(reports([a, b, frozen], [], () => a.sum().backward())).toEqual(['a [1]']);
    }));

  it('reports a recomputed leaf once', () =>
    scope(() => {
      const [a, x] = [leaf([2], 'a'), leaf([5], 'x')];
      const block = (t: Tensor): Tensor => t.mul(a).mul(a);
      expect(reports([a], [], () => recompute(block, x).sum().backward())).toEqual(['a [20]']);
    }));

  it('reports a leaf that is the root itself', () =>
    scope(() => {
      const a = leaf([2], 'a');
      expect(reports([a], [], () => a.backward())).toEqual(['a [1]']);
    }));

  it('reports nothing once it has ended, also after an error', () =>
    scope(() => {
      const a = leaf([2], 'a');
      const found: string[] = [];
      const listen = (fn: () => void): void => withLeafListener([a], () => void found.push('a'), fn);
      expect(() => listen(() => tensor([1, 2]).backward())).toThrow();
      a.sum().backward();
      expect(found).toEqual([]);
    }));
});
