/**
 * A web server for one page and the events that change it, for browsers on this machine.
 *
 * It runs in the process of the training, which gives it the time between two steps. Messages are made only while a page is open, and
 * making them takes at most 2 % of the time.
 */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { RunError, systemProblem } from '../errors.ts';

/** The least time between two messages, in milliseconds. */
const INTERVAL_MS = 1000;
/** Making a message takes at most one part in so many of the time. */
const SHARE = 50;
/** The most pages that follow a run at once. */
export const MOST_CLIENTS = 8;
/** The most connections, with those that load the page. */
const MOST_CONNECTIONS = 32;
/** A page that reads too slowly skips messages while so many bytes wait for it. */
const MOST_WAITING_BYTES = 1 << 20;
/** How long the last message may take to reach the pages, in milliseconds. */
const LAST_MESSAGE_MS = 2000;

/** What the server serves. */
export interface Served {
  readonly page: string;
  /** The page's Content-Security-Policy. */
  readonly policy: string;
  /** Returns what the run has reached, to be sent as JSON. */
  readonly progress: () => unknown;
}

export class LiveServer {
  readonly #server: Server;
  readonly #served: Served;
  readonly #clients = new Set<ServerResponse>();
  #port = 0;
  #timer: NodeJS.Timeout | null = null;
  /** The last message about the progress; null: none yet. */
  #message: string | null = null;
  /** Whether there is progress that #message does not tell. */
  #isStale = true;
  /** Before this time, no other message is made. */
  #notBefore = 0;
  #isClosed = false;

  /**
   * Starts a server on a free port of 127.0.0.1.
   *
   * Throws: RunError if there is none
   */
  static async listen(served: Served): Promise<LiveServer> {
    const live = new LiveServer(served);
    await new Promise<void>((resolve, reject) => {
      live.#server.once('error', (error) => {
        const problem = systemProblem(error) ?? error.message;
        reject(new RunError(`--live: expected a free port of 127.0.0.1, got ${problem}; leave --live out`, { cause: error }));
      });
      live.#server.listen(0, '127.0.0.1', resolve);
    });
    live.#port = (live.#server.address() as AddressInfo).port;
    return live;
  }

  private constructor(served: Served) {
    this.#served = served;
    this.#server = createServer((request, response) => this.#answer(request, response));
    this.#server.maxConnections = MOST_CONNECTIONS;
    // The run decides how long the process lives.
    this.#server.unref();
  }

  get url(): string {
    return `http://127.0.0.1:${this.#port}/`;
  }

  /** Tells that there is progress, which the open pages get in time. */
  changed(): void {
    this.#isStale = true;
    if (this.#timer !== null || this.#clients.size === 0 || this.#isClosed) return;
    this.#timer = setTimeout(
      () => {
        this.#timer = null;
        const message = this.#freshMessage();
        for (const client of this.#clients) if (client.writableLength < MOST_WAITING_BYTES) client.write(message);
      },
      Math.max(0, this.#notBefore - performance.now()),
    );
    this.#timer.unref();
  }

  /** Sends a last event to the open pages, and closes the server. Has no effect the second time. */
  async close(event: string, data: unknown): Promise<void> {
    if (this.#isClosed) return;
    this.#isClosed = true;
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#server.close();
    const message = messageOf(event, data);
    const sent = Promise.all([...this.#clients].map((client) => ended(client, message)));
    let deadline: NodeJS.Timeout | undefined;
    await Promise.race([sent, new Promise((resolve) => (deadline = setTimeout(resolve, LAST_MESSAGE_MS)))]);
    clearTimeout(deadline);
    this.#server.closeAllConnections();
  }

  #answer(request: IncomingMessage, response: ServerResponse): void {
    const { host, origin } = request.headers;
    const own = [`127.0.0.1:${this.#port}`, `localhost:${this.#port}`];
    // A page of another site whose name was bound to 127.0.0.1 sends that name.
    if (host === undefined || !own.includes(host)) return refuse(response, 403, `expected the host ${own.join(' or ')}`);
    if (request.method !== 'GET') return refuse(response, 405, 'expected the method GET', { Allow: 'GET' });
    const path = request.url!.split('?', 1)[0];
    if (path === '/') {
      response.writeHead(200, { ...HEADERS, 'Content-Type': 'text/html; charset=utf-8', 'Content-Security-Policy': this.#served.policy });
      response.end(this.#served.page);
      return;
    }
    if (path !== '/events') return refuse(response, 404, 'expected / or /events');
    if (origin !== undefined && !own.includes(origin.replace('http://', '')))
      return refuse(response, 403, 'expected a page of this server');
    this.#subscribe(response);
  }

  #subscribe(response: ServerResponse): void {
    if (this.#isClosed || this.#clients.size >= MOST_CLIENTS) return refuse(response, 503, `expected at most ${MOST_CLIENTS} pages`);
    response.writeHead(200, { ...HEADERS, 'Content-Type': 'text/event-stream' });
    this.#clients.add(response);
    const forget = (): boolean => this.#clients.delete(response);
    response.on('close', forget);
    // A page may go while a message is on its way to it.
    response.on('error', forget);
    const isDue = performance.now() >= this.#notBefore;
    response.write(this.#message === null || (this.#isStale && isDue) ? this.#freshMessage() : this.#message);
    if (this.#isStale) this.changed();
  }

  /** Makes the message about the progress, and notes when the next one may be made. */
  #freshMessage(): string {
    const start = performance.now();
    this.#isStale = false;
    this.#message = messageOf('progress', this.#served.progress());
    const end = performance.now();
    this.#notBefore = end + Math.max(INTERVAL_MS, SHARE * (end - start));
    return this.#message;
  }
}

const HEADERS = {
  'Cache-Control': 'no-store',
  'Cross-Origin-Resource-Policy': 'same-origin',
  'Referrer-Policy': 'no-referrer',
  'X-Content-Type-Options': 'nosniff',
} as const;

function refuse(response: ServerResponse, status: number, text: string, headers: Readonly<Record<string, string>> = {}): void {
  response.writeHead(status, { ...HEADERS, 'Content-Type': 'text/plain; charset=utf-8', ...headers }).end(`${text}\n`);
}

/** Returns a server-sent event. JSON has no line breaks, which would end its data. */
function messageOf(event: string, data: unknown): string {
  return `event: ${event}\ndata: ${JSON.stringify(data)}\n\n`;
}

/** Waits until the message has been sent, or the page has gone. */
function ended(client: ServerResponse, message: string): Promise<void> {
  return new Promise((resolve) => {
    client.on('close', () => resolve());
    client.end(message, () => resolve());
  });
}
