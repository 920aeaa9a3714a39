/**
 * The page: a tab for each panel, and the address that says which one is shown.
 */
import { formatLink, parseLink, quoted } from './link.ts';
import type { MountedPanel, Panel } from './panel.ts';
import { fill, h } from './ui/dom.ts';
import { later } from './ui/later.ts';

interface Tab {
  readonly panel: Panel;
  readonly button: HTMLButtonElement;
  readonly host: HTMLElement;
  /** Null until the panel is first shown. */
  mounted: MountedPanel | null;
}

/** Builds the page in `root`. */
export function startPage(root: HTMLElement, panels: readonly Panel[]): void {
  const tabs = panels.map((panel): Tab => {
    const select = (): void => {
      location.hash = formatLink({ panel: panel.id, state: {} });
    };
    const labels = { id: `tab-${panel.id}`, role: 'tab', 'aria-controls': `panel-${panel.id}` };
    return {
      panel,
      button: h('button', { type: 'button', class: 'tab', ...labels, onclick: select }, panel.title),
      host: h('section', { id: `panel-${panel.id}`, role: 'tabpanel', 'aria-labelledby': `tab-${panel.id}`, class: 'panel', hidden: true }),
      mounted: null,
    };
  });
  const list = h('div', { class: 'tabs', role: 'tablist', 'aria-label': 'Panels' }, ...tabs.map((t) => t.button));
  list.addEventListener('keydown', (event) => moveFocus(event, tabs));
  const problem = h('p', { class: 'note problems', role: 'status' });
  fill(root, header(list), problem, h('main', {}, ...tabs.map((t) => t.host)));
  const show = (): void => {
    problem.textContent = showLink(tabs);
  };
  addEventListener('hashchange', show);
  show();
}

function header(tabs: HTMLElement): HTMLElement {
  const title = h('h1', {}, 'chainrule playground');
  const about = h(
    'p',
    { class: 'about' },
    'Backpropagation, training and Squeeze-and-Excitation, computed in this page by the library itself.',
  );
  return h('header', { class: 'page-header' }, title, about, tabs);
}

/** Returns the tab of the panel that the address names; undefined if it names none. */
function namedTab(tabs: readonly Tab[]): Tab | undefined {
  const { panel } = parseLink(location.hash);
  return tabs.find((t) => t.panel.id === panel);
}

/** Shows the panel that the address names; the first one if it names none. Returns what is wrong with the name. */
function showLink(tabs: readonly Tab[]): string {
  const { panel, state } = parseLink(location.hash);
  const named = namedTab(tabs);
  const shown = named ?? tabs[0]!;
  const isUnknown = named === undefined && panel !== '';
  const ids = tabs.map((t) => t.panel.id).join(', ');
  const problem = isUnknown ? `The link names the panel ${quoted(panel)}, expected ${ids}; used ${shown.panel.id}.` : '';
  for (const tab of tabs) {
    const isShown = tab === shown;
    const wasShown = !tab.host.hidden;
    tab.host.hidden = !isShown;
    tab.button.setAttribute('aria-selected', String(isShown));
    tab.button.tabIndex = isShown ? 0 : -1;
    if (tab.mounted !== null && wasShown !== isShown) tab.mounted.setVisible?.(isShown);
  }
  if (shown.mounted !== null) {
    if (Object.keys(state).length > 0) shown.mounted.applyState(state);
    return problem;
  }
  // The tabs are drawn first.
  later(shown, () => mount(shown, tabs));
  return problem;
}

/** Builds a panel from the address, unless another one is shown by now. */
function mount(tab: Tab, tabs: readonly Tab[]): void {
  if (tab.mounted !== null || tab.host.hidden) return;
  const { state } = parseLink(location.hash);
  const body = h('div', { class: 'panel-body' });
  fill(tab.host, h('p', { class: 'lead' }, tab.panel.about), body);
  tab.mounted = tab.panel.mount(body, { state, writeState: (s) => writeLink(tab, tabs, s) });
}

/**
 * Replaces the address without an entry in the history and without an event. Does nothing once the address names another panel: the event that
 * shows it may be about to come.
 */
function writeLink(tab: Tab, tabs: readonly Tab[], state: Readonly<Record<string, string>>): void {
  const shown = namedTab(tabs) ?? tabs[0];
  if (shown === tab) history.replaceState(null, '', formatLink({ panel: tab.panel.id, state }));
}

/** Moves between the tabs with the arrow keys, Home and End. */
function moveFocus(event: KeyboardEvent, tabs: readonly Tab[]): void {
  const at = tabs.findIndex((t) => t.button === document.activeElement);
  const last = tabs.length - 1;
  const targets: Readonly<Record<string, number>> = {
    ArrowRight: at === last ? 0 : at + 1,
    ArrowLeft: at === 0 ? last : at - 1,
    Home: 0,
    End: last,
  };
  const target = targets[event.key];
  if (at < 0 || target === undefined) return;
  event.preventDefault();
  tabs[target]!.button.focus();
  tabs[target]!.button.click();
}
