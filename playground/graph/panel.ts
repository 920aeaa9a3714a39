/**
 * The panel "Graph".
 */
import type { Panel } from '../panel.ts';
import { h } from '../ui/dom.ts';

export const graphPanel: Panel = {
  id: 'graph',
  title: 'Graph',
  about: 'Step through the backward pass of a small expression, one node at a time.',
  mount(host) {
    host.append(h('p', {}, 'Nothing here yet.'));
    return { applyState: () => {} };
  },
};
