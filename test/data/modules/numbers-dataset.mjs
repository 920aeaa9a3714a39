/** Samples [i, a random number] and a class, asynchronous for even indices, behind a transform that draws a number of its own. */
export const numbers = (withTransform) =>
  withTransform(
    {
      length: 23,
      get(index, random) {
        const sample = [
          { data: Float64Array.of(index, random.uniform()), shape: [2], dtype: 'float64' },
          { data: Int32Array.of(index % 3), shape: [], dtype: 'int32' },
        ];
        return index % 2 === 0 ? new Promise((resolve) => setTimeout(() => resolve(sample), index % 4)) : sample;
      },
    },
    (item, random) => ({ ...item, data: Float64Array.of(...item.data, random.uniform()), shape: [3] }),
  );
