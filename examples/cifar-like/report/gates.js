// The gates of report.html: a heat map for each gate and band, and a chart below them; runs in the browser, after charts.js.
globalThis.gates = (() => {
  const { colour, digits, short, count, isNumber, greatest, least, draw, drawn, remember } = globalThis.charts;
  const format = digits(2);

  /** The gates as the page has them, and the chosen class; null: all classes. */
  let data = null;
  let chosen = null;

  /** The channels in the order in which they are drawn: by what a warm band changes, if there are bands. */
  const orderOf = ({ means }) => {
    const [cool, warm] = means.map((rows) => rows.at(-1));
    const channels = (cool ?? warm ?? []).map((_, c) => c);
    if (!cool || !warm) return channels;
    return channels.toSorted((a, b) => warm[a] - cool[a] - (warm[b] - cool[b]));
  };

  const rangeOf = ({ means }) => data.range ?? [0, greatest(means.flat(2)) || 1];

  // ---------- The chart ----------

  /** Without bands, all classes have a line each, or the chosen one has one; otherwise each band has one. */
  const linesOf = ({ means }, at) => {
    const { classes, bands } = data;
    const row = chosen ?? classes.length;
    if (bands !== null) return bands.map((name, b) => ({ name, colour: name, b, samples: at(means[b], row) }));
    const shown = chosen === null ? classes.map((_, c) => c) : [chosen];
    return shown.map((c) => ({ name: classes[c], colour: `class-${c}`, b: 0, samples: at(means[0], c) }));
  };

  const chartOf = (block, i) => {
    const { classes, bands, range } = data;
    const order = orderOf(block);
    const at = (rows, row) => order.map((c) => rows[row]?.[c] ?? null);
    const lines = linesOf(block, at);
    const hasSpread = bands !== null || chosen !== null;
    const seriesOf = (l, samples, stroke, isEdge) => ({ label: l.name, samples, format, stroke, isEdge, width: 1.75, points: { show: false } });
    const edge = (l, sign) => {
      const deviations = at(block.deviations[l.b], chosen ?? classes.length);
      return l.samples.map((m, k) => (m === null ? null : m + sign * deviations[k]));
    };
    const edges = lines.flatMap((l) => [1, -1].map((sign) => seriesOf(l, edge(l, sign), 'transparent', true)));
    const areas = lines.map((l, b) => ({ series: [1, 2].map((e) => lines.length + 2 * b + e), fill: `${colour(l.colour)}38` }));
    return {
      id: `gate-${i}`,
      name: `${block.block}, ${chosen === null ? 'all classes' : classes[chosen]}: mean scales of the channels`,
      ordered: false,
      xName: bands === null ? 'channel' : 'channel, sorted by warm − cool',
      // The places of sorted channels are not their numbers.
      xValues: bands === null ? count : () => '',
      x: order.map((_, k) => k),
      height: 160,
      legend: false,
      y: { range: (_, lo, hi) => range ?? [Math.min(0, lo), hi * 1.05] },
      series: [...lines.map((l) => seriesOf(l, l.samples, colour(l.colour), false)), ...(hasSpread ? edges : [])],
      bands: hasSpread ? areas : [],
    };
  };

  // ---------- The heat maps ----------

  /** Height of a row in CSS pixels; style.css has the same for the labels. */
  const ROW = 15;
  const rgb = (name) => [1, 3, 5].map((i) => Number.parseInt(colour(name).slice(i, i + 2), 16));
  const mixed = (a, b, t) => `rgb(${a.map((v, i) => Math.round(v + t * (b[i] - v))).join(' ')})`;

  /** Describes a heat map in words: its range, and where the bands differ most. */
  const inWords = (block, b) => {
    const { classes, bands } = data;
    const all = block.means[b].at(-1);
    const name = bands === null ? block.block : `${block.block}, ${bands[b]} band`;
    if (!all) return `${name}: no image.`;
    const range = `from ${format(least(all))} to ${format(greatest(all))}`;
    const text = `${name}: mean scales of ${all.length} channels for ${classes.length} classes, over all classes ${range}.`;
    const other = bands === null ? null : block.means[1 - b].at(-1);
    if (!other) return text;
    const differences = all.map((v, c) => Math.abs(v - other[c]));
    const c = differences.indexOf(greatest(differences));
    return `${text} Channel ${c} differs most between the bands: ${format(all[c])} here, ${format(other[c])} under the other.`;
  };

  /** Paints the cells, and a frame around `cell`. */
  const paint = (canvas, block, b, cell) => {
    const { classes } = data;
    const order = orderOf(block);
    const [lo, hi] = rangeOf(block);
    const ratio = window.devicePixelRatio || 1;
    const width = Math.round(canvas.parentElement.clientWidth * ratio);
    const height = Math.round(ROW * ratio);
    canvas.width = width;
    canvas.height = height * classes.length;
    canvas.style.height = `${ROW * classes.length}px`;
    const pen = canvas.getContext('2d');
    const [none, positive, negative] = [rgb('rule'), rgb('heat'), rgb('plain')];
    const edge = (k) => Math.round((k * width) / order.length);
    const gap = edge(1) >= 5 * ratio ? ratio : 0;
    for (let row = 0; row < classes.length; row++) {
      const values = block.means[b][row];
      pen.globalAlpha = chosen === null || chosen === row ? 1 : 0.25;
      // No image of this class has this band.
      if (values === null) continue;
      for (const [k, c] of order.entries()) {
        const v = values[c];
        pen.fillStyle = v < 0 ? mixed(none, negative, v / lo) : mixed(none, positive, Math.min(1, v / hi));
        pen.fillRect(edge(k), row * height, edge(k + 1) - edge(k) - gap, height - ratio);
      }
    }
    if (cell === null) return;
    pen.globalAlpha = 1;
    pen.strokeStyle = colour('ink');
    pen.lineWidth = 2 * ratio;
    pen.strokeRect(edge(cell.k), cell.row * height, edge(cell.k + 1) - edge(cell.k), height);
  };

  /** Returns what one cell shows, in words. */
  const cellInWords = (block, b, { k, row }) => {
    const { classes, bands } = data;
    const c = orderOf(block)[k];
    const [mean, deviation] = [block.means, block.deviations].map((values) => values[b][row]?.[c]);
    const place = `${classes[row]}${bands === null ? '' : `, ${bands[b]} band`}, channel ${c}`;
    return isNumber(mean) ? `${place}: ${format(mean)} ± ${format(deviation)}` : `${place}: no image`;
  };

  const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

  /** Makes the heat map of one gate and band. The pointer or the arrow keys choose a cell to read. */
  const makeMap = (holder) => {
    const [gate, b] = [Number(holder.dataset.gate), Number(holder.dataset.band)];
    const block = data.blocks[gate];
    const readout = document.getElementById(`readout-${gate}`);
    const canvas = holder.appendChild(document.createElement('canvas'));
    const columns = orderOf(block).length;
    const rows = data.classes.length;
    let cell = null;
    const repaint = () => paint(canvas, block, b, cell);
    const read = (next) => {
      const clamp = (v, n) => Math.max(0, Math.min(n - 1, v));
      cell = next && { k: clamp(next.k, columns), row: clamp(next.row, rows) };
      readout.textContent = cell === null ? '' : cellInWords(block, b, cell);
      repaint();
    };
    canvas.addEventListener('pointermove', (e) =>
      read({ k: Math.floor((e.offsetX / canvas.clientWidth) * columns), row: Math.floor(e.offsetY / ROW) }),
    );
    for (const leave of ['pointerleave', 'blur']) canvas.addEventListener(leave, () => read(null));
    canvas.addEventListener('keydown', (e) => {
      const step = ARROWS[e.key];
      if (step === undefined) return;
      e.preventDefault();
      read(cell === null ? { k: 0, row: 0 } : { k: cell.k + step[0], row: cell.row + step[1] });
    });
    canvas.tabIndex = 0;
    canvas.setAttribute('role', 'img');
    canvas.setAttribute('aria-label', `${inWords(block, b)} The arrow keys read single cells.`);
    repaint();
    remember(`map-${gate}-${b}`, { holder, resize: repaint, destroy: () => canvas.remove() });
  };

  const drawScale = (block, i) => {
    const [lo, hi] = rangeOf(block);
    const bar = document.createElement('i');
    if (lo < 0) bar.className = 'signed';
    document.getElementById(`scale-${i}`).replaceChildren(short(lo), bar, short(Number(hi.toPrecision(3))));
  };

  const drawAll = () => {
    for (const holder of document.querySelectorAll('.cells')) {
      const made = drawn.get(`map-${holder.dataset.gate}-${holder.dataset.band}`);
      if (made === undefined) makeMap(holder);
      else made.resize();
    }
    data.blocks.forEach((block, i) => {
      draw(chartOf(block, i));
      drawScale(block, i);
    });
  };

  const listenToClasses = () => {
    const keys = [...document.querySelectorAll('[data-class]')];
    for (const key of keys) {
      key.addEventListener('click', () => {
        chosen = key.dataset.class === '' ? null : Number(key.dataset.class);
        for (const k of keys) k.setAttribute('aria-pressed', String(k === key));
        drawAll();
      });
    }
  };

  /** Draws the gates of a page that has just been made. */
  const start = (given) => {
    data = given;
    chosen = null;
    listenToClasses();
    drawAll();
  };

  return { start, drawAll };
})();
