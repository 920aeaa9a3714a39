// Draws report.html, and keeps the live view up to date; runs in the browser, after charts.js and gates.js.
(() => {
  const { charts, gates } = globalThis;
  let data = JSON.parse(document.getElementById('data').textContent);

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

  // ---------- The live view ----------

  /** Shows what the run has reached. */
  const showProgress = ({ title, headline, bars, rows, curves }) => {
    document.title = title;
    document.getElementById('headline').textContent = headline;
    document.getElementById('bars').innerHTML = bars;
    document.getElementById('rows').innerHTML = rows;
    data = { ...data, curves };
    charts.update(charts.ofTraining(curves));
    markAllSides();
  };

  /** Becomes the report of the finished run. */
  const showReport = (content) => {
    charts.forget();
    document.title = content.title;
    document.querySelector('main').innerHTML = content.main;
    data = content.data;
    start();
  };

  /** The page gives up after so many attempts to reach the run in vain. */
  const ATTEMPTS = 5;

  const follow = () => {
    const source = new EventSource('events');
    let failures = 0;
    const say = (text) => {
      document.getElementById('state').textContent = text;
    };
    const on = (event, show) => source.addEventListener(event, (e) => show(JSON.parse(e.data)));
    on('progress', (progress) => {
      failures = 0;
      say('');
      showProgress(progress);
    });
    on('report', (report) => {
      source.close();
      showReport(report);
    });
    on('end', (reason) => {
      source.close();
      say(reason);
    });
    source.addEventListener('error', () => {
      // The browser tries again by itself, unless the server has refused it.
      if (source.readyState === EventSource.CLOSED) return say('This page gets no news: too many pages show this run.');
      if (++failures === ATTEMPTS) source.close();
      return say('The run cannot be reached; it may have ended.');
    });
  };
  if (document.body.dataset.live === 'true') follow();
})();
