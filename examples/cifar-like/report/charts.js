// The curves of report.html and of the live view; runs in the browser, after uPlot. gates.js and client.js use what it returns.
globalThis.charts = (() => {
  const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
  const isNumber = (v) => v !== null && v !== undefined;
  const numbersOf = (values) => values.filter(isNumber);
  const greatest = (values) => numbersOf(values).reduce((a, b) => Math.max(a, b), -Infinity);
  const least = (values) => numbersOf(values).reduce((a, b) => Math.min(a, b), Infinity);
  const digits = (n) => (v) => (isNumber(v) ? v.toFixed(n) : '');
  const short = (v) => Number(v.toPrecision(6)).toString();
  const count = (v) => (isNumber(v) ? v.toLocaleString('en-US') : '');

  // ---------- What is drawn ----------

  /** Shows the point of a line that has only one, which would be invisible. */
  const pointsIfAlone = (stroke) => ({ show: (u, i) => numbersOf(u.data[i]).length === 1, size: 7, fill: stroke, stroke });
  const line = (curve, samples, format) => {
    const stroke = colour(curve.net);
    return { label: `${curve.title}, training mean`, samples, format, stroke, width: 1.25, alpha: 0.55, points: pointsIfAlone(stroke) };
  };
  const dots = (curve, samples, format) => ({
    label: `${curve.title}, test`,
    samples,
    format,
    stroke: colour(curve.net),
    width: 2,
    spanGaps: true,
    points: { show: true, size: 7, fill: colour(curve.net), stroke: colour('panel'), width: 1.5 },
  });

  /** Returns whether the losses need a logarithmic axis: a linear one would press the usual ones flat under a few high ones. */
  const needsLogarithm = (losses) => {
    const sorted = losses.toSorted((a, b) => a - b);
    return sorted.length > 0 && sorted.at(-1) > 8 && sorted.at(-1) > 4 * sorted[Math.floor(0.9 * (sorted.length - 1))];
  };

  const lossChart = ({ steps, curves, end }) => {
    const losses = numbersOf(curves.flatMap((c) => [...c.loss, ...c.testLoss]));
    const logarithmic = needsLogarithm(losses);
    const lowest = least(losses.filter((v) => v > 0));
    // A loss of exactly 0 is drawn at the lower end of a logarithmic axis.
    const shown = (values) => (logarithmic ? values.map((v) => (isNumber(v) ? Math.max(v, lowest) : v)) : values);
    const scale = logarithmic ? ', on a logarithmic axis' : '';
    return {
      id: 'loss',
      kind: logarithmic ? 'logarithmic' : 'linear',
      name: `Loss${scale}`,
      caption: `Loss (cross entropy${scale})`,
      x: steps,
      end,
      y: logarithmic ? { distr: 3, range: [lowest, greatest(losses) * 2] } : { range: (_, lo, hi) => [0, hi > 0 ? hi * 1.05 : 1] },
      series: curves.flatMap((c) => [line(c, shown(c.loss), digits(3)), dots(c, shown(c.testLoss), digits(3))]),
    };
  };

  /** Returns the descriptions of the charts of the training. */
  const ofTraining = ({ steps, curves, end }) => {
    const stroke = colour('muted');
    const rates = curves.find((c) => c.lr.some(isNumber)) ?? curves[0];
    const label = curves.length > 1 ? 'both nets' : curves[0].title;
    return [
      lossChart({ steps, curves, end }),
      {
        id: 'accuracy',
        name: 'Accuracy in percent',
        x: steps,
        end,
        y: { range: () => [0, 100] },
        series: curves.flatMap((c) => [line(c, c.accuracy, digits(1)), dots(c, c.testAccuracy, digits(2))]),
      },
      {
        id: 'lr',
        name: 'Learning rate',
        x: steps,
        end,
        height: 120,
        legend: false,
        y: { range: (_, lo, hi) => [0, hi > 0 ? hi * 1.08 : 1] },
        series: [{ label, samples: rates.lr, format: digits(5), stroke, width: 2, points: pointsIfAlone(stroke) }],
      },
    ];
  };

  /** The figures of a chart in words, for those who do not see it. */
  const inWords = ({ name, series, x, ordered = true }) => {
    if (series.every(({ samples }) => !samples.some(isNumber))) return `${name}: no value yet.`;
    const parts = series
      .filter(({ isEdge = false }) => !isEdge)
      .map(({ label, samples, format }) => {
        const values = numbersOf(samples);
        if (values.length === 0) return `${label}: no value`;
        if (values.length === 1) return `${label}: ${format(values[0])}`;
        if (ordered) return `${label}: from ${format(values[0])} to ${format(values.at(-1))}`;
        return `${label}: between ${format(least(values))} and ${format(greatest(values))}`;
      });
    return `${name}${ordered ? `, steps ${count(x[0])} to ${count(x.at(-1))}` : ''}. ${parts.join('; ')}.`;
  };

  // ---------- Drawing ----------

  /** What is on the page by name: charts, and other drawings that follow the width of their holders. */
  const drawn = new Map();
  const resizes = new ResizeObserver((entries) => {
    for (const { target } of entries) for (const { holder, resize } of drawn.values()) if (holder === target) resize();
  });
  /** Remembers a drawing: `holder`, `resize()`, and what else its owner needs. */
  const remember = (name, drawing) => {
    drawn.set(name, drawing);
    resizes.observe(drawing.holder);
  };

  const axis = (extra, lines = {}) => {
    const font = `12px ${getComputedStyle(document.body).fontFamily}`;
    const rule = { stroke: colour('rule'), width: 1, ...lines };
    return { stroke: colour('muted'), font, labelFont: font, ticks: { ...rule, size: 5 }, grid: rule, ...extra };
  };

  /** Distances between the numbers of an axis of whole ones. */
  const WHOLE = Array.from({ length: 8 }, (_, i) => [1, 2, 5].map((n) => n * 10 ** i)).flat();
  /** On a logarithmic axis, the powers of ten alone have lines. */
  const powersOfTen = (_, values) => values.map((v) => (Math.abs(Math.log10(v) - Math.round(Math.log10(v))) < 1e-9 ? v : null));

  /** Returns the options of uPlot for a chart. */
  const optionsOf = ({ series, y, xName = 'step', xValues = count, legend = true, bands = [], height = 240 }, width, xRange) => {
    // Without the cursor over the chart, the legend has the last values. That of a line which ends earlier names its own step.
    const value = (format) => (u, v, i, at) => {
      if (at !== null) return format(v);
      const last = u.data[i].findLastIndex(isNumber);
      if (last < 0) return '';
      const text = format(u.data[i][last]);
      return last === u.data[0].length - 1 ? text : `${text} (${xName} ${count(u.data[0][last])})`;
    };
    // A run that has no value yet has no step either: the legend hides an entry without a text.
    const xValue = (u, v, i, at) => (at === null && !u.data.slice(1).some((values) => values.some(isNumber)) ? '' : value(count)(u, v, i, at));
    const drawnAs = ({ label, format, stroke, width: thickness, alpha, spanGaps, points }) => ({
      label,
      stroke,
      width: thickness,
      alpha,
      spanGaps,
      points,
      value: value(format),
    });
    return {
      width,
      height,
      scales: { x: { time: false, range: xRange }, y },
      axes: [
        axis({ label: xName, labelSize: 18, size: 34, space: 60, incrs: WHOLE, values: (_, vs) => vs.map(xValues) }),
        axis(
          { size: 46, space: height / 7.5, values: (_, vs) => vs.map((v) => (isNumber(v) ? short(v) : '')) },
          y.distr === 3 ? { filter: powersOfTen } : {},
        ),
      ],
      series: [{ label: xName, value: xValue }, ...series.map(drawnAs)],
      bands,
      legend: { show: legend },
      cursor: { show: legend, drag: { x: true, y: false }, points: { size: 6 } },
    };
  };

  /** Draws a chart from its description, in the place of an earlier one. */
  const draw = (chart) => {
    const { id, x, series, height = 240 } = chart;
    const holder = document.getElementById(id);
    drawn.get(id)?.destroy();
    holder.replaceChildren();
    if (chart.caption !== undefined) holder.previousElementSibling.textContent = chart.caption;
    // The step at which the x axis ends, which may be one that the run has not reached yet.
    let { end = x.at(-1) } = chart;
    const xRange = ({ data: [xs] }, lo, hi) => [lo <= xs[0] ? 0 : lo, hi >= xs.at(-1) ? end : hi];
    const u = new uPlot(optionsOf(chart, holder.clientWidth, xRange), [x, ...series.map((s) => s.samples)], holder);
    const { canvas } = u.ctx;
    const label = (described) => canvas.setAttribute('aria-label', inWords(described));
    canvas.setAttribute('role', 'img');
    label(chart);
    remember(id, {
      holder,
      kind: chart.kind,
      resize: () => u.setSize({ width: holder.clientWidth, height }),
      destroy: () => u.destroy(),
      update: (next) => {
        const isZoomed = u.scales.x.min > 0 || u.scales.x.max < end;
        end = next.end;
        u.setData([next.x, ...next.series.map((s) => s.samples)], !isZoomed);
        if (isZoomed) u.redraw(false, true);
        label(next);
      },
    });
  };

  /** Gives charts new values. A chart whose axis changes is drawn anew. */
  const update = (all) => {
    for (const chart of all) {
      const old = drawn.get(chart.id);
      if (old.kind !== chart.kind || chart.kind === 'logarithmic') draw(chart);
      else old.update(chart);
    }
  };

  /** Forgets all drawings, whose page is about to be replaced. */
  const forget = () => {
    for (const { destroy } of drawn.values()) destroy();
    drawn.clear();
    resizes.disconnect();
  };

  return { colour, digits, short, count, isNumber, greatest, least, ofTraining, draw, update, drawn, remember, forget };
})();
