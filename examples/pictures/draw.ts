/**
 * Draws the pictures of this example: a circle, a square, a triangle or a star on a coloured ground, as PNG and JPEG files of several sizes.
 */
import { existsSync, mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { Random } from 'chainrule/data';
import sharp from 'sharp';

const SHAPES: Readonly<Record<string, string>> = {
  circle: '<circle r="1"/>',
  square: '<rect x="-0.9" y="-0.9" width="1.8" height="1.8"/>',
  star: '<path d="M0-1 .25-.3 1-.3.4.15.6.9 0 .45-.6.9-.4.15-1-.3-.25-.3Z"/>',
  triangle: '<path d="M0-1 1 .8-1 .8Z"/>',
};

/** Draws `count` pictures of each class below `folder`, always the same ones, unless the folder exists. */
export async function draw(folder: string, count: number): Promise<void> {
  if (existsSync(folder)) return;
  for (const [c, [name, shape]] of Object.entries(SHAPES).entries()) {
    mkdirSync(join(folder, name), { recursive: true });
    for (let i = 0; i < count; i++) {
      const random = new Random(1).split(c, i);
      const between = (low: number, high: number): number => low + (high - low) * random.uniform();
      const [width, height] = [Math.round(between(40, 64)), Math.round(between(40, 64))];
      const hue = between(0, 360);
      const place = `translate(${between(0.35, 0.65) * width} ${between(0.35, 0.65) * height}) rotate(${between(-40, 40)}) scale(${between(9, 15)})`;
      const colors = [`hsl(${hue},60%,${between(25, 45)}%)`, `hsl(${hue + between(90, 270)},70%,${between(60, 80)}%)`];
      const picture = `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}">
        <rect width="100%" height="100%" fill="${colors[0]}"/><g transform="${place}" fill="${colors[1]}">${shape}</g></svg>`;
      await sharp(Buffer.from(picture)).toFile(join(folder, name, `${i}.${i % 3 === 0 ? 'jpg' : 'png'}`));
    }
  }
}
