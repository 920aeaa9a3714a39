/**
 * Places nodes and edges, by dagre.
 */
import { Graph, layout } from '@dagrejs/dagre';
import { type Placed, type Point, sizeOf } from './boxes.ts';
import type { NodeView } from './walk.ts';

/** Places the nodes from left to right. */
export function place(nodes: readonly NodeView[]): Placed {
  const graph = new Graph({ multigraph: true });
  graph.setGraph({ rankdir: 'LR', nodesep: 16, ranksep: 54, marginx: 14, marginy: 14 });
  const sizes = nodes.map(sizeOf);
  sizes.forEach(({ width, height }, i) => graph.setNode(String(i), { width, height }));
  const edges = nodes.flatMap(({ inputs }, to) => inputs.map((from, input) => ({ from, to, input })));
  for (const { from, to, input } of edges) graph.setEdge(String(from), String(to), {}, String(input));
  layout(graph);
  const { width, height } = graph.graph() as { width: number; height: number };
  return {
    width,
    height,
    boxes: sizes.map((size, i) => {
      const { x, y } = graph.node(String(i)) as Point;
      return { ...size, x: x - size.width / 2, y: y - size.height / 2 };
    }),
    edges: edges.map((e) => ({ ...e, points: (graph.edge(String(e.from), String(e.to), String(e.input)) as { points: Point[] }).points })),
  };
}
