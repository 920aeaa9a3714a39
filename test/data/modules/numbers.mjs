// Offers a dataset of numbers to the threads of a loader; test/data/workers.test.ts has the same one.
import { serveDataset, withTransform } from 'chainrule/data';
import { numbers } from './numbers-dataset.mjs';

serveDataset(numbers(withTransform));
