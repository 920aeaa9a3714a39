// Draws the charts of report.html; runs in the browser, with uPlot loaded before it.
(() => {
  const { steps, curves } = JSON.parse(document.getElementById('curves').textContent);
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

  const draw = () => {
    for (const { id, range, series } of charts()) {
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
      const size = () => ({ width: holder.clientWidth, height: 240 });
      const chart = new uPlot(
        {
          ...size(),
          scales: { x: { time: false, range: (_, lo, hi) => [0, hi] }, y: { range } },
          axes: [
            axis({ label: 'step', labelSize: 18, size: 34, space: 60, values: (_, vs) => vs.map((v) => (v === null ? '' : v.toLocaleString('en-US'))) }),
            axis({ size: 46, space: 32, values: (_, vs) => vs.map(short) }),
          ],
          series: [{ label: 'step', value: (_, v) => (v === null ? '' : v.toLocaleString('en-US')) }, ...series],
          legend: { show: true },
          cursor: { drag: { x: true, y: false }, points: { size: 6 } },
        },
        [steps, ...series.map((s) => s.samples)],
        holder,
      );
      new ResizeObserver(() => chart.setSize(size())).observe(holder);
    }
  };
  draw();
  dark.addEventListener('change', draw);
})();
