/**
 * The pictures as two datasets. The threads that decode them import this file too.
 */
import { fileURLToPath } from 'node:url';
import { imageFolder, randomSplit, serveDataset, transforms, withTransform } from 'chainrule/data';
import sharp from 'sharp';

/** Where draw.ts puts the pictures. */
export const FOLDER = fileURLToPath(new URL('./runs/pictures', import.meta.url));

const SIZE = 32;
const pictures = imageFolder(FOLDER, { sharp });
const [forTraining, forTest] = randomSplit(pictures, [0.8, 0.2], { seed: 1 });

export const { classes } = pictures;
export const trainSet = withTransform(
  forTraining!,
  transforms.compose(
    transforms.randomResizedCrop(SIZE, { scale: [0.7, 1] }),
    transforms.randomHorizontalFlip(),
    transforms.colorJitter({ brightness: 0.2, hue: 0.1 }),
    transforms.normalize(0.5, 0.25),
  ),
);
export const testSet = withTransform(forTest!, transforms.compose(transforms.resize([SIZE, SIZE]), transforms.normalize(0.5, 0.25)));

serveDataset(trainSet);
