// Offers a dataset that ends its thread.
import { serveDataset } from 'chainrule/data';

serveDataset({ length: 8, get: () => process.exit(3) });
