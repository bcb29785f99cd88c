/** What `embed.js` adds to the page: `window.Portal`. */
export interface PortalOptions {
  /** An install link, or `/forge-install?…` or `/authenticate-app?…` with a user token. */
  url: string;
  /** Where to show it: an element or its selector. Without it, in a window over the page. */
  target?: string | Element;
  /** The name that screen readers say. Default: “Connect your app”. */
  title?: string;
  /** The page is there. */
  onReady?: () => void;
  /** The installation is finished, or the app is connected. */
  onFinished?: (result: { workflowIds: string[]; credentialId: string | null }) => void;
  /** The person closed it, or `close()` was called. */
  onClosed?: (result: { finished: boolean }) => void;
  /** The link was refused, or the page can’t be shown here (it then opens in a tab of its own). */
  onError?: (problem: { type: "refused" | "blocked"; message: string }) => void;
}

export interface PortalHandle {
  /** Close it from your side. */
  close(): void;
  /** The frame, to style it. */
  readonly frame: HTMLIFrameElement;
}

declare global {
  interface Window {
    Portal: { open(options: PortalOptions): PortalHandle };
  }
  const Portal: Window["Portal"];
}
