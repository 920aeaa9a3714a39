/**
 * A line chart, drawn by uPlot in the colours of the page.
 */
import uPlot from 'uplot';
import { h } from './dom.ts';
import { later } from './later.ts';
import { withMinus } from './numbers.ts';
import { color, onThemeChange } from './theme.ts';

export interface Series {
  readonly label: string;
  /** A colour of the style sheet, such as `se`. */
  readonly color: string;
  /** Dots without a line. Default: a line. */
  readonly dots?: boolean;
  /** A dashed line, for what is not measured. Default: a solid one. */
  readonly dashed?: boolean;
}

export interface LineChartOptions {
  readonly title: string;
  /** What the horizontal axis counts. */
  readonly x: string;
  readonly series: readonly Series[];
  /** Whether the horizontal axis falls to the right. Default: it rises. */
  readonly falling?: boolean;
  /** A logarithmic axis. Default: both linear. */
  readonly log?: { readonly x?: boolean; readonly y?: boolean };
  /** The range of the vertical axis for data between `low` and `high`. Default: that of uPlot. */
  readonly range?: (low: number, high: number) => [number, number];
  /** Horizontal lines with a text, read at each drawing. Default: none. */
  readonly marks?: () => readonly Mark[];
  /** In pixels. Default 200. */
  readonly height?: number;
}

/** A horizontal line at a value of the vertical axis. */
export interface Mark {
  readonly value: number;
  readonly text: string;
}

/** A number for each position on the horizontal axis; null: none. */
export type Samples = readonly (number | null)[];

export interface LineChart {
  readonly element: HTMLElement;
  /** Shows these samples: the positions, then one list for each series. `description` says in words what the chart shows. */
  readonly update: (x: readonly number[], samples: readonly Samples[], description: string) => void;
}

export function lineChart(options: LineChartOptions): LineChart {
  const holder = h('div', { class: 'chart', role: 'img', 'aria-label': options.title });
  let data: uPlot.AlignedData = [[], ...options.series.map(() => [])];
  let chart: uPlot | null = null;
  const draw = (): void => {
    if (holder.clientWidth === 0) return;
    chart?.destroy();
    chart = new uPlot(chartOptions(options, holder.clientWidth), data, holder);
    showLegend();
  };
  /** Leaves out of the legend what has no sample, while something else has. */
  const showLegend = (): void => {
    const isDrawn = data.slice(1).map((samples) => [...samples].some((v) => v != null));
    const entries = [...holder.querySelectorAll<HTMLElement>('.u-series')].slice(1);
    entries.forEach((entry, i) => {
      entry.hidden = !isDrawn[i] && isDrawn.includes(true);
    });
  };
  onThemeChange(draw);
  new ResizeObserver(() => {
    if (chart === null) later(holder, draw);
    else if (holder.clientWidth > 0) chart.setSize({ width: holder.clientWidth, height: options.height ?? 200 });
  }).observe(holder);
  return {
    element: h('figure', { class: 'panel-figure' }, h('figcaption', {}, options.title), holder),
    update: (x, samples, description) => {
      data = [[...x], ...samples.map((s) => [...s])];
      holder.setAttribute('aria-label', `${options.title}: ${description}`);
      chart?.setData(data);
      showLegend();
    },
  };
}

/** Room for the number at a tick of the horizontal axis, in pixels. */
const TICK_WIDTH = 56;

/** A logarithmic axis: ticks and grid lines at about seven powers of ten, or as many as there is room for. */
const powersOfTen: uPlot.Axis = {
  splits: (chart, axis, low, high) => {
    const first = Math.ceil(Math.log10(low) - 1e-9);
    const last = Math.floor(Math.log10(high) + 1e-9);
    const most = axis === 0 ? Math.min(7, Math.floor(chart.width / TICK_WIDTH) - 1) : 7;
    const every = Math.max(1, Math.ceil((last - first) / most));
    return Array.from({ length: Math.floor((last - first) / every) + 1 }, (_, i) => 10 ** (first + i * every));
  },
  filter: (_, splits) => splits,
  values: (_, splits) => splits.map((v) => withMinus(v.toExponential(0).replace('e+', 'e'))),
};

function chartOptions(
  { x, series, falling = false, log = {}, range, marks, height = 200 }: LineChartOptions,
  width: number,
): uPlot.Options {
  const axis = { stroke: color('muted'), ticks: { stroke: color('rule'), size: 5 }, grid: { stroke: color('rule'), width: 1 } };
  // 3 is uPlot.Scale.Distr.Logarithmic, a constant enum, which isolated modules cannot read.
  const logarithmic: uPlot.Scale = { distr: 3, log: 10 };
  // Without a cursor there is no value; uPlot's default shows two dashes.
  const value = (_: uPlot, v: number | null): string => (v === null ? '' : withMinus(String(Number(v.toPrecision(4)))));
  return {
    width,
    height,
    scales: {
      x: { time: false, dir: falling ? -1 : 1, ...(log.x ? logarithmic : {}) },
      y: { ...(log.y ? logarithmic : {}), ...(range ? { range: (_: uPlot, low: number, high: number) => range(low, high) } : {}) },
    },
    axes: [
      { ...axis, label: x, labelSize: 18, size: 34, ...(log.x ? powersOfTen : {}) },
      { ...axis, size: 52, ...(log.y ? powersOfTen : {}) },
    ],
    series: [
      { label: x, value },
      ...series.map((s) => ({
        label: s.label,
        value,
        stroke: color(s.color),
        width: s.dots ? 0 : 1.5,
        ...(s.dashed ? { dash: [5, 5] } : {}),
        spanGaps: true,
        points: { show: s.dots === true, size: 7, fill: color(s.color) },
      })),
    ],
    legend: { show: series.length > 1 },
    cursor: { drag: { x: false, y: false } },
    hooks: marks === undefined ? {} : { drawAxes: [(chart: uPlot) => marks().forEach((mark) => drawMark(chart, mark))] },
  };
}

/** Draws a dashed line over the width of the chart, with its text above the left end. */
function drawMark({ ctx, bbox, valToPos }: uPlot, { value, text }: Mark): void {
  const y = Math.round(valToPos(value, 'y', true));
  const scale = devicePixelRatio;
  ctx.save();
  ctx.strokeStyle = ctx.fillStyle = color('muted');
  ctx.lineWidth = scale;
  ctx.setLineDash([4 * scale, 3 * scale]);
  ctx.beginPath();
  ctx.moveTo(bbox.left, y);
  ctx.lineTo(bbox.left + bbox.width, y);
  ctx.stroke();
  ctx.font = `${11 * scale}px system-ui, sans-serif`;
  ctx.textAlign = 'left';
  ctx.textBaseline = 'bottom';
  ctx.fillText(text, bbox.left + 4 * scale, y - 2 * scale);
  ctx.restore();
}
