/**
 * The arguments that convolution kernels share. Images are in channels-last memory order; strides are in bytes.
 */
import { Input, Output } from '../runtime/abi';

/**
 * How the outputs along the vertical (Y) and the horizontal axis (X) read the inputs: output p < count reads inputs
 * start + p·step + t·tapStep for the taps t = 0 … taps − 1 that fall into 0 … size − 1.
 */
@unmanaged
export class ConvGeometry {
  countY: i32;
  startY: i32;
  stepY: i32;
  tapStepY: i32;
  tapsY: i32;
  sizeY: i32;
  countX: i32;
  startX: i32;
  stepX: i32;
  tapStepX: i32;
  tapsX: i32;
  sizeX: i32;
}

/** Arguments of a correlation, y = x ⋆ w. */
@unmanaged
export class CorrelationArgs extends ConvGeometry {
  x: Input;
  xImage: usize;
  xRow: usize;
  xPixel: usize;
  /** The packed weights. */
  w: usize;
  y: Output;
  yImage: usize;
  yRow: usize;
  yPixel: usize;
  /** Output rows that one chunk computes. */
  rowsPerChunk: i32;
}

/** Arguments of a weight gradient from inputs x and output gradients g. */
@unmanaged
export class WeightGradArgs extends ConvGeometry {
  x: Input;
  xImage: usize;
  xRow: usize;
  xPixel: usize;
  g: Input;
  gImage: usize;
  gRow: usize;
  gPixel: usize;
  /** The partial sums. */
  sums: usize;
  N: i32;
  /** Images of one part: one chunk sums over them. */
  imagesPerPart: i32;
}
