/**
 * What each panel of the page provides.
 */
import type { LinkState } from './link.ts';

export interface Panel {
  /** Its name in the address. */
  readonly id: string;
  /** The text of its tab. */
  readonly title: string;
  /** Says in one sentence what the panel shows. */
  readonly about: string;
  /** Builds the panel in `host`, once, when it is first shown. */
  mount(host: HTMLElement, context: PanelContext): MountedPanel;
}

/** What the page provides to a panel. */
export interface PanelContext {
  /** The panel's part of the address when it is mounted. */
  readonly state: LinkState;
  /** Replaces the panel's part of the address. */
  readonly writeState: (state: LinkState) => void;
}

export interface MountedPanel {
  /** Called when the address was changed from outside: by hand, or by going back. */
  applyState(state: LinkState): void;
  /** Called when another panel is shown, and when this one is shown again. */
  setVisible?(visible: boolean): void;
}
