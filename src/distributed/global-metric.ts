/**
 * Metrics of the rows of all ranks.
 */
import { tensor, noGrad, type Tensor } from '../autograd/index.ts';
import type { ArrayData } from '../core/array-data.ts';
import { newArray, type DType } from '../core/dtype.ts';
import { DisagreementError } from '../core/errors.ts';
import { refuseOptions } from '../core/options.ts';
import { formatShape, sameShape, sizeOf } from '../core/shape.ts';
import type { Metric } from '../train/index.ts';
import { checkMetrics } from '../train/metrics.ts';
import { checkGroup } from './check-group.ts';
import type { Group } from './group.ts';

/** The rows of one update. */
type Rows = readonly [output: ArrayData, target: ArrayData];

/**
 * Returns a metric whose value is that of the rows of all ranks. `compute` gathers what each rank has added since the last reset, resets `metric`,
 * and updates it once with all rows: those of each update in rank order, the updates one after the other. So `metric` gets the rows in the
 * order in which one process gets them from a loader without `shard`, and has the same state on all ranks afterwards.
 *
 * All ranks must call `compute`. It sends each output and target to all ranks; they stay in memory until the next reset.
 * `fit` and `evaluate` do this for their metrics if they get `parallel`.
 * @example const accuracy = globalMetric(group, new Accuracy());
 */
export function globalMetric(group: Group, metric: Metric): Metric {
  refuseOptions('globalMetric', arguments[2]);
  checkGroup('globalMetric', group);
  checkMetrics('globalMetric', { metric });
  if (group.size === 1) return metric;
  const updates: Rows[] = [];
  return {
    update(output, target) {
      updates.push([elementsOf(output), elementsOf(target)]);
    },
    compute() {
      const ofRanks = group.allGatherBytes(encode(updates)).map(decode);
      metric.reset();
      const count = Math.max(...ofRanks.map((own) => own.length));
      const all = Array.from({ length: count }, (_, k) => ofRanks.flatMap((own) => (own[k] === undefined ? [] : [own[k]]))).flat();
      if (all.length > 0) noGrad(() => metric.update(joined(all, 0), joined(all, 1)));
      return metric.compute();
    },
    reset() {
      updates.length = 0;
      metric.reset();
    },
  };
}

const elementsOf = (t: Tensor): ArrayData => ({ data: t.data(), shape: t.shape, dtype: t.dtype });

/** Joins one item of all updates along the first dim. */
function joined(all: readonly Rows[], item: 0 | 1): Tensor {
  const parts = all.map((rows) => rows[item]);
  const first = parts.find(({ shape }) => shape[0] !== 0) ?? parts[0]!;
  const tail = first.shape.slice(1);
  const full = parts.filter(({ shape }) => shape[0] !== 0);
  for (const { shape, dtype } of full) {
    if (dtype === first.dtype && sameShape(shape.slice(1), tail)) continue;
    const what = item === 0 ? 'outputs' : 'targets';
    throw new DisagreementError(
      `globalMetric: the ${what} of all ranks must agree but for their rows: ${first.dtype} ${formatShape(first.shape)}, ${dtype} ${formatShape(shape)}`,
    );
  }
  const rows = full.reduce((sum, { shape }) => sum + shape[0]!, 0);
  const data = newArray(first.dtype, sizeOf([rows, ...tail]));
  let at = 0;
  for (const part of full) {
    data.set(part.data, at);
    at += part.data.length;
  }
  return tensor(data, { shape: [rows, ...tail], dtype: first.dtype });
}

/** The header of the bytes: dtype and shape of each array. */
type Header = readonly (readonly [dtype: DType, shape: readonly number[]])[];

/** Bytes of the number that gives the header's length, and the alignment of each part behind it. */
const WORD = 8;

const align = (n: number): number => Math.ceil(n / WORD) * WORD;

function encode(updates: readonly Rows[]): Uint8Array {
  const arrays = updates.flat();
  const header: Header = arrays.map(({ dtype, shape }) => [dtype, shape]);
  const text = new TextEncoder().encode(JSON.stringify(header));
  const length = arrays.reduce((sum, { data }) => sum + align(data.byteLength), WORD + align(text.length));
  const bytes = new Uint8Array(length);
  new DataView(bytes.buffer).setFloat64(0, text.length);
  bytes.set(text, WORD);
  let at = WORD + align(text.length);
  for (const { data } of arrays) {
    bytes.set(new Uint8Array(data.buffer, data.byteOffset, data.byteLength), at);
    at += align(data.byteLength);
  }
  return bytes;
}

function decode(bytes: Uint8Array): Rows[] {
  const length = new DataView(bytes.buffer, bytes.byteOffset).getFloat64(0);
  const header = JSON.parse(new TextDecoder().decode(bytes.subarray(WORD, WORD + length))) as Header;
  let at = WORD + align(length);
  const arrays = header.map(([dtype, shape]): ArrayData => {
    const data = newArray(dtype, sizeOf(shape));
    new Uint8Array(data.buffer, data.byteOffset, data.byteLength).set(bytes.subarray(at, at + data.byteLength));
    at += align(data.byteLength);
    return { data, shape, dtype };
  });
  return Array.from({ length: arrays.length / 2 }, (_, k) => [arrays[2 * k]!, arrays[2 * k + 1]!]);
}
