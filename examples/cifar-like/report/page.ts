/**
 * The HTML page of the report and of the live view: one file that needs no network. client.js draws the charts of both.
 */
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import type { GateStatistics } from '../gates.ts';
import type { Curves } from './curves.ts';
import { embeddedJson, Html, html } from './html.ts';

/** What a page shows. */
export interface Content {
  readonly title: string;
  readonly main: Html;
  readonly data: ChartData;
}

/** What client.js draws. */
export interface ChartData {
  readonly curves: Curves;
  readonly gates: GateData;
}

export interface GateData {
  /** Least and greatest scale of the gate's function; null: those of the values. */
  readonly range: readonly [number, number] | null;
  readonly classes: readonly string[];
  /** Names of the context bands; null: images without bands. */
  readonly bands: readonly string[] | null;
  readonly blocks: readonly GateStatistics[];
}

/** Reads a file of this folder. */
const ownFile = (name: string): Html => new Html(readFileSync(new URL(name, import.meta.url), 'utf8'));
/** Reads a file of an npm package. */
const packageFile = (name: string): Html => new Html(readFileSync(createRequire(import.meta.url).resolve(name), 'utf8'));

/** The scripts of a page, in their order. */
const scripts = (): readonly Html[] => [
  packageFile('uplot/dist/uPlot.iife.min.js'),
  ...['charts.js', 'gates.js', 'client.js'].map(ownFile),
];

/**
 * Returns the page.
 *
 * @param live whether the page receives new content from the server that it comes from
 */
export function pageOf({ title, main, data }: Content, live = false): Html {
  return html`<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<link rel="icon" href="data:,">
<title>${title}</title>
<style>${packageFile('uplot/dist/uPlot.min.css')}${ownFile('colors.css')}${ownFile('style.css')}</style>
</head>
<body data-live="${String(live)}">
<main>${main}</main>
<script type="application/json" id="data">${embeddedJson(data)}</script>
${scripts().map((script) => html`<script>${script}</script>`)}
</body>
</html>
`;
}

/** Returns a Content-Security-Policy that allows what the page needs: its own scripts, styles and images, and its server. */
export function pagePolicy(): string {
  const hashes = scripts().map(({ text }) => `'sha256-${createHash('sha256').update(text).digest('base64')}'`);
  return [
    "default-src 'none'",
    `script-src ${hashes.join(' ')}`,
    "style-src 'unsafe-inline'",
    'img-src data:',
    "connect-src 'self'",
    "base-uri 'none'",
    "form-action 'none'",
    "frame-ancestors 'none'",
  ].join('; ');
}
