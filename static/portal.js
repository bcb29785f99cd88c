// Small comforts of the install page. Everything works without them.
"use strict";
(() => {
  const closest = (event, selector) => (event.target instanceof Element ? event.target.closest(selector) : null);

  // Show and hide what was typed into a secret's field.
  const reveal = (button) => {
    const input = document.getElementById(button.dataset.reveal);
    const shown = input.type === "password";
    input.type = shown ? "text" : "password";
    button.querySelector("[data-word]").textContent = shown ? "Hide" : "Show";
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

  // Tell once of the first sign of a person: typing, or a trusted movement outside of an automated browser.
  const form = document.getElementById("install");
  if (!form) return;
  const signs = ["input", "pointermove", "pointerdown", "keydown", "touchstart", "wheel"];
  const tell = (event) => {
    if (!event.isTrusted || document.visibilityState !== "visible") return;
    if (event.type !== "input" && navigator.webdriver) return;
    for (const sign of signs) removeEventListener(sign, tell, true);
    const facts = new URLSearchParams();
    for (const name of ["integrationId", "token"]) facts.set(name, form.elements[name].value);
    facts.set("action", "seen");
    fetch(form.getAttribute("action"), { method: "POST", body: facts, credentials: "omit", keepalive: true }).catch(() => {});
  };
  for (const sign of signs) addEventListener(sign, tell, { capture: true, passive: true });
})();
