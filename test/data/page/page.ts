/** What the browser test calls in its page. */
import { DataLoader, imageFolder, type WorkerOptions } from 'chainrule/data';
import { numbers } from './numbers.ts';

async function batches(workers: WorkerOptions | null): Promise<unknown[]> {
  const seen: unknown[] = [];
  for await (const [x] of new DataLoader(numbers, { batchSize: 3, shuffle: true, seed: 2, workers })) seen.push(x.toArray());
  return seen;
}

const at = (name: string): URL => new URL(`./${name}.js`, import.meta.url);

Object.assign(globalThis, {
  plain: () => batches(null),
  byUrl: () => batches({ count: 2, module: at('numbers') }),
  byFunction: () => batches({ count: 2, module: () => new Worker(new URL('./numbers.js', import.meta.url), { type: 'module' }) }),
  failure: async (name: string) => {
    try {
      await batches({ count: 1, module: at(name) });
      return null;
    } catch (error) {
      return String(error).replace(location.origin, '');
    }
  },
  /** The bytes of the images of PNG files in base64, and the labels. */
  pictures: async (files: Readonly<Record<string, string>>) => {
    const list = Object.entries(files).map(([name, text]) => new File([Uint8Array.from(atob(text), (c) => c.charCodeAt(0))], name));
    const data = imageFolder(list);
    const samples = await Promise.all(list.map((_, index) => data.get(index)));
    return samples.map(([image, label]) => ({
      shape: image.shape,
      label: label.data[0],
      bytes: Array.from(image.data, (v) => Math.round(v * 255)),
    }));
  },
});
