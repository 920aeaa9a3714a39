/**
 * The names of kernels that exist once per element type.
 */
import type { DType } from '../../core/dtype.ts';
import type { KernelName } from './launch.ts';

/** Returns a function from operation and dtype to the kernel's name. Each name is joined once, as joining costs more than a small kernel. */
export function exportsOf<Family extends string, Op extends string>(
  family: Family,
): (op: Op, dtype: DType) => Extract<KernelName, `${Family}${Op}_${string}`> {
  type Name = Extract<KernelName, `${Family}${Op}_${string}`>;
  const table = new Map<Op, Record<DType, Name>>();
  return (op, dtype) => {
    let byType = table.get(op);
    if (byType === undefined) {
      const name = (type: string): Name => `${family}${op}_${type}` as Name;
      byType = { float32: name('f32'), float64: name('f64'), int32: name('i32'), bool: name('u8') };
      table.set(op, byType);
    }
    return byType[dtype];
  };
}
