// Draws report.html; runs in the browser, after charts.js and gates.js.
(() => {
  const { charts, gates } = globalThis;
  const data = JSON.parse(document.getElementById('data').textContent);

  // ---------- Parts that scroll sideways ----------

  /** Marks the sides at which a part has more to scroll to. */
  const markSides = (scroller) => {
    const { scrollLeft, scrollWidth, clientWidth } = scroller;
    const rest = scrollWidth - clientWidth;
    const part = scroller.parentElement;
    part.toggleAttribute('data-wide', rest > 1);
    part.toggleAttribute('data-left', scrollLeft > 1);
    part.toggleAttribute('data-right', scrollLeft < rest - 1);
    if (rest > 1) scroller.tabIndex = 0;
    else scroller.removeAttribute('tabindex');
  };
  const markAllSides = () => document.querySelectorAll('.scroller').forEach(markSides);
  // A scroll event does not bubble.
  document.addEventListener('scroll', (e) => e.target.classList?.contains('scroller') && markSides(e.target), true);
  window.addEventListener('resize', markAllSides);

  /** Draws a page that has just been made. */
  const start = () => {
    charts.ofTraining(data.curves).forEach(charts.draw);
    gates.start(data.gates);
    markAllSides();
  };
  start();
  matchMedia('(prefers-color-scheme: dark)').addEventListener('change', () => {
    charts.ofTraining(data.curves).forEach(charts.draw);
    gates.drawAll();
  });
})();
