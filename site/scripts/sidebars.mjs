/** The lists of pages beside each page. */
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { addressOf } from './pages.mjs';
import { pages, root } from './paths.mjs';

/** The heading of a document. */
const titleOf = (file) => /^# (.+)$/m.exec(readFileSync(join(root, file), 'utf8'))[1].replaceAll('`', '');

const linkTo = (file) =>
  `/${addressOf(file)
    .replace(/(^|\/)index\.md$/, '$1')
    .replace(/\.md$/, '')}`;

const item = (file, text = titleOf(file)) => ({ text, link: linkTo(file) });

/** The Markdown files of a folder of the repository, sorted. */
function filesIn(folder) {
  if (!existsSync(join(root, folder))) return [];
  const names = readdirSync(join(root, folder)).filter((name) => name.endsWith('.md') && name !== 'README.md');
  return names.sort().map((name) => `${folder}/${name}`);
}

const list = (...names) => names.map((name) => item(`docs/${name}.md`));

const START = ['pytorch', 'pytorch-missing', 'glossary'];
const EXTENDING = ['adding-an-op', 'style'];
const RECIPES = ['adding-an-attention-block'];
/** The other documents stand behind these. */
const INSIDE = ['architecture', 'numerics', 'testing'];

function docs() {
  const placed = [...START, ...EXTENDING, ...RECIPES, ...INSIDE].map((name) => `docs/${name}.md`);
  const others = filesIn('docs').filter((file) => !placed.includes(file));
  return [
    {
      text: 'Start',
      items: [
        item('docs/README.md', 'All documents'),
        item('README.md', 'Overview'),
        ...list(...START),
        item('examples/cifar-like/README.md', 'The main example'),
        item('examples/mnist/README.md', '99 % of MNIST'),
      ],
    },
    {
      text: 'Recipes',
      items: [...filesIn('docs/recipes').map((file) => item(file)), ...list(...RECIPES)],
    },
    { text: 'How it works', items: [...list(...INSIDE), ...others.map((file) => item(file)), item('bench/README.md', 'Speed')] },
    { text: 'Extending it', items: [...list(...EXTENDING), item('CONTRIBUTING.md')] },
    {
      text: 'Decisions',
      collapsed: true,
      items: [item('docs/decisions/README.md', 'All decisions'), ...filesIn('docs/decisions').map((file) => item(file))],
    },
    { text: 'Project', items: [item('CHANGELOG.md'), item('SECURITY.md')] },
  ];
}

/** The chapters of the tour, where there is one. */
function tour() {
  const folder = join(root, 'docs/tour');
  if (!existsSync(join(folder, 'README.md'))) return [];
  const chapters = readdirSync(folder).filter((name) => existsSync(join(folder, name, 'README.md')));
  return [{ text: 'Tour', items: [item('docs/tour/README.md'), ...chapters.sort().map((name) => item(`docs/tour/${name}/README.md`))] }];
}

/** The pages of entries and namespaces in a folder of the API reference, in a fixed order. */
function entriesIn(folder) {
  const at = join(pages, 'api', folder);
  if (!existsSync(at)) return [];
  const inner = readdirSync(at, { withFileTypes: true }).filter((entry) => entry.isDirectory() && entry.name !== 'classes');
  const own = existsSync(join(at, 'index.md')) ? [folder] : [];
  return [...own, ...inner.sort((a, b) => orderOf(a.name) - orderOf(b.name)).flatMap(({ name }) => entriesIn(`${folder}/${name}`))];
}

const ORDER = ['namespaces', 'functional', 'nn', 'optim', 'data', 'train', 'io'];

/** Unknown entries stand behind the others, by name. */
const orderOf = (name) => (ORDER.includes(name) ? ORDER.indexOf(name) : ORDER.length + name.charCodeAt(0));

/** The entries of the package, each with its classes. */
function api() {
  const folder = join(pages, 'api');
  return entriesIn('chainrule').map((at) => {
    const classes = existsSync(join(folder, at, 'classes')) ? readdirSync(join(folder, at, 'classes')).sort() : [];
    const items = classes.map((name) => ({ text: name.slice(0, -3), link: `/api/${at}/classes/${name.slice(0, -3)}` }));
    const page = { text: at.replace('/namespaces/', ': '), link: `/api/${at}/` };
    return items.length === 0 ? page : { ...page, collapsed: true, items };
  });
}

export const sidebars = () => ({ '/docs/': docs(), '/tour/': tour(), '/api/': api(), '/': docs() });

/** Whether the tour is there. */
export const hasTour = () => tour().length > 0;
