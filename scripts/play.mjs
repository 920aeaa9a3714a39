// Serves the playground on this machine, built anew at each load: npm run play
import { createServer } from 'node:http';
import { parseArgs } from 'node:util';
import { playgroundPage } from './build-playground.mjs';

const { values } = parseArgs({ options: { port: { type: 'string', default: '4173' } } });

/** A cross-origin isolated page may share memory, so that the library uses threads. */
const headers = {
  'Content-Type': 'text/html; charset=utf-8',
  'Cross-Origin-Opener-Policy': 'same-origin',
  'Cross-Origin-Embedder-Policy': 'require-corp',
  'Cache-Control': 'no-store',
};

const server = createServer((request, response) => {
  if (new URL(request.url, 'http://localhost').pathname !== '/') return response.writeHead(404).end();
  playgroundPage().then(
    (page) => response.writeHead(200, headers).end(page),
    (error) => {
      process.stderr.write(`${error.message}\n`);
      response.writeHead(500, { 'Content-Type': 'text/plain' }).end(error.message);
    },
  );
});
server.on('error', (error) => {
  process.stderr.write(
    error.code === 'EADDRINUSE' ? `Port ${values.port} is in use. Try: npm run play -- --port 0\n` : `${error.message}\n`,
  );
  process.exitCode = 1;
});
server.listen(Number(values.port), '127.0.0.1', () => {
  process.stdout.write(`The playground is at http://127.0.0.1:${server.address().port}/ (Ctrl-C ends it)\n`);
});
