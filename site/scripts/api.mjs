/** Generates the pages of the API reference from the sources: one for each entry of the package, one for each class. */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Application } from 'typedoc';
import { pages, root, site } from './paths.mjs';

/** The sources of the package's entries. */
function entries() {
  const { exports } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));
  const types = Object.values(exports).flatMap((entry) => entry.types ?? []);
  return types.map((file) => join(root, file.replace('./dist/', 'src/').replace('.d.ts', '.ts')));
}

/** The page of all entries, each with the first line of its source. */
function indexPage() {
  const rows = entries().map((file) => {
    const [, name, about] = /^\/\*\*\n \* (chainrule[\w/]*): ([^]*?)\n \*[\n/]/.exec(readFileSync(file, 'utf8').replaceAll('\r\n', '\n'));
    const text = `${about[0].toUpperCase()}${about.slice(1)}`.replaceAll(/\n \* ?/g, ' ');
    return `| [${name}](${name}/index.md) | ${text} |`;
  });
  return `# API reference\n\nEvery export, with its defaults, errors and sources. Generated from the comments in the code.\n\n| Entry | What is in it |\n|---|---|\n${rows.join('\n')}\n`;
}

const OPTIONS = {
  name: 'chainrule',
  tsconfig: join(root, 'tsconfig.build.json'),
  entryPoints: entries(),
  plugin: ['typedoc-plugin-markdown', join(site, 'scripts/typedoc-methods.mjs'), join(site, 'scripts/typedoc-theme.mjs')],
  basePath: root,
  disableGit: true,
  gitRevision: 'main',
  readme: 'none',
  excludeInternal: true,
  excludePrivate: true,
  excludeExternals: true,
  excludeNotDocumented: false,
  sort: ['source-order'],
  treatWarningsAsErrors: false,
  logLevel: 'Error',
  validation: { notExported: false, invalidLink: true, rewrittenLink: false, notDocumented: false },
  outputs: [{ name: 'markdown', path: join(pages, 'api') }],
  theme: 'compact',
  groupOrder: [
    'Functions',
    'Classes',
    'Interfaces',
    'Type Aliases',
    'Variables',
    'Constructors',
    'Properties',
    'Accessors',
    'Methods',
    '*',
  ],
  // typedoc-plugin-markdown
  outputFileStrategy: 'members',
  membersWithOwnFile: ['Class'],
  entryFileName: 'index',
  // Without the type parameters, which the page lists: the sidebar, the search and the breadcrumbs show titles.
  pageTitleTemplates: { index: 'API reference', module: '{name}', member: ({ rawName }) => rawName.split('<', 1)[0] },
  hidePageHeader: true,
  hideBreadcrumbs: true,
  hideGroupHeadings: false,
  useCodeBlocks: true,
  expandObjects: false,
  sanitizeComments: true,
  expandParameters: true,
  parametersFormat: 'table',
  interfacePropertiesFormat: 'table',
  classPropertiesFormat: 'table',
  typeAliasPropertiesFormat: 'table',
  tableColumnSettings: {
    hideSources: true,
    hideModifiers: true,
    hideInherited: true,
    hideOverrides: true,
    hideDefaults: true,
    leftAlignHeaders: true,
  },
  formatWithPrettier: false,
};

/** Converts the sources. Returns TypeDoc's application and its project. */
export async function convert(source) {
  const app = await Application.bootstrapWithPlugins({
    ...OPTIONS,
    sourceLinkTemplate: `${source ?? '/source/'}src/{path}${source === null ? '.html' : ''}#L{line}`,
  });
  const project = await app.convert();
  if (project === undefined || app.logger.hasErrors()) throw new Error('the API reference cannot be generated');
  return { app, project };
}

/** Writes the pages of the API reference. */
export async function writeApi(source) {
  const { app, project } = await convert(source);
  await app.generateOutputs(project);
  if (app.logger.hasErrors()) throw new Error('the API reference cannot be written');
  writeFileSync(join(pages, 'api/index.md'), indexPage());
}
if (process.argv[2] === 'try') await writeApi(null);
