/**
 * The page's script. It draws; what there is to compute, it asks of the workers, which run `compute.ts`. So the page stays responsive.
 */
import { gradcheckPanel } from './gradcheck/panel.ts';
import { graphPanel } from './graph/panel.ts';
import { startPage } from './page.ts';
import { sePanel } from './se/panel.ts';
import { trainPanel } from './train/panel.ts';

// In a task of its own: this one already compiled the script.
setTimeout(() => startPage(document.getElementById('root')!, [graphPanel, trainPanel, sePanel, gradcheckPanel]));
