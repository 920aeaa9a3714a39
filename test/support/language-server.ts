/**
 * Asks TypeScript's language server what an editor shows.
 */
import { spawn, type ChildProcessWithoutNullStreams } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { root } from './snippets.ts';

interface Message {
  readonly id?: number;
  readonly method?: string;
  readonly result?: unknown;
  readonly error?: { readonly message: string };
}

export interface Completion {
  readonly label: string;
  /** The comment as Markdown; '' if there is none. */
  readonly comment: string;
}

/** A language server on a folder of files. Call `close()` on it. */
export class LanguageServer {
  readonly #process: ChildProcessWithoutNullStreams;
  readonly #pending = new Map<number, { resolve: (result: unknown) => void; reject: (error: Error) => void }>();
  #received = Buffer.alloc(0);
  #lastId = 0;

  static async start(folder: string): Promise<LanguageServer> {
    const server = new LanguageServer(folder);
    const completionItem = { documentationFormat: ['markdown'], resolveSupport: { properties: ['documentation'] } };
    const capabilities = { textDocument: { completion: { completionItem } } };
    await server.#request('initialize', { processId: process.pid, rootUri: pathToFileURL(folder).href, capabilities });
    server.#send({ method: 'initialized', params: {} });
    return server;
  }

  private constructor(folder: string) {
    this.#process = spawn(process.execPath, [join(root, 'node_modules/typescript/bin/tsc'), '--lsp', '--stdio'], { cwd: folder });
    this.#process.stdout.on('data', (data: Buffer) => this.#read(data));
    this.#process.once('exit', (code) => {
      for (const { reject } of this.#pending.values()) reject(new Error(`the language server ended with ${code}`));
    });
  }

  /** Returns what completion offers at the end of a file, with the comments. */
  async completions(file: string): Promise<Completion[]> {
    const text = readFileSync(file, 'utf8');
    const uri = pathToFileURL(file).href;
    this.#send({ method: 'textDocument/didOpen', params: { textDocument: { uri, languageId: 'typescript', version: 1, text } } });
    const lines = text.split('\n');
    const position = { line: lines.length - 1, character: lines.at(-1)!.length };
    const list = (await this.#request('textDocument/completion', { textDocument: { uri }, position })) as { items: Completion[] };
    return Promise.all(
      list.items.map(async (item) => {
        const { documentation } = (await this.#request('completionItem/resolve', item)) as { documentation?: { value: string } | string };
        return { label: item.label, comment: typeof documentation === 'object' ? documentation.value : (documentation ?? '') };
      }),
    );
  }

  close(): void {
    this.#process.removeAllListeners('exit');
    this.#process.kill();
  }

  #request(method: string, params: unknown): Promise<unknown> {
    const id = ++this.#lastId;
    this.#send({ id, method, params });
    return new Promise((resolve, reject) => this.#pending.set(id, { resolve, reject }));
  }

  #send(message: object): void {
    const text = JSON.stringify({ jsonrpc: '2.0', ...message });
    this.#process.stdin.write(`Content-Length: ${Buffer.byteLength(text)}\r\n\r\n${text}`);
  }

  #read(data: Buffer): void {
    this.#received = Buffer.concat([this.#received, data]);
    for (;;) {
      const end = this.#received.indexOf('\r\n\r\n');
      if (end < 0) return;
      const length = Number(/Content-Length: (\d+)/i.exec(this.#received.toString('latin1', 0, end))![1]);
      if (this.#received.length < end + 4 + length) return;
      const message = JSON.parse(this.#received.toString('utf8', end + 4, end + 4 + length)) as Message;
      this.#received = this.#received.subarray(end + 4 + length);
      this.#take(message);
    }
  }

  #take({ id, method, result, error }: Message): void {
    if (id === undefined) return;
    // The server asks for its configuration.
    if (method !== undefined) return this.#send({ id, result: null });
    const { resolve, reject } = this.#pending.get(id)!;
    this.#pending.delete(id);
    return error === undefined ? resolve(result) : reject(new Error(error.message));
  }
}
