/**
 * The filters of the first layer, and the feature maps of one image.
 */
import { fill, h } from '../../ui/dom.ts';
import { blankHeatMap, drawHeatMap } from '../../ui/heat-map.ts';
import type { FeatureMaps, Views } from '../observe.ts';
import { type NetName, NETS, perNet, TITLES } from '../nets.ts';
import { drawFilters, pictureCanvas } from './pixels.ts';

/** How many filters a row has. */
const FILTER_COLUMNS = 8;
/** How many maps a row of each block has. */
const MAP_COLUMNS = [8, 16, 16];

export interface MapsView {
  readonly filters: HTMLElement;
  readonly maps: HTMLElement;
  /** Draws those of one net. */
  readonly update: (name: NetName, views: Pick<Views, 'filters' | 'maps'>) => void;
}

export function mapsView(): MapsView {
  const filterCanvases = perNet((name) => pictureCanvas(`first-layer filters ${TITLES[name]}`));
  const mapCanvases = perNet((name) => MAP_COLUMNS.map((_, b) => blankHeatMap(labelOf(b, name))));
  const rows = MAP_COLUMNS.map((_, b) => [
    h('h4', {}, `Block ${b + 1}`),
    h(
      'div',
      { class: 'pair' },
      ...NETS.map((name) => h('div', {}, h('span', { class: `of-${name}` }, TITLES[name]), mapCanvases[name][b]!)),
    ),
  ]);
  const filters = h('div', { class: 'pair' });
  fill(filters, ...NETS.map((name) => h('div', {}, h('span', { class: `of-${name}` }, TITLES[name]), filterCanvases[name])));
  return {
    filters,
    maps: h('div', { class: 'maps' }, ...rows.flat()),
    update: (name, views) => {
      drawFilters(filterCanvases[name], views.filters[name], FILTER_COLUMNS, `first-layer filters ${TITLES[name]}`);
      views.maps[name].forEach((maps, b) =>
        drawHeatMap(mapCanvases[name][b]!, tiled(maps, MAP_COLUMNS[b]!), { label: labelOf(b, name), range: [0, 255] }),
      );
    },
  };
}

function labelOf(block: number, name: NetName): string {
  return `feature maps of block ${block + 1} ${TITLES[name]}`;
}

/** Puts maps beside each other, with a gap of one pixel. */
function tiled({ shape: [C, H, W], values }: FeatureMaps, across: number): { values: Float32Array; rows: number; columns: number } {
  const columns = across * (W + 1) - 1;
  const rows = Math.ceil(C / across) * (H + 1) - 1;
  const tiles = new Float32Array(rows * columns).fill(NaN);
  for (let c = 0; c < C; c++) {
    const corner = Math.floor(c / across) * (H + 1) * columns + (c % across) * (W + 1);
    for (let y = 0; y < H; y++) tiles.set(values.subarray((c * H + y) * W, (c * H + y + 1) * W), corner + y * columns);
  }
  return { values: tiles, rows, columns };
}
