// Draws the charts of report.html; runs in the browser, with uPlot loaded before it.
(() => {
  const embedded = (id) => JSON.parse(document.getElementById(id).textContent);
  const { steps, curves } = embedded('curves');
  const { range: gateRange, blocks } = embedded('excitations');
  const dark = matchMedia('(prefers-color-scheme: dark)');
  const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
  const digits = (n) => (v) => (v === null || v === undefined ? '' : v.toFixed(n));
  const short = (v) => Number(v.toPrecision(6)).toString();

  const line = (curve, column, format) => ({
    label: `${curve.title}, training`,
    samples: curve[column],
    stroke: colour(curve.net),
    width: 1.25,
    alpha: 0.55,
    points: { show: false },
    value: (_, v) => format(v),
  });
  const dots = (curve, column, format) => ({
    label: `${curve.title}, test`,
    samples: curve[column],
    stroke: colour(curve.net),
    width: 2,
    spanGaps: true,
    points: { show: true, size: 7, fill: colour(curve.net), stroke: colour('panel'), width: 1.5 },
    value: (_, v) => format(v),
  });

  const count = (v) => (v === null || v === undefined ? '' : v.toLocaleString('en-US'));
  const charts = () => [
    {
      id: 'loss',
      range: (_, lo, hi) => [0, Math.min(hi, 3.2) * 1.05],
      series: curves.flatMap((c) => [line(c, 'loss', digits(3)), dots(c, 'testLoss', digits(3))]),
    },
    {
      id: 'accuracy',
      range: () => [0, 100],
      series: curves.flatMap((c) => [line(c, 'accuracy', digits(1)), dots(c, 'testAccuracy', digits(2))]),
    },
    {
      id: 'lr',
      range: (_, lo, hi) => [0, hi * 1.08],
      series: [{ label: curves.length > 1 ? 'both nets' : curves[0].title, samples: curves[0].lr, stroke: colour('muted'), width: 2, points: { show: false }, value: (_, v) => digits(5)(v) }],
    },
  ];

  // One small chart for each gate: a line for each class over the channels, and a band around the chosen class.
  let chosen = null;
  const plain = { width: 1.25, points: { show: false } };
  const edges = ({ means, deviations }) =>
    [1, -1].map((sign) => ({
      ...plain,
      label: 'mean ± standard deviation',
      samples: means[chosen].map((m, i) => (m === null ? null : m + sign * deviations[chosen][i])),
      stroke: 'transparent',
    }));
  const gates = () =>
    blocks.map((block, i) => ({
      id: `gate-${i}`,
      x: block.means[0].map((_, channel) => channel),
      label: 'channel',
      height: 180,
      legend: false,
      range: (_, lo, hi) => gateRange ?? [Math.min(0, lo), hi * 1.05],
      series: [
        ...block.means.map((samples, c) => ({
          ...plain,
          label: `${c}`,
          samples,
          stroke: colour(`class-${c}`),
          alpha: chosen === null || chosen === c ? 1 : 0.2,
        })),
        ...(chosen === null ? [] : edges(block)),
      ],
      bands: chosen === null ? [] : [{ series: [block.means.length + 1, block.means.length + 2], fill: `${colour(`class-${chosen}`)}40` }],
    }));
  const keys = [...document.querySelectorAll('[data-class]')];
  for (const key of keys) {
    key.addEventListener('click', () => {
      const c = Number(key.dataset.class);
      chosen = chosen === c ? null : c;
      for (const k of keys) k.setAttribute('aria-pressed', String(k === key && chosen !== null));
      draw(gates());
    });
  }

  const draw = (all) => {
    for (const { id, range, series, bands = [], x = steps, label = 'step', height = 240, legend = true } of all) {
      const holder = document.getElementById(id);
      holder.replaceChildren();
      const font = `12px ${getComputedStyle(document.body).fontFamily}`;
      const axis = (extra) => ({
        stroke: colour('muted'),
        font,
        labelFont: font,
        ticks: { stroke: colour('rule'), size: 5, width: 1 },
        grid: { stroke: colour('rule'), width: 1 },
        ...extra,
      });
      const size = () => ({ width: holder.clientWidth, height });
      const chart = new uPlot(
        {
          ...size(),
          scales: { x: { time: false, range: (_, lo, hi) => [0, hi] }, y: { range } },
          axes: [
            axis({ label, labelSize: 18, size: 34, space: 60, values: (_, vs) => vs.map(count) }),
            axis({ size: 46, space: 32, values: (_, vs) => vs.map(short) }),
          ],
          series: [{ label, value: (_, v) => count(v) }, ...series],
          bands,
          legend: { show: legend },
          cursor: {
            show: legend, drag: { x: true, y: false }, points: { size: 6 } },
        },
        [x, ...series.map((s) => s.samples)],
        holder,
      );
      new ResizeObserver(() => chart.setSize(size())).observe(holder);
    }
  };
  const drawAll = () => draw([...charts(), ...gates()]);
  drawAll();
  dark.addEventListener('change', drawAll);
})();
