/*! Install portal, embed.js: shows an install link, or a page opened with a user token, on your own page. Apache-2.0 */
"use strict";
(() => {
  const script = document.currentScript;
  const FOCUSABLE = "a[href], button, input, select, textarea, iframe, [tabindex]";
  const WAIT = 8000; // milliseconds for the page to say that it is there

  const style = (element, rules) => Object.assign(element.style, rules);

  class Embedded {
    constructor({ url, target, title = "Connect your app", onReady, onFinished, onClosed, onError }) {
      this.url = new URL(url, script?.src || location.href);
      this.tell = { onReady, onFinished, onClosed, onError };
      this.isReady = this.isDone = this.isClosed = false;
      this.listen = (event) => this.hear(event);
      this.isModal = !target;
      this.frame = document.createElement("iframe");
      this.frame.title = title;
      this.frame.src = `${this.url.href.split("#")[0]}#embed`;
      this.frame.allow = "clipboard-write";
      style(this.frame, { border: "0", width: "100%", display: "block", colorScheme: "normal" });
      addEventListener("message", this.listen);
      if (this.isModal) this.openModal(title);
      else {
        const place = typeof target === "string" ? document.querySelector(target) : target;
        if (!place) throw new Error(`Portal.open: there is no element ${target}`);
        style(this.frame, { height: "420px" });
        place.append(this.frame);
      }
      this.timer = setTimeout(() => this.isReady || this.openElsewhere(), WAIT);
    }

    openModal(title) {
      this.before = document.activeElement;
      this.overflow = document.documentElement.style.overflow;
      document.documentElement.style.overflow = "hidden";
      const dialog = (this.dialog = document.createElement("dialog"));
      dialog.setAttribute("aria-label", title);
      style(dialog, {
        border: "0", padding: "0", borderRadius: "16px", width: "min(42rem, 100vw - 1.5rem)", maxWidth: "none",
        maxHeight: "calc(100dvh - 1.5rem)", overflow: "hidden", background: "transparent",
      });
      style(this.frame, { height: "min(659px, calc(100dvh - 1.5rem))", borderRadius: "16px" });
      dialog.append(this.frame);
      dialog.addEventListener("cancel", (event) => {
        event.preventDefault();
        this.close();
      });
      dialog.addEventListener("click", (event) => event.target === dialog && this.close());
      document.body.append(dialog);
      dialog.showModal(); // the rest of the page is inert now, and Escape cancels
      this.frame.focus();
    }

    hear(event) {
      if (event.source !== this.frame.contentWindow || event.origin !== this.url.origin || !event.data) return;
      const { portal, workflowCreated, credentialId, closeModal } = event.data;
      if (portal?.type === "ready") {
        clearTimeout(this.timer);
        this.isReady = true;
        this.tell.onReady?.();
      } else if (portal?.type === "height") this.fit(portal.height);
      else if (portal?.type === "refused") this.tell.onError?.({ type: "refused", message: portal.title });
      else if ((workflowCreated || credentialId) && !this.isDone) {
        this.isDone = true;
        this.tell.onFinished?.({ workflowIds: event.data.workflowIds ?? [], credentialId: credentialId ?? null });
      } else if (closeModal) this.close();
    }

    fit(height) {
      this.frame.style.height = this.isModal ? `min(${height}px, calc(100dvh - 1.5rem))` : `${height}px`;
    }

    // The page may not be embedded here (a policy, a blocker), or never came.
    openElsewhere() {
      if (this.isClosed) return;
      this.tell.onError?.({ type: "blocked", message: "The page can’t be shown here; it opens in a tab of its own." });
      const tab = window.open("", "_blank");
      if (tab) {
        tab.opener = null;
        tab.location = this.url.href;
        return this.close();
      }
      const link = document.createElement("a"); // a blocked pop-up: let the person open it
      Object.assign(link, { href: this.url.href, target: "_blank", rel: "noopener", textContent: `${this.frame.title} in a new tab` });
      style(link, { display: "block", padding: "2rem", background: "Canvas", color: "LinkText", borderRadius: "16px" });
      this.frame.replaceWith(link);
      link.focus();
    }

    close() {
      if (this.isClosed) return;
      this.isClosed = true;
      clearTimeout(this.timer);
      removeEventListener("message", this.listen);
      this.frame.remove();
      if (this.dialog) {
        this.dialog.close();
        this.dialog.remove();
        document.documentElement.style.overflow = this.overflow;
        if (this.before?.isConnected && this.before.matches?.(FOCUSABLE)) this.before.focus();
      }
      this.tell.onClosed?.({ finished: this.isDone });
    }
  }

  window.Portal = {
    open(options) {
      if (!options?.url) throw new Error("Portal.open: say which `url` to open");
      const embedded = new Embedded(options);
      return { close: () => embedded.close(), frame: embedded.frame };
    },
  };
})();
