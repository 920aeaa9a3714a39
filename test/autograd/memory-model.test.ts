/**
 * Runs random programs on the engine and on a model of the ownership rules in plain JavaScript. The programs consist of operations,
 * views, in-place writes, scopes, scoped loops, backward, keep and dispose. After every statement both must agree on values,
 * gradients, errors, the number of live tensors, and their bytes.
 */
import fc from 'fast-check';
import { isMemoryChecked } from '../../src/kernels/memory/checked-memory.ts';
import { describe, expect, it } from 'vitest';
import {
  GraphConsumedError,
  InPlaceError,
  ReleasedError,
  type Tensor,
  AutogradError,
  memory,
  noGrad,
  scope,
  scoped,
  tensor,
} from 'chainrule';

// — the model —

interface Memory {
  data: number[];
  version: number;
  /** Number of live handles that require a gradient. */
  gradHandles: number;
  /** Number of handles and saved references. */
  refs: number;
}

type FreedBy = 'backward' | 'scope' | 'iteration' | 'dispose';

interface MNode {
  inputs: (MNode | null)[];
  saved: { memory: Memory; version: number }[];
  /** Returns the gradients of the inputs for a gradient of the output. */
  pull: (g: number[]) => number[][];
  users: MNode[];
  consumedBy: FreedBy | null;
  out: MTensor;
  leaf: boolean;
}

interface MTensor {
  memory: Memory;
  scalar: boolean;
  node: MNode | null;
  freedBy: FreedBy | null;
  /** The value of a 0-d tensor, which can be read after it has been freed. */
  value: number;
  owned: boolean;
  isExpiring: boolean;
  scope: MScope | null;
  /** Whether a copy of its value replaced its memory. Such a copy is not written to. */
  revived: boolean;
  /** Whether it lies in the memory of another tensor. */
  isView: boolean;
  grad: number[] | null;
}

interface MScope {
  kind: FreedBy;
  made: MTensor[];
}

class ModelError extends Error {
  readonly kinds: readonly (new (
    ...args: never[]
  ) => Error)[];
  constructor(...kinds: (new (...args: never[]) => Error)[]) {
    super(kinds.map((k) => k.name).join(' or '));
    this.kinds = kinds;
  }
}

class Model {
  scopes: MScope[] = [];
  grad = true;
  all: MTensor[] = [];
  expiring: MTensor[] = [];
  memories = new Set<Memory>();
  /** All nodes in creation order. */
  nodes: MNode[] = [];

  newMemory(data: number[]): Memory {
    const m = { data, version: 0, gradHandles: 0, refs: 0 };
    this.memories.add(m);
    return m;
  }

  release(m: Memory): void {
    if (--m.refs === 0) this.memories.delete(m);
  }

  adoptIntoScope(m: Memory, scalar: boolean, isView = false): MTensor {
    m.refs++;
    const top = this.scopes.at(-1) ?? null;
    const t: MTensor = {
      memory: m,
      scalar,
      node: null,
      freedBy: null,
      value: 0,
      owned: false,
      isExpiring: false,
      scope: top,
      revived: false,
      isView,
      grad: null,
    };
    top?.made.push(t);
    this.all.push(t);
    return t;
  }

  leaf(data: number[], scalar: boolean, requiresGrad: boolean): MTensor {
    const t = this.adoptIntoScope(this.newMemory(data), scalar);
    if (requiresGrad) {
      t.node = { inputs: [], saved: [], pull: () => [], users: [], consumedBy: null, out: t, leaf: true };
      t.memory.gradHandles++;
      this.nodes.push(t.node);
    }
    return t;
  }

  /** Whether backward can still visit the tensor's own node. */
  live(t: MTensor): boolean {
    return t.node !== null && !t.node.leaf && t.node.consumedBy === null && t.node.out === t;
  }

  free(t: MTensor, by: FreedBy): void {
    if (t.freedBy !== null) return;
    if (t.scalar) t.value = t.memory.data[0]!;
    t.freedBy = by;
    t.isExpiring = false;
    if (t.node !== null) t.memory.gradHandles--;
    this.release(t.memory);
    t.grad = null;
  }

  read(t: MTensor): number[] {
    if (t.freedBy !== null && t.scalar) return [t.value];
    if (t.freedBy !== null) throw new ModelError(ReleasedError);
    return t.memory.data;
  }

  /** Prepares a tensor for use in an operation. A freed 0-d tensor without a live graph becomes a constant with its old value. */
  use(t: MTensor): void {
    if (t.freedBy === null) return;
    const history = t.node !== null && t.node.consumedBy !== 'backward' && t.node.consumedBy !== 'dispose';
    if (!t.scalar || history) throw new ModelError(ReleasedError);
    t.revived = true;
    t.memory = this.newMemory([t.value]);
    t.memory.refs++;
    if (t.node !== null) t.memory.gradHandles++;
    t.freedBy = null;
    t.owned = false;
    t.scope = this.scopes.at(-1) ?? null;
    t.scope?.made.push(t);
  }

  consumeNode(n: MNode, by: FreedBy): void {
    n.consumedBy = by;
    for (const s of n.saved) this.release(s.memory);
    n.saved = [];
    n.inputs = [];
    n.users = [];
  }

  retire(n: MNode, by: FreedBy): void {
    this.consumeNode(n, by);
    const t = n.out;
    if (t.freedBy !== null || t.owned) return;
    if (t.scalar && !t.isView) this.free(t, by);
    else {
      t.isExpiring = true;
      this.expiring.push(t);
    }
  }

  consume(nodes: MNode[], by: FreedBy): void {
    for (const n of nodes) {
      if (n.leaf || n.consumedBy !== null) continue;
      const users = n.users;
      this.retire(n, by);
      this.consume(users, by);
    }
  }

  op(
    inputs: MTensor[],
    result: { memory?: Memory; data?: number[]; scalar: boolean },
    saves: (needs: boolean[]) => MTensor[],
    savesOutput: boolean,
    pull: (g: number[]) => number[][],
  ): MTensor {
    for (const t of inputs) this.use(t);
    const alive = inputs.map((t) => (t.node !== null && t.node.consumedBy === null ? t.node : null));
    const consumed = inputs.map((t) => t.node?.consumedBy ?? null).findLast((by) => by !== null) ?? null;
    const records = this.grad && alive.some((n) => n !== null);
    if (records && consumed !== null) throw new ModelError(GraphConsumedError);
    if (records) {
      for (const t of this.expiring) if (t.isExpiring && !t.owned) this.free(t, 'backward');
      this.expiring = [];
    }
    const y = this.adoptIntoScope(result.memory ?? this.newMemory(result.data!), result.scalar, result.memory !== undefined);
    if (records) {
      const saved = saves(alive.map((n) => n !== null)).map((t) => t.memory);
      if (savesOutput) saved.push(y.memory);
      for (const m of saved) m.refs++;
      const node: MNode = {
        inputs: alive,
        saved: saved.map((m) => ({ memory: m, version: m.version })),
        pull,
        users: [],
        consumedBy: null,
        out: y,
        leaf: false,
      };
      for (const n of alive) if (n !== null && !n.leaf) n.users.push(node);
      y.node = node;
      y.memory.gradHandles++;
      this.nodes.push(node);
    } else if (this.grad && consumed !== null) {
      y.node = { inputs: [], saved: [], pull, users: [], consumedBy: consumed, out: y, leaf: false };
      y.memory.gradHandles++;
    }
    return y;
  }

  mul(a: MTensor, b: MTensor): MTensor {
    for (const t of [a, b]) this.use(t);
    const [x, w] = [[...a.memory.data], [...b.memory.data]];
    const n = Math.max(x.length, w.length);
    const at = (v: number[], i: number): number => v[v.length === 1 ? 0 : i]!;
    const sumTo = (v: number[], t: MTensor): number[] => (t.scalar && !(a.scalar && b.scalar) ? [v.reduce((p, q) => p + q, 0)] : v);
    return this.op(
      [a, b],
      { data: Array.from({ length: n }, (_, i) => at(x, i) * at(w, i)), scalar: a.scalar && b.scalar },
      (needs) => [...(needs[1] ? [a] : []), ...(needs[0] ? [b] : [])],
      false,
      (g) => [
        sumTo(
          g.map((v, i) => v * at(w, i)),
          a,
        ),
        sumTo(
          g.map((v, i) => v * at(x, i)),
          b,
        ),
      ],
    );
  }

  add(a: MTensor, b: MTensor): MTensor {
    for (const t of [a, b]) this.use(t);
    const n = Math.max(a.memory.data.length, b.memory.data.length);
    const at = (t: MTensor, i: number): number => t.memory.data[t.scalar ? 0 : i]!;
    const sumTo = (v: number[], t: MTensor): number[] => (t.scalar && !(a.scalar && b.scalar) ? [v.reduce((p, q) => p + q, 0)] : v);
    const data = Array.from({ length: n }, (_, i) => at(a, i) + at(b, i));
    return this.op(
      [a, b],
      { data, scalar: a.scalar && b.scalar },
      () => [],
      false,
      (g) => [sumTo(g, a), sumTo(g, b)],
    );
  }

  relu(a: MTensor): MTensor {
    this.use(a);
    const y = a.memory.data.map((v) => Math.max(v, 0));
    return this.op(
      [a],
      { data: y, scalar: a.scalar },
      () => [],
      true,
      (g) => [g.map((v, i) => (y[i]! > 0 ? v : 0))],
    );
  }

  sum(a: MTensor): MTensor {
    this.use(a);
    const n = a.memory.data.length;
    return this.op(
      [a],
      { data: [a.memory.data.reduce((p, q) => p + q, 0)], scalar: true },
      () => [],
      false,
      (g) => [new Array<number>(n).fill(g[0]!)],
    );
  }

  /** A view: the same memory. */
  reshape(a: MTensor): MTensor {
    this.use(a);
    return this.op(
      [a],
      { memory: a.memory, scalar: a.scalar },
      () => [],
      false,
      (g) => [g],
    );
  }

  detach(a: MTensor): MTensor {
    this.use(a);
    return this.adoptIntoScope(a.memory, a.scalar, true);
  }

  addInPlace(a: MTensor, value: number): void {
    this.use(a);
    if (a.revived && a.isView) throw new ModelError(ReleasedError);
    if (this.grad && a.memory.gradHandles > 0) throw new ModelError(InPlaceError);
    a.memory.data = a.memory.data.map((v) => v + value);
    a.memory.version++;
  }

  backward(t: MTensor, retain: boolean): void {
    if (t.node === null || !t.scalar) throw new ModelError(AutogradError);
    const order: MNode[] = [];
    const seen = new Set<MNode>();
    const visit = (n: MNode): void => {
      if (seen.has(n)) return;
      seen.add(n);
      // The engine may find another consumed node first, so both kinds of error are allowed.
      if (n.consumedBy !== null) throw new ModelError(GraphConsumedError, ReleasedError);
      for (const i of n.inputs) if (i !== null) visit(i);
      order.push(n);
    };
    visit(t.node);
    for (const n of order) for (const s of n.saved) if (s.memory.version !== s.version) throw new ModelError(InPlaceError);
    const grads = new Map<MNode, number[]>([[t.node, [1]]]);
    for (const n of order.reverse()) {
      const g = grads.get(n);
      if (g === undefined || n.leaf) continue;
      n.pull(g).forEach((gi, i) => {
        const input = n.inputs[i];
        if (input == null) return;
        const before = grads.get(input);
        grads.set(input, before === undefined ? gi : before.map((v, j) => v + gi[j]!));
      });
    }
    for (const n of order) {
      const g = grads.get(n);
      if (!n.leaf || g === undefined || n.out.freedBy !== null) continue;
      const before = n.out.grad;
      n.out.grad = before === null ? g : before.map((v, j) => v + g[j]!);
    }
    if (!retain) this.consume(order, 'backward');
  }

  keep(t: MTensor): void {
    if (t.owned) return;
    this.use(t);
    t.owned = true;
    t.scope = null;
    t.isExpiring = false;
  }

  dispose(t: MTensor): void {
    const discard = (n: MNode): void => {
      if (
        n.leaf ||
        n.consumedBy !== null ||
        (n.out !== t && n.out.owned && n.out.freedBy === null) ||
        n.users.some((u) => u.consumedBy === null)
      )
        return;
      const inputs = n.inputs;
      this.retire(n, 'dispose');
      for (const i of inputs) if (i !== null) discard(i);
    };
    if (this.live(t)) discard(t.node!);
    this.free(t, 'dispose');
  }

  open(kind: FreedBy): MScope {
    const s = { kind, made: [] };
    this.scopes.push(s);
    return s;
  }

  close(s: MScope, results: MTensor[]): void {
    this.scopes.pop();
    const outer = this.scopes.at(-1) ?? null;
    const transfer = (t: MTensor): void => {
      if (t.scope !== s) return;
      t.isExpiring = false;
      t.scope = outer;
      outer?.made.push(t);
    };
    const seen = new Set<MNode>();
    const history = (n: MNode | null): void => {
      if (n === null || seen.has(n)) return;
      seen.add(n);
      transfer(n.out);
      n.inputs.forEach(history);
    };
    for (const r of results) {
      transfer(r);
      history(r.node);
    }
    for (const t of s.made) {
      if (t.scope !== s) continue;
      t.scope = null;
      if (t.owned) continue;
      if (this.live(t)) this.consumeNode(t.node!, s.kind);
      this.free(t, s.kind);
    }
  }

  get liveTensors(): number {
    return this.all.reduce((n, t) => n + (t.freedBy === null ? 1 : 0) + (t.grad !== null ? 1 : 0), 0);
  }

  get bytes(): number {
    let n = 0;
    for (const m of this.memories) n += 8 * m.data.length;
    for (const t of this.all) if (t.grad !== null) n += 8 * t.grad.length;
    return n;
  }
}

// — programs —

type Statement =
  | { do: 'leaf'; values: number[]; requiresGrad: boolean }
  | { do: 'scalar'; value: number; requiresGrad: boolean }
  | { do: 'mul' | 'add'; a: number; b: number }
  | { do: 'relu' | 'sum' | 'detach'; a: number }
  | { do: 'keep' | 'dispose'; a: number }
  | { do: 'reshape' | 'read'; a: number }
  | { do: 'addInPlace'; a: number; value: number }
  | { do: 'backward'; a: number; retain: boolean }
  | { do: 'scope' | 'noGrad'; body: Statement[]; results: number[] }
  | { do: 'loop'; n: number; body: Statement[]; leave: 'end' | 'break' | 'throw' };

const small = fc.integer({ min: -3, max: 3 });
const pick = fc.nat(1000);
const { program } = fc.letrec<{ program: Statement[]; statement: Statement; block: Statement }>((tie) => ({
  program: fc.array(tie('statement'), { minLength: 1, maxLength: 14 }),
  statement: fc.oneof(
    { depthSize: 'small', withCrossShrink: true },
    {
      weight: 3,
      arbitrary: fc.record({
        do: fc.constant('leaf' as const),
        values: fc.array(small, { minLength: 3, maxLength: 3 }),
        requiresGrad: fc.boolean(),
      }),
    },
    { weight: 1, arbitrary: fc.record({ do: fc.constant('scalar' as const), value: small, requiresGrad: fc.boolean() }) },
    { weight: 6, arbitrary: fc.record({ do: fc.constantFrom('mul' as const, 'add' as const), a: pick, b: pick }) },
    {
      weight: 4,
      arbitrary: fc.record({ do: fc.constantFrom('relu' as const, 'sum' as const, 'sum' as const, 'detach' as const), a: pick }),
    },
    { weight: 2, arbitrary: fc.record({ do: fc.constantFrom('keep' as const, 'dispose' as const), a: pick }) },
    { weight: 2, arbitrary: fc.record({ do: fc.constantFrom('reshape' as const, 'read' as const), a: pick }) },
    { weight: 1, arbitrary: fc.record({ do: fc.constant('addInPlace' as const), a: pick, value: small }) },
    { weight: 4, arbitrary: fc.record({ do: fc.constant('backward' as const), a: pick, retain: fc.boolean() }) },
    { weight: 3, arbitrary: tie('block') },
  ),
  block: fc.oneof(
    fc.record({
      do: fc.constantFrom('scope' as const, 'noGrad' as const),
      body: tie('program'),
      results: fc.array(pick, { maxLength: 2 }),
    }),
    fc.record({
      do: fc.constant('loop' as const),
      n: fc.integer({ min: 1, max: 3 }),
      body: tie('program'),
      leave: fc.constantFrom('end' as const, 'break' as const, 'throw' as const),
    }),
  ),
}));

class Left extends Error {}

/** Throws if the engine and the model differ. Assertions of vitest are too slow for millions of calls. */
function agree(what: string, engine: unknown, model: unknown): void {
  const [a, b] = [String(engine), String(model)];
  if (a !== b) throw new Error(`${what}: the engine has ${a}, the model ${b}`);
}

/** Returns the numbers with 0 in place of −0, as the model does not define the zero that a maximum returns. */
const plain = (values: ArrayLike<number>): number[] => Array.from(values, (v) => v + 0);

/** Runs a program on both and throws if they differ. Returns the number of statements that threw an error. */
function run(statements: Statement[]): number {
  const before = memory();
  const model = new Model();
  const pairs: [Tensor, MTensor][] = [];
  let errors = 0;

  const compare = (): void => {
    const now = memory();
    agree('live tensors', now.tensors - before.tensors, model.liveTensors);
    agree('bytes', now.bytes - before.bytes, model.bytes);
    for (const [t, m] of pairs) {
      agree('released', t.isReleased, m.freedBy !== null);
      agree('grad', t.grad && plain(t.grad.data()), m.grad && plain(m.grad));
      if (m.freedBy === null) agree('value', plain(t.data()), plain(model.read(m)));
    }
  };

  /** Runs a statement on both. They must both succeed, or throw the same kind of error. */
  const both = (real: () => Tensor | void, modelled: () => MTensor | void): void => {
    let want: MTensor | void = undefined;
    let expected: ModelError | null = null;
    try {
      want = modelled();
    } catch (e) {
      if (!(e instanceof ModelError)) throw e;
      expected = e;
    }
    let got: Tensor | void;
    try {
      got = real();
    } catch (e) {
      if (expected === null || !expected.kinds.some((k) => e instanceof k)) throw e;
      errors++;
      return;
    }
    if (expected !== null) throw new Error(`the engine should have thrown ${expected.message}`);
    if (got !== undefined && want !== undefined) pairs.push([got, want]);
  };

  const execute = (body: Statement[]): void => {
    for (const s of body) {
      statement(s);
      compare();
    }
  };

  const statement = (s: Statement): void => {
    const at = (i: number): [Tensor, MTensor] | undefined => (pairs.length === 0 ? undefined : pairs[i % pairs.length]);
    switch (s.do) {
      case 'leaf':
        return both(
          () => tensor(s.values, { dtype: 'float64', requiresGrad: s.requiresGrad }),
          () => model.leaf(s.values, false, s.requiresGrad),
        );
      case 'scalar':
        return both(
          () => tensor(s.value, { dtype: 'float64', requiresGrad: s.requiresGrad }),
          () => model.leaf([s.value], true, s.requiresGrad),
        );
      case 'mul':
      case 'add': {
        const a = at(s.a);
        const b = at(s.b);
        if (a === undefined || b === undefined) return;
        return both(
          () => a[0][s.do](b[0]),
          () => model[s.do](a[1], b[1]),
        );
      }
      case 'relu':
      case 'sum':
      case 'detach': {
        const a = at(s.a);
        if (a === undefined) return;
        return both(
          () => a[0][s.do](),
          () => model[s.do](a[1]),
        );
      }
      case 'reshape': {
        const a = at(s.a);
        if (a === undefined) return;
        return both(
          () => a[0].reshape(a[0].shape),
          () => model.reshape(a[1]),
        );
      }
      case 'keep':
      case 'dispose': {
        const a = at(s.a);
        if (a === undefined) return;
        return both(
          () => void a[0][s.do](),
          () => model[s.do](a[1]),
        );
      }
      case 'read': {
        const a = at(s.a);
        if (a === undefined) return;
        return both(
          () => void (a[1].scalar ? a[0].item() : a[0].toArray()),
          () => void model.read(a[1]),
        );
      }
      case 'addInPlace': {
        const a = at(s.a);
        if (a === undefined) return;
        return both(
          () => void a[0].add_(s.value),
          () => model.addInPlace(a[1], s.value),
        );
      }
      case 'backward': {
        const a = at(s.a);
        if (a === undefined) return;
        return both(
          () => a[0].backward(null, { retainGraph: s.retain }),
          () => model.backward(a[1], s.retain),
        );
      }
      case 'scope':
      case 'noGrad': {
        const grad = model.grad;
        const m = model.open('scope');
        const first = pairs.length;
        let returned: MTensor[] = [];
        (s.do === 'scope' ? scope : noGrad)(() => {
          if (s.do === 'noGrad') model.grad = false;
          execute(s.body);
          const inside = pairs.slice(first);
          const chosen = inside.length === 0 ? [] : s.results.map((i) => inside[i % inside.length]!);
          returned = chosen.map(([, t]) => t);
          return { results: chosen.map(([t]) => t) };
        });
        model.grad = grad;
        return model.close(m, returned);
      }
      case 'loop': {
        let open: MScope | null = null;
        let turns = 0;
        try {
          for (const _ of scoped(s.n)) {
            void _;
            if (open !== null) model.close(open, []);
            open = model.open('iteration');
            execute(s.body);
            if (s.leave === 'break') break;
            if (s.leave === 'throw' && ++turns === s.n) throw new Left();
          }
        } catch (e) {
          if (!(e instanceof Left)) throw e;
        }
        if (open !== null) model.close(open, []);
      }
    }
  };

  execute(statements);
  for (const [t, m] of pairs) {
    t.dispose();
    model.dispose(m);
  }
  // Values of disposed 0-d tensors stay readable until an operation is recorded, which frees them.
  const x = tensor(1, { dtype: 'float64', requiresGrad: true });
  const y = x.mul(2);
  y.dispose();
  x.dispose();
  const after = memory();
  agree('tensors left', after.tensors, before.tensors);
  agree('bytes left', after.bytes, before.bytes);
  return errors;
}

describe('ownership', () => {
  const isLong = process.env.CHAINRULE_LONG === '1';
  const onReference = process.env.CHAINRULE_KERNELS === 'reference';
  const defaults = onReference || isMemoryChecked ? { short: 300, long: 1000 } : { short: 2000, long: 5000 };
  // The cases that the project for checked memory asks for are those of a line of the gradient table.
  const requested = isMemoryChecked ? undefined : process.env.CHAINRULE_CASES;
  const cases = Number(requested ?? (isLong ? defaults.long : defaults.short));
  it(`${cases} random programs give the model's values, gradients, errors, tensors and bytes`, () => {
    let errors = 0;
    fc.assert(
      fc.property(program, (p) => {
        errors += run(p);
      }),
      { numRuns: cases, seed: 20261124 },
    );
    // If the model predicted no errors, half of the rules would be untested.
    expect(errors).toBeGreaterThan(cases / 10);
  }, 120_000);
});
