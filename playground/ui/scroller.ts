/**
 * A part that scrolls sideways where it is too wide, and then says so.
 */
import { h } from './dom.ts';

/** Wraps a part that scrolls, with a hint that shows while something is out of sight. */
export function withScrollHint(part: HTMLElement, text = 'scroll sideways for more →'): HTMLElement {
  const hint = h('p', { class: 'scroll-hint', 'aria-hidden': 'true', hidden: true }, text);
  const mark = (): void => {
    hint.hidden = part.scrollWidth <= part.clientWidth + 1;
  };
  const sizes = new ResizeObserver(mark);
  const watch = (): void => {
    sizes.disconnect();
    for (const element of [part, ...part.children]) sizes.observe(element);
  };
  new MutationObserver(watch).observe(part, { childList: true });
  watch();
  return h('div', { class: 'scroll-part' }, part, hint);
}
