import type { ChildProcess } from 'node:child_process';
import { readFileSync, renameSync } from 'node:fs';
import { type IncomingMessage, type RequestOptions, request } from 'node:http';
import { connect, type Socket } from 'node:net';
import { join } from 'node:path';
import { afterEach, describe, expect, test } from 'vitest';
import { type Progress, RunState } from '../../examples/cifar-like/live/state.ts';
import { chooseData } from '../../examples/cifar-like/data.ts';
import { LiveServer, MOST_CLIENTS } from '../../examples/cifar-like/live/server.ts';
import { checkNpm, defaultSettings, helpText, optionNames, parseCommand } from '../../examples/cifar-like/options.ts';
import { ended, metricsOf, onReference, run, start, temporaryFolder } from './support.ts';

// The live view: what its server answers, and that a run with it is the same run.

interface Event {
  readonly event: string;
  readonly data: unknown;
}

/** Yields the events of a stream until the server ends it. */
async function* eventsOf(url: string, signal: AbortSignal | null = null): AsyncGenerator<Event> {
  const response = await fetch(`${url}events`, { signal });
  expect([response.status, response.headers.get('content-type')]).toEqual([200, 'text/event-stream']);
  let text = '';
  for await (const chunk of response.body!.pipeThrough(new TextDecoderStream())) {
    text += chunk;
    for (let end = text.indexOf('\n\n'); end >= 0; end = text.indexOf('\n\n')) {
      const [, event, data] = /^event: (.*)\ndata: (.*)$/.exec(text.slice(0, end))!;
      text = text.slice(end + 2);
      yield { event: event!, data: JSON.parse(data!) as unknown };
    }
  }
}

/** Sends a request and returns the status and the headers of its answer. */
function answerTo(url: string, options: RequestOptions): Promise<IncomingMessage> {
  return new Promise((resolve, reject) => {
    const sent = request(url, options, (response) => {
      response.resume();
      resolve(response);
    });
    sent.on('error', reject);
    sent.end();
  });
}

describe('the server', () => {
  const servers: LiveServer[] = [];
  afterEach(async () => {
    for (const server of servers.splice(0)) await server.close('end', 'test');
  });

  async function listen(progress: () => unknown = () => 1): Promise<LiveServer> {
    const server = await LiveServer.listen({ page: '<p>page', policy: "default-src 'none'", progress });
    servers.push(server);
    return server;
  }

  test('serves its page on 127.0.0.1, under the policy, to be stored nowhere', async () => {
    const { url } = await listen();
    expect(url).toMatch(/^http:\/\/127\.0\.0\.1:\d+\/$/);
    const response = await fetch(url);
    expect([response.status, await response.text()]).toEqual([200, '<p>page']);
    expect(Object.fromEntries(response.headers)).toMatchObject({
      'content-security-policy': "default-src 'none'",
      'content-type': 'text/html; charset=utf-8',
      'cache-control': 'no-store',
      'cross-origin-resource-policy': 'same-origin',
      'x-content-type-options': 'nosniff',
    });
    expect((await fetch(`${url}?again`)).status).toBe(200);
    expect((await fetch(url.replace('127.0.0.1', 'localhost'))).status).toBe(200);
  });

  test.each(['evil.example', 'evil.example:PORT', '127.0.0.1', 'localhost', '127.0.0.1:1', '127.0.0.1:PORT.evil.example', '[::1]:PORT'])(
    'refuses the host %j, which another site may have bound to this machine',
    async (host) => {
      const { url } = await listen();
      for (const path of ['', 'events', 'other']) {
        const response = await answerTo(url + path, { headers: { host: host.replace('PORT', new URL(url).port) } });
        expect(response.statusCode).toBe(403);
      }
    },
  );

  test.each(['POST', 'PUT', 'DELETE', 'HEAD', 'OPTIONS'])('refuses the method %s', async (method) => {
    const { url } = await listen();
    for (const path of ['', 'events', 'other']) {
      const response = await answerTo(url + path, { method });
      expect([response.statusCode, response.headers.allow]).toEqual([405, 'GET']);
    }
  });

  test.each(['/other', '/events/', '//', '/..%2f', '/index.html', '/metrics.jsonl', 'http://evil.example/'])(
    'has nothing at %s',
    async (path) => {
      const { url } = await listen();
      expect((await answerTo(url, { path })).statusCode).toBe(404);
    },
  );

  test('gives no events to a page of another site', async () => {
    const { url } = await listen();
    const statusFor = async (origin: string) => {
      const response = await answerTo(`${url}events`, { headers: { origin } });
      response.destroy();
      return response.statusCode;
    };
    expect([await statusFor('http://evil.example'), await statusFor('null'), await statusFor(url.slice(0, -1))]).toEqual([403, 403, 200]);
  });

  test('tells a page the progress when it comes and when it changes, and the last event before it closes', async () => {
    let made = 0;
    const server = await listen(() => ({ made: ++made, text: 'two\nlines' }));
    // Without a page, nothing is made.
    for (let i = 0; i < 100; i++) server.changed();
    expect(made).toBe(0);
    const events = eventsOf(server.url);
    expect((await events.next()).value).toEqual({ event: 'progress', data: { made: 1, text: 'two\nlines' } });
    for (let i = 0; i < 100; i++) server.changed();
    // A hundred changes in a moment are one message.
    expect((await events.next()).value).toEqual({ event: 'progress', data: { made: 2, text: 'two\nlines' } });
    const closed = server.close('report', 'done');
    server.changed();
    expect((await events.next()).value).toEqual({ event: 'report', data: 'done' });
    expect((await events.next()).done).toBe(true);
    await closed;
    await server.close('end', 'again');
    await expect(fetch(server.url)).rejects.toThrow('fetch failed');
  });

  test('a page that comes soon after another gets the same message', async () => {
    let made = 0;
    const server = await listen(() => ++made);
    for (let i = 0; i < 3; i++) expect((await eventsOf(server.url).next()).value).toEqual({ event: 'progress', data: 1 });
  });

  test(`lets ${MOST_CLIENTS} pages follow a run, and another one when one of them has gone`, async () => {
    const { url } = await listen();
    const pages = Array.from({ length: MOST_CLIENTS }, () => {
      const gone = new AbortController();
      return { gone, events: eventsOf(url, gone.signal) };
    });
    for (const { events } of pages) expect((await events.next()).done).toBe(false);
    expect((await fetch(`${url}events`)).status).toBe(503);
    pages[0]!.gone.abort();
    await expect(pages[0]!.events.next()).rejects.toThrow('aborted');
    const next = async (): Promise<number> => {
      const response = await answerTo(`${url}events`, {});
      response.destroy();
      return response.statusCode!;
    };
    await expect.poll(next, { timeout: 30_000 }).toBe(200);
  });

  test('closes although a page does not read, and still answers what is on its way', async () => {
    // More than the buffers of a connection hold.
    const server = await listen(() => 'x'.repeat(30_000_000));
    const { port, host } = new URL(server.url);
    const open = () => connect(Number(port), '127.0.0.1');
    const gone = (socket: Socket) =>
      new Promise<void>((resolve) => {
        socket.on('error', () => resolve());
        socket.on('close', () => resolve());
      });
    const slow = open();
    slow.write(`GET /events HTTP/1.1\r\nHost: ${host}\r\n\r\n`);
    await new Promise((resolve) => slow.once('readable', resolve));
    const late = open();
    let answer = '';
    late.on('data', (chunk) => (answer += String(chunk)));
    const ends = [gone(slow), gone(late)];
    await new Promise<void>((resolve) => late.write('GET / HTTP/1.1\r\n', () => resolve()));
    // Another request, so that the server has read the first line of the late one.
    expect((await fetch(server.url)).status).toBe(200);
    const closed = server.close('end', 'over');
    late.write(`Host: ${host}\r\n\r\n`);
    await expect.poll(() => answer).toContain('<p>page');
    await closed;
    slow.resume();
    await Promise.all(ends);
  });
});

// Long enough to be followed on a fast machine.
const SMALL = ['--train-images', '64', '--test-images', '48', '--batch-size', '16', '--epochs', '10'];
describe('what is known of a run', () => {
  const settings = { ...defaultSettings(), maxSteps: 1000 };
  const cells = (rows: string) => [...rows.matchAll(/<t[hd][^>]*>(?:<span[^>]*><\/span>)?([^<]*)</g)].map(([, cell]) => cell!);
  const step = (net: string, n: number) => ({ net, step: n, epoch: 1, loss: 2, accuracy: 0.25, lr: 0.1 });

  test('are the steps, the averages and the last test of each net', () => {
    const state = new RunState(settings, chooseData(settings));
    expect(state.progress()).toMatchObject({ title: 'starting · chainrule', headline: 'The run begins' });
    expect(cells(state.progress().rows)).toEqual(['without SE', '0', '–', '–', '–', '–', '–', 'SE-CNN', '0', '–', '–', '–', '–', '–']);
    state.begin('plain', 0);
    for (let n = 1; n <= 1000; n++) state.add(step('plain', n));
    expect(state.progress().headline).toBe('All 1,000 steps done, without SE: testing');
    state.add({ net: 'plain', step: 1000, images: 100, testLoss: 1, testAccuracy: 0.75 });
    state.begin('se', 0);
    state.add(step('se', 1));
    const { title, headline, rows } = state.progress();
    expect([title, headline]).toEqual(['SE-CNN 1/1000 · chainrule', 'Step 1 of 1,000, SE-CNN']);
    const [plain, se] = [cells(rows).slice(0, 7), cells(rows).slice(7)];
    expect(plain).toEqual(['without SE', '1,000', '2.000', '25.0 %', '75.00 % at step 1,000', '–', '–']);
    expect(se).toEqual(['SE-CNN', '1', '2.000', '25.0 %', '–', expect.stringMatching(/^[\d,]+$/), expect.stringMatching(/^\d+:\d\d$/)]);
  });

  test('its axis of steps doubles until it has all of them', () => {
    const state = new RunState(settings, chooseData(settings));
    state.begin('plain', 0);
    const ends = Array.from({ length: 1000 }, (_, i) => {
      state.add(step('plain', i + 1));
      return i % 50 === 0 ? state.progress().curves.end : 0;
    }).filter((end) => end > 0);
    expect([...new Set(ends)]).toEqual([2, 125, 250, 500, 1000]);
    state.begin('se', 0);
    state.add(step('se', 1));
    expect(state.progress().curves.end).toBe(1000);
  });
});

test('--live is an option of new and of resumed runs, and no setting', () => {
  const commands = [['--live'], ['--live', '--resume', 'x'], ['--detect-anomaly'], []].map((args) => parseCommand(args));
  expect(commands.map((c) => 'live' in c && c.live)).toEqual([true, true, false, false]);
  expect(commands.map((c) => 'detectAnomaly' in c && c.detectAnomaly)).toEqual([false, false, true, false]);
  expect(Object.keys(defaultSettings())).not.toContain('live');
  expect(() => parseCommand(['--live=yes'])).toThrow("--live: expected no value, got 'yes'; write --live alone");
  expect(helpText()).toMatch(/^ {2}--live +show the growing report in a browser on this machine, /m);
  expect(() => checkNpm('start', optionNames(), { npm_lifecycle_event: 'start', npm_config_live: 'true' })).toThrow('npm start -- --live');
});

const LONG = ['--train-images', '32', '--test-images', '16', '--batch-size', '8', '--epochs', '1000'];

/** Starts a run with a live view, and returns its address and its end. */
async function startLive(...args: string[]): Promise<{ child: ChildProcess; url: string; end: ReturnType<typeof ended> }> {
  const child = await start('--live', ...args);
  const end = ended(child);
  let text = '';
  const url = await new Promise<string>((resolve, reject) => {
    child.stdout!.on('data', (chunk) => {
      text += String(chunk);
      const found = /^Live: (http:\S+)\n/.exec(text);
      if (found !== null) resolve(found[1]!);
    });
    child.on('close', () => reject(new Error(`no address in ${text}`)));
  });
  return { child, url, end };
}

async function allOf(events: AsyncIterable<Event>): Promise<Event[]> {
  const all: Event[] = [];
  for await (const event of events) all.push(event);
  return all;
}

describe.skipIf(onReference)('a run with a live view', () => {
  const folder = temporaryFolder();

  test('is bitwise identical to one without, shows its progress, and at last its report', async () => {
    const dir = join(folder, 'live');
    const { url, end } = await startLive('--out', dir, ...SMALL);
    const followed = allOf(eventsOf(url));
    // Another page goes at once.
    const gone = new AbortController();
    await eventsOf(url, gone.signal).next();
    gone.abort();
    const page = await fetch(url);
    const html = await page.text();
    expect(html).toContain('data-live="true"');
    expect(html.match(/(?:src|href)=["']?(?!data:)[^"'\s>]+/g)).toBe(null);
    const events = await followed;
    const { code, stdout, stderr } = await end;
    expect([code, stderr]).toEqual([0, '']);
    expect(stdout).toContain('SE gain: ');
    expect(events.at(0)!.event).toBe('progress');
    expect((events[0]!.data as Progress).curves.end).toBeLessThanOrEqual(40);
    expect((events[0]!.data as Progress).headline).toMatch(/^The run begins$|^Step \d+ of 40, |^All 40 steps done, /);
    expect(events.filter(({ event }) => event !== 'progress').map(({ event }) => event)).toEqual(['report']);
    const report = events.at(-1)!.data as { title: string; main: string };
    const file = readFileSync(join(dir, 'report.html'), 'utf8');
    expect(file).toContain(`<title>${report.title}</title>`);
    expect(file).toContain(report.main);
    await expect(fetch(url)).rejects.toThrow('fetch failed');

    const without = join(folder, 'without');
    expect((await run('--out', without, ...SMALL)).code).toBe(0);
    for (const name of ['plain.safetensors', 'se.safetensors', 'metrics.jsonl']) {
      expect(Buffer.compare(readFileSync(join(dir, name)), readFileSync(join(without, name))), name).toBe(0);
    }
  });

  test('that Ctrl-C stops says how to resume; resumed, it shows the steps from before', async () => {
    const dir = join(folder, 'stopped');
    const first = await startLive('--out', dir, ...LONG);
    const seen: Event[] = [];
    for await (const event of eventsOf(first.url)) {
      seen.push(event);
      // Once: a second signal after a second ends the process at once.
      if (!first.child.killed && (event.data as Progress).curves?.steps.length > 3) first.child.kill('SIGINT');
    }
    expect(seen.at(-1)).toEqual({ event: 'end', data: `Stopped and saved. Go on with: npm start -- --resume ${dir}` });
    expect(await first.end).toMatchObject({ code: 130, stderr: '' });
    await expect(fetch(first.url)).rejects.toThrow('fetch failed');

    const before = metricsOf(dir).filter((m) => m.lr !== undefined).length;
    const second = await startLive('--resume', dir);
    const [step] = await stepsShown(second.url, second.child);
    expect(step).toBeGreaterThanOrEqual(before);
    expect((await second.end).code).toBe(130);
  });

  /** Returns the steps that the view shows, once the training goes on, and stops the run then. */
  async function stepsShown(url: string, child: ChildProcess): Promise<number[]> {
    const steps: number[] = [];
    for await (const { event, data } of eventsOf(url)) {
      const shown = event === 'progress' ? /^Step ([\d,]+) of/.exec((data as Progress).headline) : null;
      if (shown === null) continue;
      steps.push(Number(shown[1]!.replaceAll(',', '')));
      if (!child.killed) child.kill('SIGINT');
    }
    return steps;
  }

  test('that fails says so, and ends', async () => {
    const dir = join(folder, 'failed');
    const { url, end } = await startLive('--out', dir, ...LONG);
    const seen: Event[] = [];
    for await (const event of eventsOf(url)) {
      // The next checkpoint cannot be written.
      if (seen.length === 0) renameSync(dir, `${dir}-moved`);
      seen.push(event);
    }
    expect(seen.at(-1)).toEqual({ event: 'end', data: 'The run has ended with an error, which the terminal shows.' });
    const { code, stderr } = await end;
    expect(code).toBe(1);
    expect(stderr).toMatch(/^error: [^\n]*\n$/);
  });
});
