import type { Browser, Page } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { PRESETS } from '../../playground/graph/presets.ts';
import { buildModel } from '../../playground/graph/walk.ts';
import { buildPlayground } from '../../scripts/build-playground.mjs';
import { CHROMIUM, overflowOf, startChromium, type Look, type WatchedPage } from '../support/chromium.ts';
import { openPlayground } from '../support/playground.ts';

// The graph panel in a browser, by keyboard alone.

/** Opens the panel and waits until its worker has answered: with a graph, or with what is wrong. */
async function openGraph(browser: Browser, url: string, look?: Look): Promise<WatchedPage> {
  const watched = await openPlayground(browser, url, look);
  const { page } = watched;
  await page.locator('.walk').or(page.getByText('There is no graph to show yet.')).filter({ visible: true }).first().waitFor();
  return watched;
}

/** The text of the step counter, such as `2 of 6`. */
function counter(page: Page): Promise<string> {
  return page.locator('.transport .step output').textContent() as Promise<string>;
}

/** What the walks show: each node's look and numbers, and the explanation. */
function shown(page: Page): Promise<string> {
  return page.locator('.walks').evaluate((walks) => walks.innerHTML);
}

/** The numbers of a cell of the result with all digits, or the words that describe its picture. */
function numbersIn(page: Page, leaf: string, column: number): Promise<{ numbers: number[]; picture: string | null }> {
  return page.locator(`[data-leaf="${leaf}"] > :nth-child(${column})`).evaluate((cell) => ({
    numbers: [...cell.querySelectorAll<HTMLElement>('.number, .cell')].map((e) => Number(e.title)),
    picture: cell.querySelector('canvas')?.getAttribute('aria-label') ?? null,
  }));
}

async function pressTimes(page: Page, key: string, times: number): Promise<void> {
  for (let i = 0; i < times; i++) await page.keyboard.press(key);
}

describe.skipIf(CHROMIUM === undefined)('the graph panel in Chromium, where it is installed', () => {
  let browser: Browser;
  let url: string;

  beforeAll(async () => {
    const { path } = await buildPlayground();
    url = `file://${path}`;
    browser = await startChromium();
  });

  afterAll(() => browser?.close());

  test.each(Object.entries(PRESETS))('%s is stepped to its end and back by keys', async (name, { program }) => {
    const { page, faults, context } = await openGraph(browser, `${url}#graph?preset=${name}`);
    const model = buildModel(program);
    const steps = model.newestFirst.steps.length;
    expect(await counter(page)).toBe(`0 of ${steps}`);
    const before: string[] = [];
    for (let k = 0; k < steps; k++) {
      before.push(await shown(page));
      await page.keyboard.press('ArrowRight');
    }
    expect(await counter(page)).toBe(`${steps} of ${steps}`);
    expect(await page.evaluate(() => location.hash)).toBe(`#graph?preset=${name}&step=${steps}`);
    for (const { node, name: leaf } of model.leaves) {
      const { numbers, picture } = await numbersIn(page, leaf, 2);
      const wanted = model.nodes[node]!.grad!;
      if (picture === null) expect(numbers.map((x, i) => Math.abs(x - wanted[i]!) < 1e-12)).toEqual(wanted.map(() => true));
      else expect(picture).toContain(`[${model.nodes[node]!.shape.join(', ')}]: [`);
    }
    for (let k = steps - 1; k >= 0; k--) {
      await page.keyboard.press('ArrowLeft');
      expect(await shown(page), `step ${k}`).toBe(before[k]);
    }
    expect(new Set(before).size).toBe(steps);
    expect(faults).toEqual([]);
    await context.close();
  });

  test('depth first shows the wrong numbers beside the right ones', async () => {
    const { page, faults, context } = await openGraph(browser, `${url}#graph?preset=twice&order=both`);
    expect(await page.locator('.walk:visible').count()).toBe(2);
    await page.keyboard.press('End');
    expect((await numbersIn(page, 'a', 2)).numbers).toEqual([33]);
    expect((await numbersIn(page, 'a', 3)).numbers).toEqual([36]);
    expect(await page.locator('.verdict').allTextContents()).toEqual(['wrong', 'wrong']);
    expect(await page.locator('.depthFirst .sentence').textContent()).toBe(
      'h receives 1 too late: it has passed on −12 before, so this part is lost to the nodes behind it.',
    );
    expect(faults).toEqual([]);
    await context.close();
  });

  test('a link carries expression, numbers, step and order', async () => {
    const { page, context } = await openGraph(browser, `${url}#graph?preset=small`);
    await page.getByLabel('w', { exact: true }).fill('-4');
    await page.waitForFunction(() => location.hash.includes('program'));
    await page.getByText('Compare with').click();
    await pressTimes(page, 'ArrowRight', 3);
    const there = await page.evaluate(() => [location.href, document.querySelector('.walks')!.innerHTML]);
    const again = await openGraph(browser, there[0]!);
    expect(await again.page.locator('textarea').inputValue()).toBe('w = -4\nx = 2\nb = 1\ny = (w * x + b) ** 2');
    expect(await counter(again.page)).toBe('3 of 6');
    expect(await shown(again.page)).toBe(there[1]);
    await Promise.all([context.close(), again.context.close()]);
  });

  test('an error is said at its line, and the last graph stays', async () => {
    const { page, faults, context } = await openGraph(browser, `${url}#graph?preset=small&step=2`);
    await page.locator('textarea').fill('w = 3\ny = w * v');
    await page.getByText("line 2: 'v' is not defined; defined here: w").waitFor();
    expect(await page.locator('.gutter .wrong').allTextContents()).toEqual(['2']);
    expect(await page.locator('textarea').getAttribute('aria-invalid')).toBe('true');
    expect(await page.locator('.newestFirst [data-node]').count()).toBe(7);
    expect(await page.locator('.walks').getAttribute('class')).toContain('is-stale');
    // The other leaves are gone from the text.
    expect(await page.locator('.leaf-inputs legend').allTextContents()).toEqual(['w ']);
    expect(await page.locator('.transport input[type=range]').isDisabled()).toBe(true);
    await page.getByRole('button', { name: 'Next' }).dispatchEvent('click');
    expect(await counter(page)).toBe('2 of 6');
    expect(await page.evaluate(() => location.hash)).not.toContain('step');
    const [message, text] = await Promise.all([page.locator('.editor .error').boundingBox(), page.locator('textarea').boundingBox()]);
    expect(message!.y + message!.height).toBeLessThanOrEqual(text!.y);
    await page.locator('textarea').fill('w = 3\ny = w * w');
    await page.waitForFunction(() => document.querySelectorAll('.newestFirst [data-node]').length === 2);
    expect(await page.locator('.editor .error').textContent()).toBe('');
    expect(faults).toEqual([]);
    await context.close();
  });

  test('an infinite number of a leaf shows as such, and stays when another number is changed', async () => {
    const { page, faults, context } = await openGraph(browser, `${url}#graph?preset=small`);
    await page.locator('textarea').fill('x = [1, -1e400]\ny = x.sum()');
    const second = page.getByLabel('x, number 2 of 2');
    await second.waitFor();
    expect([await second.inputValue(), await second.getAttribute('placeholder')]).toEqual(['', '−∞']);
    await page.getByLabel('x, number 1 of 2').fill('5');
    await page.waitForFunction(() => document.querySelector('textarea')!.value === 'x = [5, -Infinity]\ny = x.sum()');
    await page.waitForFunction(() => location.hash.includes('-Infinity'));
    expect(await page.locator('.editor .error').textContent()).toBe('');
    await second.fill('2');
    await page.waitForFunction(() => document.querySelector('textarea')!.value === 'x = [5, 2]\ny = x.sum()');
    expect(faults).toEqual([]);
    await context.close();
  });

  test('a link to a wrong expression says so in place of the graph', async () => {
    const { page, faults, context } = await openGraph(browser, `${url}#graph?preset=own&program=y+%3D+z&step=2`);
    expect(await page.getByText('There is no graph to show yet.').isVisible()).toBe(true);
    expect(await page.locator('.walk:visible').count()).toBe(0);
    expect(await page.locator('.editor .error').textContent()).toBe("line 1: 'z' is not defined; no name is defined before this line");
    expect(await counter(page)).toBe('0 of 0');
    await page.keyboard.press('ArrowRight');
    await page.locator('textarea').fill('z = 2\ny = z * z');
    await page.locator('.walk:visible').waitFor();
    expect(await page.getByText('There is no graph to show yet.').isVisible()).toBe(false);
    expect(faults).toEqual([]);
    await context.close();
  });

  test('an own program comes back after a preset', async () => {
    const { page, context } = await openGraph(browser, `${url}#graph?preset=small`);
    await page.locator('textarea').fill('v = 5\ny = v * v');
    await page.waitForFunction(() => location.hash.includes('program'));
    await page.getByLabel('Expression').first().selectOption('twice');
    expect(await page.locator('textarea').inputValue()).toBe(PRESETS.twice.program);
    await page.getByLabel('Expression').first().selectOption('own');
    expect(await page.locator('textarea').inputValue()).toBe('v = 5\ny = v * v');
    await context.close();
  });

  test('an error stays in sight beside a long program', async () => {
    const { page, context } = await openGraph(browser, `${url}#graph?preset=small`);
    const lines = Array.from({ length: 55 }, (_, i) => `x${i} = ${i}`);
    await page.locator('textarea').fill([...lines, 'y = z'].join('\n'));
    await page.getByText("line 56: 'z' is not defined").waitFor();
    await page.evaluate(() => document.querySelector('.gutter .wrong')!.scrollIntoView({ block: 'end' }));
    const box = await page.locator('.editor .error').boundingBox();
    expect(box!.y).toBeGreaterThanOrEqual(0);
    await context.close();
  });

  test.each([
    ['preset=nothing', "The link has preset='nothing', expected small, twice, broadcasting, se, layers, own; used small."],
    ['step=x', "The link has step='x', expected a whole number, 0 or more; used 0."],
    ['step=99', "The link has step='99', expected at most 6, the number of steps; used 6."],
    ['order=none', "The link has order='none', expected both; used the engine’s order alone."],
  ])('a link with %s says what was used', async (state, problem) => {
    const { page, context } = await openGraph(browser, `${url}#graph?${state}`);
    expect(await page.locator('.panel:visible .problems').textContent()).toBe(problem);
    await context.close();
  });

  test('leaves differ visibly from operations in the dark', async () => {
    const { page, context } = await openGraph(browser, `${url}#graph?preset=small`, { scheme: 'dark' });
    const [leaf, operation] = await page.evaluate(() =>
      ['leaf', 'operation'].map((kind) => {
        const context2d = document.createElement('canvas').getContext('2d')!;
        context2d.fillStyle = getComputedStyle(document.querySelector(`.node.${kind} .frame`)!).fill;
        context2d.fillRect(0, 0, 1, 1);
        return [...context2d.getImageData(0, 0, 1, 1).data];
      }),
    );
    expect(leaf!.reduce((sum, x, i) => sum + Math.abs(x - operation![i]!), 0)).toBeGreaterThan(60);
    await context.close();
  });

  test('a graph that fits has no hint to scroll', async () => {
    const { page, context } = await openGraph(browser, `${url}#graph?preset=small`);
    expect(await page.locator('.newestFirst .scroll-hint').isHidden()).toBe(true);
    await context.close();
  });

  test('a button keeps the keys working at either end', async () => {
    const { page, context } = await openGraph(browser, `${url}#graph?preset=small`);
    await page.getByRole('button', { name: 'Next' }).focus();
    await pressTimes(page, 'Enter', 7);
    expect(await counter(page)).toBe('6 of 6');
    await page.keyboard.press('ArrowLeft');
    expect(await counter(page)).toBe('5 of 6');
    await context.close();
  });

  test('a hostile expression runs nothing', async () => {
    const { page, faults, context } = await openGraph(browser, url);
    for (const text of ['x = 1\ny = x.constructor("alert(1)")()', 'x = globalThis', 'x = 1; y = x', '<img src=x onerror=alert(1)>']) {
      await page.locator('textarea').fill(text);
      await page.waitForFunction(() => document.querySelector('.editor .error')!.textContent !== '');
      expect(await page.locator('.editor .error').textContent()).toMatch(/^line \d: /);
      await page.locator('textarea').fill('x = 1\ny = x * x');
      await page.waitForFunction(() => document.querySelector('.editor .error')!.textContent === '');
    }
    expect(faults).toEqual([]);
    await context.close();
  });

  test('nodes are reached by Tab, say what they show, and lead to their step', async () => {
    const { page, context } = await openGraph(browser, `${url}#graph?preset=small`);
    const nodes = await page.locator('.newestFirst [data-node][tabindex="0"]').all();
    expect(nodes.length).toBe(6);
    expect(await nodes[3]!.getAttribute('aria-label')).toBe('w · x: mul, shape [], data 6, no gradient yet');
    await nodes[3]!.focus();
    await page.keyboard.press('Enter');
    expect(await counter(page)).toBe('3 of 6');
    expect(await nodes[3]!.getAttribute('aria-label')).toBe('w · x: mul, shape [], data 6, gradient 14');
    await page.keyboard.press('ArrowRight');
    expect(await counter(page)).toBe('4 of 6');
    await context.close();
  });

  test('space runs and pauses, also from a node and not from a text', async () => {
    const { page, context } = await openGraph(browser, `${url}#graph?preset=small`);
    await page.keyboard.press(' ');
    await page.getByRole('button', { name: 'Pause' }).waitFor();
    await page.keyboard.press(' ');
    await page.getByRole('button', { name: 'Run' }).waitFor();
    await page.locator('textarea').focus();
    const at = await counter(page);
    await page.keyboard.press('ArrowRight');
    expect(await counter(page)).toBe(at);
    await page.getByLabel('Speed').selectOption('fast');
    // A press on a text moves the focus away from the control.
    await page.locator('.keys').click();
    await page.keyboard.press(' ');
    await page.waitForFunction(() => document.querySelector('.transport output')!.textContent === '6 of 6');
    await page.getByRole('button', { name: 'Run' }).waitFor();
    await context.close();
  });

  test.each([
    [390, 'light'],
    [390, 'dark'],
    [1280, 'dark'],
  ] as const)('%d pixels wide and %s, only the graph’s box scrolls, to the current node', async (width, scheme) => {
    const { page, faults, context } = await openGraph(browser, `${url}#graph?preset=se&order=both`, { width, scheme });
    expect(await page.locator('.newestFirst .scroll-hint').isVisible()).toBe(true);
    for (let k = 0; k < 14; k++) {
      await page.keyboard.press('ArrowRight');
      expect(await overflowOf(page)).toBe(0);
      const [box, node] = await Promise.all([
        page.locator('.newestFirst .graph-scroll').boundingBox(),
        page.locator('.newestFirst .is-current').boundingBox(),
      ]);
      expect(node!.x + node!.width / 2).toBeGreaterThan(box!.x);
      expect(node!.x + node!.width / 2).toBeLessThan(box!.x + box!.width);
    }
    expect(faults).toEqual([]);
    await context.close();
  });
});
