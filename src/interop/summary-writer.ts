/// <reference lib="esnext.disposable" preserve="true" />
/**
 * Writes event files for TensorBoard, as PyTorch's `torch.utils.tensorboard.SummaryWriter` does.
 *
 * A file is a sequence of records (TFRecord):
 *
 *   8 bytes   the length n of the data, little-endian
 *   4 bytes   the masked CRC-32C of these 8 bytes
 *   n bytes   an Event (tensorflow/core/util/event.proto)
 *   4 bytes   the masked CRC-32C of the data
 */
import { checkTensor, isTensor, type Tensor } from '../autograd/index.ts';
import { joinBytes } from '../core/bytes.ts';
import { ArgumentError, FileError, kindOf, ShapeError, shown } from '../core/errors.ts';
import { checkText, refuseSurplus, withDefaults } from '../core/options.ts';
import { formatShape } from '../core/shape.ts';
import { appendWhole, attempt, errorCode, fileSystem, type FileSystem, syncFlag } from '../platform/files.ts';
import { crc32c } from './crc.ts';
import { encodePng, type Pixels } from './png.ts';
import { Message } from './protobuf.ts';

/** Options of SummaryWriter. */
export interface SummaryWriterOptions {
  /** TensorBoard discards what earlier files of the folder have from this step on, as after a resume. Default null: nothing. */
  readonly purgeStep?: number | null;
}

/** Options of the methods that add. */
export interface SummaryOptions {
  /** Seconds since 1970. Default: now. */
  readonly wallTime?: number | null;
}

/** Options of addImage. */
export interface ImageSummaryOptions extends SummaryOptions {
  /** The order of the image's dims. Default 'CHW'. */
  readonly dataFormat?: 'CHW' | 'HWC' | 'HW';
}

/** Fields of the messages, by TensorFlow's .proto files. */
const EVENT = { wallTime: 1, step: 2, fileVersion: 3, summary: 5, sessionLog: 7 } as const;
const VALUE = { tag: 1, simpleValue: 2, image: 4, histogram: 5, tensor: 8, metadata: 9 } as const;
const IMAGE = { height: 1, width: 2, colorspace: 3, encoded: 4 } as const;
const HISTOGRAM = { min: 1, max: 2, num: 3, sum: 4, sumSquares: 5, limits: 6, counts: 7 } as const;
const SESSION_START = 1;
const DT_STRING = 7;

/** Counts the writers of this process, for the names of their files. */
let writers = 0;

/**
 * Writes scalars, histograms, images and texts to a new event file in `dir`, which TensorBoard shows: `tensorboard --logdir dir`.
 *
 * Each record is written at once and whole, or if the disk is full not at all: a process that is killed loses none that was added, and
 * TensorBoard ignores one that a crash of the machine has cut. The folder is made if it is missing. Works where there is a file system.
 * Throws: FileError if the file cannot be written; ArgumentError after close()
 * @example
 * const writer = new SummaryWriter('runs/1');
 * writer.addScalar('loss/train', loss.item(), step);
 * writer.close();
 */
export class SummaryWriter {
  /** The path of the event file. */
  readonly path: string;
  readonly #node: FileSystem;
  /** The flag of a file whose writes wait for the disk; 0 for one that is flushed. */
  readonly #sync: number;
  #file: number | null;

  constructor(dir: string, options: SummaryWriterOptions = {}) {
    const { purgeStep } = withDefaults<SummaryWriterOptions>('SummaryWriter', options, { purgeStep: null });
    checkText('SummaryWriter', 'dir', dir);
    if (purgeStep !== null) checkStep('SummaryWriter', purgeStep);
    this.#node = fileSystem('SummaryWriter');
    this.#sync = syncFlag(this.#node.fs);
    const seconds = Math.floor(Date.now() / 1000);
    // TensorBoard finds the files by 'tfevents' and reads them in the order of their names.
    const name = `events.out.tfevents.${String(seconds).padStart(10, '0')}.${process.pid}.${writers++}`;
    this.path = this.#node.path.join(dir, name);
    this.#file = this.#attempt(() => {
      makeFolder(this.#node, dir);
      const { O_WRONLY, O_CREAT, O_EXCL, O_APPEND } = this.#node.fs.constants;
      return this.#node.fs.openSync(this.path, O_WRONLY | O_CREAT | O_EXCL | O_APPEND | this.#sync);
    });
    try {
      this.#write(event(0, null).text(EVENT.fileVersion, 'brain.Event:2'));
      if (purgeStep !== null) this.#write(event(purgeStep, null).message(EVENT.sessionLog, new Message().integer(1, SESSION_START)));
    } catch (error) {
      this.#discard();
      throw error;
    }
  }

  /** Adds a number, such as a loss, to the curve `tag`. NaN and infinities are shown as such. */
  addScalar(tag: string, value: number | Tensor, step: number, options: SummaryOptions = {}): void {
    refuseSurplus('addScalar', arguments, 4);
    checkTag('addScalar', tag);
    const number = isTensor(value) && value.numel === 1 ? value.item() : value;
    if (typeof number !== 'number')
      throw new ArgumentError(
        `addScalar: the value must be a number or a tensor of one element, got ${isTensor(value) ? `one of shape ${formatShape(value.shape)}` : kindOf(value)}`,
      );
    this.#add('addScalar', step, options, new Message().text(VALUE.tag, tag).float(VALUE.simpleValue, number));
  }

  /**
   * Adds the distribution of the elements of a tensor, such as a weight or its gradient, in TensorFlow's logarithmic buckets.
   *
   * Throws: ArgumentError for no elements, or if one is not finite
   */
  addHistogram(tag: string, values: Tensor, step: number, options: SummaryOptions = {}): void {
    refuseSurplus('addHistogram', arguments, 4);
    checkTag('addHistogram', tag);
    checkTensor('addHistogram', 'values', values);
    this.#add('addHistogram', step, options, new Message().text(VALUE.tag, tag).message(VALUE.histogram, histogram(values)));
  }

  /**
   * Adds an image: floating point from 0 to 1, or int32 from 0 to 255; values beyond are clipped. 1 channel is grey, 3 red, green and blue,
   * 4 with alpha.
   * Shape: image [C,H,W], [H,W,C] or [H,W], see dataFormat
   * Throws: ShapeError for another shape or number of channels
   */
  addImage(tag: string, image: Tensor, step: number, options: ImageSummaryOptions = {}): void {
    refuseSurplus('addImage', arguments, 4);
    checkTag('addImage', tag);
    checkTensor('addImage', 'image', image);
    const { dataFormat, wallTime } = withDefaults<ImageSummaryOptions>('addImage', options, { dataFormat: 'CHW', wallTime: null });
    const pixels = pixelsOf(image, dataFormat);
    const encoded = encodePng(pixels, (bytes) => this.#node.zlib.deflateSync(bytes));
    const size = new Message().integer(IMAGE.height, pixels.height).integer(IMAGE.width, pixels.width);
    const content = size.integer(IMAGE.colorspace, pixels.channels).raw(IMAGE.encoded, encoded);
    this.#add('addImage', step, { wallTime }, new Message().text(VALUE.tag, tag).message(VALUE.image, content));
  }

  /** Adds a text, which TensorBoard renders as Markdown. */
  addText(tag: string, text: string, step: number, options: SummaryOptions = {}): void {
    refuseSurplus('addText', arguments, 4);
    checkTag('addText', tag);
    if (typeof text !== 'string') throw new ArgumentError(`addText: expected a text, got ${kindOf(text)}`);
    const value = new Message().text(VALUE.tag, `${tag}/text_summary`);
    const shape = new Message().message(2, new Message().integer(1, 1));
    value.message(VALUE.tensor, new Message().integer(1, DT_STRING).message(2, shape).text(8, text));
    value.message(VALUE.metadata, new Message().message(1, new Message().text(1, 'text')));
    this.#add('addText', step, options, value);
  }

  /** Waits until all that was added is on the disk, so that it survives a power loss. */
  flush(): void {
    refuseSurplus('flush', arguments, 0);
    const file = this.#open('flush');
    if (this.#sync === 0) this.#attempt(() => this.#node.fs.fsyncSync(file));
  }

  /** Flushes and closes the file. A second call does nothing. */
  close(): void {
    refuseSurplus('close', arguments, 0);
    if (this.#file === null) return;
    this.flush();
    const file = this.#file;
    this.#file = null;
    this.#attempt(() => this.#node.fs.closeSync(file));
  }

  /** As close(), for `using`. */
  [Symbol.dispose](): void {
    this.close();
  }

  #add(op: string, step: number, options: SummaryOptions, value: Message): void {
    const { wallTime } = withDefaults<SummaryOptions>(op, options, { wallTime: null });
    checkStep(op, step);
    if (wallTime !== null && !(typeof wallTime === 'number' && wallTime >= 0 && wallTime < Infinity))
      throw new ArgumentError(`${op}: wallTime must be seconds since 1970, got ${shown(wallTime)}`);
    this.#open(op);
    this.#write(event(step, wallTime).message(EVENT.summary, new Message().message(1, value)));
  }

  /** Closes and removes the file, which has no event yet. */
  #discard(): void {
    const { fs } = this.#node;
    attempt(() => fs.closeSync(this.#file!));
    attempt(() => fs.unlinkSync(this.path));
    this.#file = null;
  }

  #open(op: string): number {
    if (this.#file === null) throw new ArgumentError(`${op}: the writer of ${this.path} is closed`);
    return this.#file;
  }

  /** Writes a record, whole. */
  #write(message: Message): void {
    const record = recordOf(message.bytes());
    const file = this.#file!;
    this.#attempt(() => appendWhole(this.#node.fs, file, record));
  }

  #attempt<T>(step: () => T): T {
    try {
      return step();
    } catch (cause) {
      throw new FileError(`SummaryWriter: cannot write ${this.path} (${errorCode(cause)})`, { cause });
    }
  }
}

/** Makes a folder and its parents, one at a time: Node 20's recursive mkdir never returns below /proc. */
function makeFolder(node: FileSystem, dir: string): void {
  if (node.fs.existsSync(dir)) return;
  const parent = node.path.dirname(dir);
  if (parent !== dir) makeFolder(node, parent);
  try {
    node.fs.mkdirSync(dir);
  } catch (error) {
    // Another process may have made it meanwhile.
    if (errorCode(error) !== 'EEXIST') throw error;
  }
}

function event(step: number, wallTime: number | null): Message {
  return new Message().double(EVENT.wallTime, wallTime ?? Date.now() / 1000).integer(EVENT.step, step);
}

function checkTag(op: string, tag: unknown): void {
  checkText(op, 'the tag', tag);
}

function checkStep(op: string, step: unknown): void {
  if (Number.isSafeInteger(step) && (step as number) >= 0) return;
  throw new ArgumentError(`${op}: the step must be an integer from 0 on, got ${typeof step === 'number' ? step : kindOf(step)}`);
}

function recordOf(data: Uint8Array): Uint8Array {
  const length = new Uint8Array(8);
  new DataView(length.buffer).setBigUint64(0, BigInt(data.length), true);
  return joinBytes([length, masked(length), data, masked(data)]);
}

/** The check, rotated and shifted: a check over data that holds its own check would be weak. */
function masked(bytes: Uint8Array): Uint8Array {
  const crc = crc32c(bytes);
  const out = new Uint8Array(4);
  new DataView(out.buffer).setUint32(0, ((crc >>> 15) | (crc << 17)) + 0xa282ead8, true);
  return out;
}

// — histograms —

/** The upper limits of TensorFlow's buckets above 0: 1e-12 · 1.1ᵏ, below 1e20. */
const POSITIVE_LIMITS: readonly number[] = (() => {
  const limits: number[] = [];
  for (let v = 1e-12; v < 1e20; v *= 1.1) limits.push(v);
  return limits;
})();
const LIMITS: readonly number[] = [...POSITIVE_LIMITS.map((v) => -v).reverse(), 0, ...POSITIVE_LIMITS, Number.MAX_VALUE];

function histogram(values: Tensor): Message {
  const data = values.data();
  if (data.length === 0) throw new ArgumentError(`addHistogram: values has no elements (shape ${formatShape(values.shape)})`);
  const counts = new Float64Array(LIMITS.length);
  let [min, max, sum, sumSquares] = [Infinity, -Infinity, 0, 0];
  data.forEach((v, i) => {
    if (!Number.isFinite(v)) throw new ArgumentError(`addHistogram: expected finite values, got ${v} at element ${i}`);
    min = Math.min(min, v);
    max = Math.max(max, v);
    sum += v;
    sumSquares += v * v;
    counts[bucketOf(v)]!++;
  });
  const first = counts.findIndex((n) => n > 0);
  const last = counts.findLastIndex((n) => n > 0);
  // The bucket before the first one with a count says where that one begins.
  const from = Math.max(0, first - 1);
  const message = new Message().double(HISTOGRAM.min, min).double(HISTOGRAM.max, max).double(HISTOGRAM.num, data.length);
  message.double(HISTOGRAM.sum, sum).double(HISTOGRAM.sumSquares, sumSquares);
  return message.doubles(HISTOGRAM.limits, LIMITS.slice(from, last + 1)).doubles(HISTOGRAM.counts, counts.slice(from, last + 1));
}

/** Returns the first bucket whose limit is above v, by bisection. */
function bucketOf(v: number): number {
  let [low, high] = [0, LIMITS.length - 1];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (v < LIMITS[middle]!) high = middle;
    else low = middle + 1;
  }
  return low;
}

// — images —

/** The position of the dims C, H and W for each format. */
const FORMATS = { CHW: [0, 1, 2], HWC: [2, 0, 1], HW: [-1, 0, 1] } as const;

function pixelsOf(image: Tensor, dataFormat: 'CHW' | 'HWC' | 'HW'): Pixels {
  if (!Object.hasOwn(FORMATS, dataFormat)) throw new ArgumentError(`addImage: dataFormat must be CHW, HWC or HW, got ${shown(dataFormat)}`);
  const [c, h, w] = FORMATS[dataFormat];
  if (image.ndim !== dataFormat.length) {
    throw new ShapeError(
      `addImage: expected ${dataFormat.length} dims (${dataFormat}), got ${image.ndim} (shape ${formatShape(image.shape)})`,
    );
  }
  const channels = c < 0 ? 1 : image.shape[c]!;
  if (channels !== 1 && channels !== 3 && channels !== 4) {
    throw new ShapeError(
      `addImage: expected 1, 3 or 4 channels, got ${channels} (shape ${formatShape(image.shape)}, dataFormat ${dataFormat})`,
    );
  }
  const [height, width] = [image.shape[h]!, image.shape[w]!];
  if (height * width === 0) throw new ShapeError(`addImage: the image has no pixels (shape ${formatShape(image.shape)})`);
  const data = image.data();
  const scale = image.dtype === 'int32' ? 1 : 255;
  const plane = height * width;
  const bytes = Uint8ClampedArray.from({ length: plane * channels }, (_, i) => {
    if (dataFormat !== 'CHW') return data[i]! * scale;
    return data[(i % channels) * plane + Math.floor(i / channels)]! * scale;
  });
  return { width, height, channels, data: new Uint8Array(bytes.buffer) };
}
