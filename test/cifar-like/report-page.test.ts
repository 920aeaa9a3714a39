import { createHash } from 'node:crypto';
import { describe, expect, test } from 'vitest';
import { chooseData, type Data } from '../../examples/cifar-like/data.ts';
import type { GateStatistics } from '../../examples/cifar-like/gates.ts';
import type { Metric } from '../../examples/cifar-like/metrics.ts';
import { defaultSettings, type Settings } from '../../examples/cifar-like/options.ts';
import { embeddedJson, html } from '../../examples/cifar-like/report/html.ts';
import { netSection } from '../../examples/cifar-like/report/net.ts';
import { pageOf, pagePolicy } from '../../examples/cifar-like/report/page.ts';
import { reportOf, writeReport } from '../../examples/cifar-like/report/report.ts';
import { headline } from '../../examples/cifar-like/report/verdict.ts';
import { arrow, box, svg, text } from '../../examples/cifar-like/report/svg.ts';
import type { RunFolder } from '../../examples/cifar-like/run-folder.ts';
import type { Result } from '../../examples/cifar-like/table.ts';

// What the report tells its reader, read from its HTML. pages.test.ts opens it in a browser.

const gateOf = (block: string, cool: number[], warm?: number[]): GateStatistics => {
  const bands = warm === undefined ? [cool] : [cool, warm];
  return { block, means: bands.map((scales) => [null, scales]), deviations: bands.map((scales) => [null, scales.map(() => 0.125)]) };
};

const GATES = [gateOf('blocks.0.se', [0.5, 0.25, 1], [0.75, 0.75, 0.875]), gateOf('blocks.1.se', [0.5, 0.5], [0.5, 0.375])];

function resultOf(net: Result['net'], given: Partial<Result> = {}): Result {
  const base = { parameters: 24_346, steps: 3125, ranks: 1, seconds: 65, imagesPerSecond: 3456, testLoss: 0.5 };
  const title = net === 'se' ? 'SE-CNN' : 'without SE';
  const gates = net === 'se' ? GATES : [];
  return { ...base, net, title, testAccuracy: 0.5, labels: '0001', predictions: '0112', gates, ...given };
}

const PLAIN = resultOf('plain', { predictions: '0011' });
const SE = resultOf('se', { testAccuracy: 0.625 });

/** A report of two or one nets, and its settings. */
function report(results: readonly Result[], given: Partial<Settings> = {}, data: Partial<Data> = {}) {
  const settings = { ...defaultSettings(), batchSize: 16, ...given };
  const metrics: Metric[] = results.map(({ net }) => ({ net, step: 1, epoch: 1, loss: 2, accuracy: 0.5, lr: 0.1 }));
  const written: string[] = [];
  const folder = {
    settings,
    metrics: () => metrics,
    writeReport: (page: string) => {
      written.push(page);
      return 'path/report.html';
    },
  } as unknown as RunFolder;
  const content = reportOf(folder, results, { ...chooseData(settings), ...data });
  return { folder, content, text: content.main.text, written };
}

/** The parts of a text that match, the first group of each. */
const found = (content: string, pattern: RegExp): string[] => [...content.matchAll(pattern)].map(([, group]) => group!);
/** The words of a piece of HTML. */
const wordsOf = (content: string): string =>
  content
    .replaceAll(/<[^>]*>/g, ' ')
    .replaceAll(/\s+/g, ' ')
    .trim();
/** The content of the section with a heading. */
const section = (content: string, heading: string): string =>
  content.split('<section').find((part) => part.includes(`<h2>${heading}</h2>`))!;

describe('the report', () => {
  const both = () => report([PLAIN, SE]);

  test('of both nets has its sections in order, under the headline', () => {
    expect(both().content.title).toBe('Squeeze-and-excitation: +12.5 points of test accuracy');
    expect(found(both().text, /<h2>(.*?)<\/h2>/g)).toEqual([
      'The task',
      'The nets',
      'Training',
      'What the gates do',
      'What is taken for what',
      'Test images',
      'The run',
    ]);
    expect(wordsOf(/<header>.*?<\/header>/s.exec(both().text)![0])).toMatch(
      /^chainrule · synthetic · seed 0 Squeeze-and-excitation: \+12\.5 points of test accuracy Synthetic images, 32×32 in colour/,
    );
  });

  test('of one net on images without bands has neither task nor gain, and no gates if the net has none', () => {
    const data = { bands: null, synthetic: null };
    const { text: plain } = report([PLAIN], { se: false }, data);
    expect(found(plain, /<h2>(.*?)<\/h2>/g)).toEqual(['The net', 'Training', 'What is taken for what', 'Test images', 'The run']);
    expect(plain).not.toContain('SE gain');
    const { text: se, content } = report([resultOf('se', { gates: [gateOf('attention', [0.5, 1])] })], { se: true }, data);
    const gates = section(se, 'What the gates do');
    expect(wordsOf(gates)).toContain('Where the rows differ, the gate tells classes apart');
    expect(found(gates, /<figcaption>(.*?)<\/figcaption>/g).map(wordsOf)).toEqual(['attention 2 channels']);
    expect(found(gates, /data-gate="0" data-band="(\d+)"/g)).toEqual(['0']);
    expect(gates).not.toContain(' band<');
    // With bands, the colours of the chart are those of the bands.
    expect([gates, section(both().text, 'What the gates do')].map((part) => part.includes('<span class="dot class-9"></span>'))).toEqual([
      true,
      false,
    ]);
    expect(content.data.gates.bands).toBe(null);
  });

  test('has the bars and the table of the results', () => {
    expect(found(both().text, /<b style="width:([\d.]+)%">/g)).toEqual(['50', '62.5']);
    const table = /<table>.*?<\/table>/s.exec(both().text)![0];
    expect(found(table, /<tr>(.*?)<\/tr>/gs).map(wordsOf)).toEqual([
      'model parameters steps time test accuracy images/s',
      'without SE 24,346 3,125 1:05 50.00 % 3,456',
      'SE-CNN 24,346 3,125 1:05 62.50 % 3,456',
      'SE gain +12.5 points',
    ]);
    expect(found(table, /<span class="dot (\w+)">/g)).toEqual(['plain', 'se']);
  });

  test('says on how many images the dots and the gates are measured', () => {
    const many = '0'.repeat(2001);
    const { text: large } = report([PLAIN, SE].map((r) => ({ ...r, labels: many, predictions: many })));
    expect(wordsOf(section(both().text, 'Training'))).toContain('the last dot all 4, those before the first 4)');
    expect(wordsOf(section(large, 'Training'))).toContain(
      'the mean over 3 % of all steps. Dots: test images (the last dot all 2,001, those before the first 2,000)',
    );
    expect(wordsOf(section(both().text, 'What the gates do'))).toContain('(rows; of the first 4)');
    expect(wordsOf(section(large, 'What the gates do'))).toContain('(rows; of the first 2,000)');
  });

  test('has a heat map of each gate for each band, and a button for each class', () => {
    const gates = section(both().text, 'What the gates do');
    expect(found(gates, /<figcaption>(.*?)<\/figcaption>/g).map(wordsOf)).toEqual([
      'block 1 3 channels; the band changes a scale by up to 0.50',
      'block 2 2 channels; the band changes a scale by up to 0.13',
    ]);
    expect(
      [...gates.matchAll(/<p class="(\w+)">(\w+) band<\/p>.*?data-gate="(\d)" data-band="(\d)"/gs)].map(([, ...part]) => part),
    ).toEqual([
      ['cool', 'cool', '0', '0'],
      ['warm', 'warm', '0', '1'],
      ['cool', 'cool', '1', '0'],
      ['warm', 'warm', '1', '1'],
    ]);
    const buttons = [...gates.matchAll(/data-class="(\d*)" aria-pressed="(\w+)">(.*?)<\/button>/g)].map(([, c, on, label]) => [
      c,
      on,
      wordsOf(label!),
    ]);
    expect(buttons.slice(0, 3)).toEqual([
      ['', 'true', 'all classes'],
      ['0', 'false', 'disc'],
      ['1', 'false', 'ring'],
    ]);
    expect(buttons.length).toBe(11);
    expect(found(/<div class="rows">(.*?)<\/div>/s.exec(gates)![1]!, /<span>(.*?)<\/span>/g).slice(0, 2)).toEqual(['disc', 'ring']);
    expect(found(gates, /<div class="gates(.*?)">/g)).toEqual(['']);
    const five = Array.from({ length: 5 }, (_, i) => gateOf(`layer1.${i}.se`, [0.5], [0.5]));
    expect(found(report([{ ...SE, gates: five.slice(1) }], { se: true }).text, /<div class="gates(.*?)">/g)).toEqual(['']);
    expect(found(report([{ ...SE, gates: five }], { se: true }).text, /<div class="gates(.*?)">/g)).toEqual([' many']);
  });

  test.each([
    ['sigmoid', [0, 1]],
    ['hardsigmoid', [0, 1]],
    ['tanh', [-1, 1]],
    ['relu', null],
  ] as const)('gives the charts the curves, and the gates on the scale of %s', (gate, range) => {
    const { curves, gates } = report([PLAIN, SE], { gate }).content.data;
    expect(curves.curves.map(({ net, loss }) => [net, loss])).toEqual([
      ['plain', [2]],
      ['se', [2]],
    ]);
    expect(gates).toEqual({
      range,
      classes: chooseData(defaultSettings()).classes,
      bands: ['cool', 'warm'],
      blocks: [
        { ...GATES[0], block: 'block 1' },
        { ...GATES[1], block: 'block 2' },
      ],
    });
  });

  test('says what to look for where images have bands', () => {
    const gates = wordsOf(section(both().text, 'What the gates do'));
    expect(gates).toContain('What SE has to detect is the band, so each class has a row under each.');
    expect(gates).not.toContain('Where the rows differ');
  });

  test('a gate of no images has no channels to show', () => {
    const none: GateStatistics = { block: 'attention', means: [[null], [null]], deviations: [[null], [null]] };
    expect(wordsOf(section(report([{ ...SE, gates: [none] }], { se: true }).text, 'What the gates do'))).toContain('attention 0 channels');
  });

  test('a gate of images of one band alone has no difference between bands', () => {
    const alone: GateStatistics = { block: 'attention', means: [[null], [[1, 1]]], deviations: [[null], [[0, 0]]] };
    const { text: content } = report([{ ...SE, gates: [alone] }], { se: true });
    expect(wordsOf(section(content, 'What the gates do'))).toContain('attention 2 channels cool band');
  });
});

describe('the confusion matrix', () => {
  const matrix = (): string => section(report([PLAIN, SE]).text, 'What is taken for what').split('</figure>')[1]!;
  const rowsOf = (text: string): string[] => found(text, /<tr>(.*?)<\/tr>/gs);

  test('has shares of the true class in rows', () => {
    const rows = rowsOf(matrix());
    expect(rows.length).toBe(11);
    const cells = (row: string) =>
      [...row.matchAll(/<td class="(\w+)" style="--share:(\d+)%" title="(.*?)">(.*?)<\/td>/g)].map(([, ...cell]) => cell);
    expect(cells(rows[1]!).slice(0, 3)).toEqual([
      ['right', '33', 'disc taken for disc: 1 of 3', '33'],
      ['wrong', '67', 'disc taken for ring: 2 of 3', '67'],
      ['wrong', '0', 'disc taken for square: 0 of 3', ''],
    ]);
    expect(cells(rows[2]!).slice(0, 3)).toEqual([
      ['wrong', '0', 'ring taken for disc: 0 of 1', ''],
      ['right', '0', 'ring taken for ring: 0 of 1', ''],
      ['wrong', '100', 'ring taken for square: 1 of 1', '100'],
    ]);
    // No test image is a square.
    expect(cells(rows[3]!)[2]).toEqual(['right', '0', 'square taken for square: 0 of 0', '']);
  });

  test('names its net and the classes, and is narrow for names of one letter', () => {
    const se = matrix();
    const rows = rowsOf(se);
    expect(wordsOf(/<figcaption>.*?<\/figcaption>/.exec(se)![0])).toBe('SE-CNN');
    expect(found(se, /aria-label="(.*?)"/g)).toEqual(['Confusion matrix: SE-CNN']);
    expect(found(rows[0]!, /<th scope="col"><span>(.*?)<\/span>/g).slice(0, 2)).toEqual(['disc', 'ring']);
    expect(found(rows[2]!, /<th scope="row">(.*?)<\/th>/g)).toEqual(['ring']);
    expect(found(se, /<table class="(.*?)">/g)).toEqual(['confusion se']);
    const letters = 'abcdefghij'.split('');
    expect(report([SE], { se: true }, { classes: letters }).text).toContain('<table class="confusion se short">');
    expect(report([SE], { se: true }, { classes: [...letters.slice(1), 'ab'] }).text).not.toContain('short');
  });
});

test('each test image has its class and the answers of the nets', () => {
  const images = section(report([PLAIN, SE]).text, 'Test images');
  expect(found(images, /<h3>(.*?)<\/h3>/g).map(wordsOf)).toEqual([
    'Both are right 1 of 4',
    'Both are wrong 1 of 4',
    'Only the net without SE is right 2 of 4',
  ]);
  expect(found(images, /<figure class="card">(.*?)<\/figure>/gs).map(wordsOf)).toEqual([
    'disc ✓ disc ✓ disc',
    'disc ✗ ring ✗ ring',
    'disc ✓ disc ✗ ring',
    'ring ✓ ring ✗ square',
  ]);
  expect(found(images, /alt="(.*?)"/g)).toEqual(['test image 0: disc', 'test image 2: disc', 'test image 1: disc', 'test image 3: ring']);
  expect(found(images, /<li><span class="dot (\w+)">/g).slice(0, 2)).toEqual(['plain', 'se']);
  expect(wordsOf(/<p class="note">.*?<\/p>/s.exec(images)![0])).toBe(
    'Under each image its true class, then what each net answered: without SE SE-CNN',
  );
});

describe('the run', () => {
  const runOf = (given: Partial<Settings>): [command: string, settings: string[]] => {
    const part = section(report([PLAIN, SE], given).text, 'The run');
    return [/<pre>(.*?)<\/pre>/.exec(part)![1]!, found(part, /<div>(.*?)<\/div>/g).map((line) => line.replaceAll(/<[^>]+>/g, ' ').trim())];
  };

  test('has the command that repeats it: what has an effect, and no more', () => {
    const [command] = runOf({});
    expect(command).toBe(
      'npm start -- --model tiny --data synthetic --reduction 4 --squeeze avg --gate sigmoid --context distant --batch-size 16 --epochs 1 --lr 0.1 --seed 0 --data-seed 0',
    );
    expect(runOf({ se: true })[0]).toMatch(/^npm start -- --se --model/);
    expect(runOf({ se: false, maxSteps: 7 })[0]).toMatch(/^npm start -- --no-se --model .* --max-steps 7$/);
    expect(runOf({ model: 'resnet20' })[0]).toContain(' --placement standard ');
  });

  test('says over how many processes the nets were trained, if there were several', () => {
    const note = (ranks: number): string[] => {
      const part = section(report([PLAIN, SE].map((r) => ({ ...r, ranks }))).text, 'The run');
      return found(part, /<p class="note">(.*?)<\/p>/g);
    };
    expect([note(1), note(2)]).toEqual([[], ['trained over 2 ranks']]);
  });

  test('lists all settings', () => {
    const [, settings] = runOf({ se: false });
    expect(settings.length).toBe(Object.keys(defaultSettings()).length);
    expect(settings).toEqual(expect.arrayContaining(['se  false', 'batchSize  16', 'maxSteps  –', 'dataDir  –']));
  });
});

describe('the page', () => {
  const made = () => {
    const { folder, content, written } = report([PLAIN, SE]);
    return { folder, content, written, page: pageOf(content).text };
  };

  test('is written as the report of the run', () => {
    const { folder, content, written, page } = made();
    expect(writeReport(folder, content)).toBe('path/report.html');
    expect(written).toEqual([page]);
  });

  test('holds all that it shows: it loads nothing', () => {
    const { content, page } = made();
    expect(page).toMatch(/^<!doctype html>\n<html lang="en">/);
    expect(found(page, /<title>(.*?)<\/title>/g)).toEqual([content.title]);
    expect(page).toContain(`<main>${content.main.text}</main>`);
    expect(JSON.parse(found(page, /<script type="application\/json" id="data">(.*?)<\/script>/g)[0]!)).toEqual(
      JSON.parse(JSON.stringify(content.data)),
    );
    expect(page).not.toMatch(/<(script|link|img)[^>]* (src|href)="(?!data:)/);
    expect(found(page, /<style>(.*?)<\/style>/gs)[0]).toMatch(/\.uplot.*--se.*\.cards/s);
    expect([page, pageOf(content, true).text].map((p) => found(p, /<body data-live="(\w+)">/g))).toEqual([['false'], ['true']]);
  });

  test('runs under its policy: a hash for each script, in its order', () => {
    const { page } = made();
    const scripts = found(page, /<script>(.*?)<\/script>/gs);
    expect(scripts.length).toBe(4);
    const hashes = scripts.map((script) => `'sha256-${createHash('sha256').update(script).digest('base64')}'`);
    expect(pagePolicy().split('; ')).toEqual([
      "default-src 'none'",
      `script-src ${hashes.join(' ')}`,
      "style-src 'unsafe-inline'",
      'img-src data:',
      "connect-src 'self'",
      "base-uri 'none'",
      "form-action 'none'",
      "frame-ancestors 'none'",
    ]);
  });
});

describe('the headline', () => {
  const titleOf = (results: readonly Result[]): string => report(results).content.title;

  test('of both nets has the steps of the one that did fewer; of other nets the accuracy of each', () => {
    expect(titleOf([PLAIN, { ...SE, steps: 7 }])).toBe('Squeeze-and-excitation: +12.5 points after 7 of 3,125 steps');
    expect(titleOf([SE, { ...SE, title: 'other' }])).toBe('SE-CNN: 62.50 % of the test images, other: 62.50 % of the test images');
    expect(headline([{ ...SE, steps: 0 }], { defaultSteps: 1 })).toBe('SE-CNN: 62.50 % of the test images after 0 of 1 step');
  });

  test('marks what a net can reach without SE, on the task that has these bounds', () => {
    const bars = (given: Partial<Settings>): string[] => found(report([PLAIN, SE], given).text, /<i style="left:(.*?)%">/g);
    expect([bars({}), bars({ context: 'none' })]).toEqual([['80', '90', '80', '90'], []]);
    const { text: content } = report([PLAIN, SE]);
    const marks = /<div class="bar marks">.*?<\/div>/s.exec(content)![0];
    expect(found(marks, /<span style="(.*?)">/g)).toEqual(['right:20%', 'left:90%']);
    expect(found(marks, /<span class="wide">(.*?)<\/span>/g)).toEqual(['best without the context: ', ': best by adding']);
    expect(wordsOf(marks)).toBe('best without the context: 80 % 90 % : best by adding');
    expect(wordsOf(content)).toContain('80 % is the best score that ignores the context, 90 % the best that only adds the evidence');
    expect(found(content, /<div class="scroller" role="region" aria-label="(.*?)">/g)[0]).toBe('Results of the nets');
    expect(content).toContain('</table></div><p class="hint">scroll sideways for more</p></div>');
  });
});

describe('the task', () => {
  const task = (given: Partial<Settings> = {}): string => section(report([PLAIN, SE], given).text, 'The task');

  test('says what the band means, and what the net sees', () => {
    const rule = 'Under a cool band the label is the shape. A warm band at the opposite edge flips it:';
    expect(wordsOf(task())).toContain(`${rule} disc and ring, square and frame, plus and X change places.`);
    expect(wordsOf(task())).toContain('all that the last convolution sees at once: 18×18 pixels, never shape and band together');
    expect(wordsOf(task({ model: 'resnet20' }))).toContain('The last convolutions of a residual net see all of the image');
    const control = wordsOf(task({ context: 'none' }));
    expect(control).toContain('Both images show the same shape, and have the same label: this is the control');
    expect(control).not.toMatch(/dashed square|flips it|see all of the image/);
  });

  test('draws an image under each band, with the shape and the band framed', () => {
    const [cool, warm] = found(task(), /(<svg.*?<\/svg>)/gs) as [string, string];
    for (const [drawing, band, label] of [
      [cool, 'cool', 'square'],
      [warm, 'warm', 'frame'],
    ] as const) {
      expect(found(drawing, /aria-label="(.*?)"/g)).toEqual([
        `An image with a square at the left edge and a ${band} band at the right one; its label is ${label}.`,
      ]);
      expect(found(drawing, /viewBox="(.*?)"/g)).toEqual(['0 0 256 286']);
      expect(
        [...drawing.matchAll(/<text x="(\d+)" .*?text-anchor="(\w+)" class="(.*?)">(.*?)<\/text>/g)].map(([, ...part]) => part),
      ).toEqual([
        ['0', 'start', '', 'shape: square'],
        ['256', 'end', `name ${band}`, `${band} band`],
      ]);
      expect(drawing).toMatch(/<image href="data:image\/png;base64,[^"]+" y="30" width="256" height="256"\/>/);
      expect(found(drawing, /<rect class="(.*?)"/g)).toEqual(['field', 'mark', `mark ${band}`]);
      expect(drawing).toMatch(new RegExp(`<rect class="mark ${band}" x="176" y="30" width="80" height="256"`));
      expect(found(drawing, /<rect class="(?:field|mark)" [^>]*height="(\d+)"/g)).toEqual(['144', '72']);
    }
    expect(found(task(), /<figcaption>(.*?)<\/figcaption>/g)).toEqual(['label: <b>square</b>', 'label: <b>frame</b>, flipped']);
    expect(found(task({ context: 'none' }), /<rect class="(.*?)"/g)).toEqual(['mark', 'mark cool', 'mark', 'mark warm']);
  });
});

describe('HTML', () => {
  test('escapes values that are text, and joins those that are HTML', () => {
    expect(html`<a title="${'"<&>"'}">${3}${null}${[html`<b>`, html`</b>`]}</a>`.text).toBe(
      '<a title="&quot;&lt;&amp;&gt;&quot;">3<b>\n</b></a>',
    );
  });

  test('JSON in a script cannot end it', () => {
    const value = { a: '</script><script>' };
    const { text: json } = embeddedJson(value);
    expect(json).not.toContain('<');
    expect(JSON.parse(json)).toEqual(value);
  });
});

describe('drawings', () => {
  const numbers = (value: string): number[] => found(value, /(-?[\d.]+)/g).map(Number);

  test('an arrow has its head at the last point, in the direction of the last piece', () => {
    const heads = (
      [
        [0, 20],
        [0, -20],
        [20, 0],
        [-20, 0],
      ] as const
    ).map(([x, y]) => numbers(/class="head" d="(.*?)"/.exec(arrow([5, 5], [5 + x, 5 + y]).text)![1]!));
    expect(heads).toEqual([
      [5, 25, 9, 18, 1, 18],
      [5, -15, 1, -8, 9, -8],
      [25, 5, 18, 9, 18, 1],
      [-15, 5, -8, 1, -8, 9],
    ]);
    expect(arrow([1, 2], [3, 2], [3, 4]).text).toContain('<path class="line" d="M1 2L3 2L3 4"/>');
  });

  test('a box has its label in the middle; a drawing says what it shows, and is no wider than its units', () => {
    const kinds = [
      box({ x: 10, y: 20, width: 30, height: 40 }, 'a & b').text,
      text(1, 2, 'c').text,
      text(1, 2, 'c', { anchor: 'end', kind: 'muted' }).text,
    ];
    expect(kinds).toEqual([
      '<g class="layer"><rect x="10" y="20" width="30" height="40" rx="6"/><text x="25" y="40" dy="0.35em" text-anchor="middle" class="">a &amp; b</text></g>',
      '<text x="1" y="2" dy="0.35em" text-anchor="middle" class="">c</text>',
      '<text x="1" y="2" dy="0.35em" text-anchor="end" class="muted">c</text>',
    ]);
    expect(svg(3, 4, 'title', [text(1, 2, 'c')]).text).toMatch(
      /viewBox="0 0 3 4" style="max-width:3px" role="img" aria-label="title"><text/,
    );
  });

  const SETTINGS: readonly (readonly [name: string, given: Partial<Settings>])[] = [
    ['tiny', {}],
    ['tiny without SE', { se: false }],
    ...(['standard', 'pre', 'post', 'identity', 'conv3x3'] as const).map(
      (placement) => [placement, { model: 'resnet20', placement } as const] as const,
    ),
  ];

  /** The boxes and notes of a drawing, each with its class. */
  const labels = (given: Partial<Settings>, drawing: number): string[] => {
    const settings = { ...defaultSettings(), ...given };
    const [text = ''] = found(netSection(settings, chooseData(settings)).text, /(<svg.*?<\/svg>)/gs).slice(drawing);
    return [...text.matchAll(/<g class="(\w+)"><rect.*?<text.*?>(.*?)<\/text>|<text [^>]*anchor="(\w+)" class="(\w*)">(.*?)<\/text>/g)].map(
      ([, kind, label, anchor, muted, note]) => (kind === undefined ? `${anchor} ${muted}: ${note}` : `${kind}: ${label}`),
    );
  };

  test('show the layers of the tiny net, and its SE block', () => {
    const stage = (channels: number, size: number): string[] => [
      'layer: 3×3 conv, batch norm, ReLU',
      `end muted: ${channels} × ${size}×${size}`,
    ];
    const layers = (se: (widths: string) => string[]): string[] => [
      'data: image',
      'end muted: 3 × 32×32',
      ...stage(16, 32),
      ...se('16 → 4 → 16'),
      'start muted: 2×2 max pool',
      ...stage(32, 16),
      ...se('32 → 8 → 32'),
      'start muted: 2×2 max pool',
      ...stage(64, 8),
      ...se('64 → 16 → 64'),
      'start muted: mean of each channel',
      'layer: linear  64 → 10',
      'end muted: 10 classes',
    ];
    expect(labels({}, 0)).toEqual(layers((widths) => [`attention: SE  ${widths}`]));
    expect(labels({ se: false }, 0)).toEqual(layers(() => []));
    expect(labels({ squeeze: 'avg+max', gate: 'relu' }, 1)).toEqual([
      'data: x   C × H×W',
      'attention: mean + maximum over H×W',
      'start muted: z: C numbers',
      'attention: linear  C → C/4, ReLU',
      'attention: linear  C/4 → C, relu',
      'start muted: s: C scales',
      'middle : ×',
      'end muted: x itself',
      'data: y = x · s   C × H×W',
      'start muted: C → C/r → C: 16 → 4 → 16, 32 → 8 → 32, 64 → 16 → 64',
    ]);
  });

  test.each([
    ['standard', ['', '', '']],
    ['pre', ['', '16, ', '32, ']],
  ] as const)('show the stages of a residual net with SE at %s', (placement, first) => {
    const stages = ([16, 32, 64] as const).flatMap((channels, stage) => [
      'layer: 9 residual blocks',
      `end muted: ${channels} × ${32 / 2 ** stage}×${32 / 2 ** stage}`,
      'attention: each with SE, r = 4',
      `end muted: SE: ${first[stage]}${channels} channels`,
    ]);
    const start = ['data: image', 'end muted: 3 × 32×32', 'layer: 3×3 conv, batch norm, ReLU', 'end muted: 16 × 32×32'];
    const end = ['start muted: mean of each channel', 'layer: linear  64 → 10', 'end muted: 10 classes'];
    expect(labels({ model: 'resnet56', placement }, 0)).toEqual([...start, ...stages, ...end]);
  });

  test('show the residual block', () => {
    expect(labels({ model: 'resnet20', placement: 'identity' }, 1)).toEqual([
      'data: x',
      'layer: 3×3 conv, batch norm, ReLU',
      'layer: 3×3 conv, batch norm',
      'middle : +',
      'end muted: shortcut',
      'attention: SE',
      'layer: ReLU',
      'data: y',
    ]);
    expect(labels({ model: 'resnet20' }, 1).slice(2, 4)).toEqual(['layer: 3×3 conv, batch norm', 'attention: SE']);
    expect(labels({ model: 'resnet20', se: false }, 1)).not.toContain('attention: SE');
  });

  test('say in words what they show, under a heading for one net or two', () => {
    const wordsAbout = (given: Partial<Settings>): string[] => {
      const settings = { ...defaultSettings(), ...given };
      const content = netSection(settings, chooseData(settings)).text;
      return [
        ...found(content, /<h2>(.*?)<\/h2>/g),
        ...found(content, /aria-label="(.*?)"/g),
        ...found(content, /<figcaption>(.*?)<\/figcaption>/g),
      ];
    };
    const channels = 'The layers from the image to the classes, 16, 32, 64 channels,';
    const block = 'A residual block of two 3×3 convolutions and a shortcut,';
    const squeeze =
      'Squeeze-and-excitation: the mean over H×W of each channel, two linear layers and a sigmoid give one scale for each channel.';
    expect(wordsAbout({ model: 'resnet20' })).toEqual([
      'The nets',
      `${channels} with SE, reduction 4.`,
      `${block} with SE in the placement standard.`,
      squeeze,
      'SE-ResNet-20',
      'A residual block',
      'An SE block',
    ]);
    expect(wordsAbout({ model: 'resnet20', se: false })).toEqual([
      'The net',
      `${channels} without SE.`,
      `${block} without SE.`,
      'The net without SE',
      'A residual block',
    ]);
    expect(wordsAbout({ se: true }).slice(0, 2)).toEqual(['The net', `${channels} with SE, reduction 4.`]);
    const note =
      'The net without SE is the same without the blue blocks. Both start from the same weights in all other layers, and get the same batches.';
    const both = { ...defaultSettings(), se: null };
    expect(wordsOf(netSection(both, chooseData(both)).text)).toContain(note);
    expect(wordsOf(netSection({ ...both, se: true }, chooseData(both)).text)).not.toContain(note.slice(0, 30));
  });

  test.each(SETTINGS)('the boxes of %s follow one another, an arrow leads from each to the next, and all lie inside', (_, given) => {
    const settings = { ...defaultSettings(), ...given };
    const drawings = found(netSection(settings, chooseData(settings)).text, /(<svg.*?<\/svg>)/gs);
    expect(drawings.length).toBe(1 + Number(settings.model !== 'tiny') + Number(settings.se !== false));
    for (const drawing of drawings) {
      const [, , width, height] = numbers(/viewBox="(.*?)"/.exec(drawing)![1]!) as [number, number, number, number];
      const boxes = [...drawing.matchAll(/<rect x="(\S+)" y="(\S+)" width="(\S+)" height="(\S+)"/g)].map(([, ...values]) =>
        values.map(Number),
      );
      const circles = [...drawing.matchAll(/<circle class="node" cx="(\S+)" cy="(\S+)" r="(\S+)"/g)].map(([, x, y, r]) => [
        +x! - +r!,
        +y! - +r!,
        2 * +r!,
        2 * +r!,
      ]);
      const column = [...boxes, ...circles].filter(([x, , w]) => x! < 212 / 2 && x! + w! > 212 / 2).toSorted((a, b) => a[1]! - b[1]!);
      const lines = found(drawing, /class="line" d="(.*?)"/g).map(numbers);
      const down = new Set(lines.filter((line) => line.length === 4).map(([x0, y0, x1, y1]) => `${x0} ${y0} ${x1} ${y1}`));
      for (const [i, [, y, , h]] of column.slice(0, -1).entries()) {
        const next = column[i + 1]![1]!;
        const isJoined = next === y! + h! || down.has(`106 ${y! + h!} 106 ${next}`);
        expect(isJoined).toBe(true);
        if (next !== y! + h!) expect(next - y! - h!).toBeGreaterThan(14);
      }
      // A note stands beside its arrow, which is longer for it.
      const texts = [...drawing.matchAll(/<text x="(\S+)" y="(\S+)" dy="0.35em" text-anchor="start" class="muted">(.*?)<\/text>/g)];
      const notes = texts.filter(([, , , label]) => !label!.startsWith('C → C/r'));
      for (const [, x, y, note] of notes) {
        const beside = lines.find(([x0, y0, x1, y1]) => x0 === x1 && y0! < +y! && +y! < y1!);
        expect([note, +x! > 106, beside![3]! - beside![1]!]).toEqual([note, true, 26]);
      }
      const straight = lines.filter((line) => line.length === 4).map((line) => line[3]! - line[1]!);
      expect(straight.filter((length) => length === 18)).toHaveLength(straight.length - notes.length);
      // A path around: out of the side of the first box, into the side of the circle.
      for (const line of lines.filter((points) => points.length > 4)) {
        const [circle] = circles as [number[]];
        const middle = circle[1]! + circle[3]! / 2;
        const first = column[0]!;
        expect(line).toEqual([212, first[1]! + first[3]! / 2, line[2], line[1], line[2], middle, circle[0]! + circle[2]!, middle]);
        expect(line[2]).toBeGreaterThan(212);
        // Its note, and SE on it, stand between its ends; the note at its left.
        const [, x, y] = /<text x="(\S+)" y="(\S+)" dy="0.35em" text-anchor="end" class="muted">(?:shortcut|x itself)/.exec(drawing)!;
        expect(+x! > 212 && +x! < line[2]! && +y! > line[1]! && +y! < middle).toBe(true);
        for (const [left, top, w, h] of boxes.filter(([left]) => left! > 212)) {
          expect(left! + w! / 2).toBe(line[2]);
          expect(top! + h! / 2).toBe((line[1]! + middle) / 2);
          expect(+y! < top!).toBe(true);
        }
      }
      const edges = [...boxes, ...circles].flatMap(([x, y, w, h]) => [x! >= 0, x! + w! <= width, y! >= 0, y! + h! <= height]);
      expect(edges.every(Boolean)).toBe(true);
      for (const [, x, y] of drawing.matchAll(/<text x="(\S+)" y="(\S+)"/g))
        expect(+x! >= 0 && +x! <= width && +y! > 0 && +y! < height).toBe(true);
      expect(height - column.at(-1)![1]! - column.at(-1)![3]!).toBeLessThan(30);
    }
  });
});
