// Small comforts of the install page. Everything works without them.
"use strict";
(() => {
  const closest = (event, selector) => (event.target instanceof Element ? event.target.closest(selector) : null);

  // Show and hide what was typed into a secret's field.
  const reveal = (button) => {
    const input = document.getElementById(button.dataset.reveal);
    const shown = input.type === "password";
    input.type = shown ? "text" : "password";
    const word = button.querySelector("[data-word]");
    [word.textContent, word.dataset.other] = [word.dataset.other, word.textContent];
    button.setAttribute("aria-pressed", String(shown));
  };

  // Copy a field's value; where the clipboard is closed to us, leave it selected.
  const copy = async (button) => {
    const input = document.getElementById(button.dataset.copy);
    input.select();
    try {
      await navigator.clipboard.writeText(input.value);
      button.textContent = button.dataset.copied;
    } catch {
      document.execCommand("copy");
    }
  };

  document.addEventListener("click", (event) => {
    const revealer = closest(event, "[data-reveal]");
    const copier = closest(event, "[data-copy]");
    if (revealer) reveal(revealer);
    if (copier) copy(copier);
  });

  // An answer that never comes, or is no page of ours, must not leave the person waiting.
  document.addEventListener("htmx:error", () => {
    for (const form of document.querySelectorAll("form[hx-post]")) form.dataset.offline = "";
  });

  // What the page that embeds this one is told. The origin is pinned: to the one that embeds us, when it may.
  const framed = window.parent !== window;
  const embedder = () => {
    if (location.ancestorOrigins?.length) return location.ancestorOrigins[0];
    try {
      return new URL(document.referrer).origin;
    } catch {
      return "";
    }
  };
  const first = embedder(); // later pages of this frame have us as their referrer
  const allows = (rule, origin) => {
    const [, scheme, wild, host] = /^(?:(https?):\/\/)?(\*\.)?(.+)$/.exec(rule.replace(/\/$/, "")) ?? [];
    const url = new URL(origin);
    if (!host || (scheme ? `${scheme}:` !== url.protocol : url.protocol !== "https:")) return false;
    return wild ? url.host.endsWith(`.${host}`) : url.host === host;
  };
  const targets = () => {
    const rules = document.body.dataset.embedders.split(" ").map((rule) => (rule === "'self'" ? location.origin : rule));
    const known = first && first !== "null" && (first !== location.origin || location.ancestorOrigins);
    if (rules.includes("*")) return [known ? first : "*"];
    if (known) return rules.some((rule) => allows(rule, first)) ? [first] : [];
    return rules.filter((rule) => /^https?:\/\/[^*]+$/.test(rule));
  };
  const tell = (message) => {
    if (framed) for (const target of targets()) window.parent.postMessage(message, target);
  };

  // Our own script for vendors' pages (embed.js) asks for more: whether we are there, how tall, what went wrong.
  const isOurs = location.hash === "#embed";
  const report = (type, more) => isOurs && tell({ portal: { type, ...more } });
  let told = "";
  const look = () => {
    const content = document.getElementById("content");
    const close = document.getElementById("close");
    if (close) close.hidden = !(framed && (isOurs || content?.hasAttribute("data-modal")));
    const message = content?.dataset.tell;
    if (message && message !== told) tell(JSON.parse(message));
    told = message ?? told;
    if (content?.classList.contains("refused")) report("refused", { title: document.title });
    const silent = document.querySelector("form[data-silent]");
    if (silent) {
      silent.removeAttribute("data-silent");
      silent.requestSubmit(silent.querySelector(".finish"));
    }
  };
  const close = () => tell(JSON.parse(document.getElementById("content")?.dataset.closing ?? '{"closeModal":true}'));
  document.getElementById("close")?.addEventListener("click", close);
  if (framed) {
    addEventListener("keydown", (event) => {
      if (event.key === "Escape" && !event.defaultPrevented && !document.getElementById("close")?.hidden) close();
    });
    document.addEventListener("htmx:after:swap", look);
    report("ready");
    look();
    if (isOurs) {
      new ResizeObserver(() => report("height", { height: Math.ceil(document.documentElement.getBoundingClientRect().height) })).observe(document.body);
    }
  }

  // Tell once of the first sign of a person: typing, or a trusted movement outside of an automated browser.
  const form = document.getElementById("install");
  if (!form) return;
  const signs = ["input", "pointermove", "pointerdown", "keydown", "touchstart", "wheel"];
  const note = (event) => {
    if (!event.isTrusted || document.visibilityState !== "visible") return;
    if (event.type !== "input" && navigator.webdriver) return;
    for (const sign of signs) removeEventListener(sign, note, true);
    const facts = new URLSearchParams();
    for (const name of ["integrationId", "token"]) facts.set(name, form.elements[name].value);
    facts.set("action", "seen");
    fetch(form.getAttribute("action"), { method: "POST", body: facts, credentials: "omit", keepalive: true }).catch(() => {});
  };
  for (const sign of signs) addEventListener(sign, note, { capture: true, passive: true });
})();
