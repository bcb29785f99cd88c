// Small comforts of the dashboard. Everything works without them.
"use strict";
(() => {
  // Times in the reader’s own zone and manner; the exact moment in UTC stays in the title.
  const format = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "short" });
  const localise = () => {
    for (const time of document.querySelectorAll("time[data-local]")) time.textContent = format.format(new Date(time.dateTime));
  };
  localise();
  document.addEventListener("htmx:after:swap", localise);

  // Moments go over the wire in UTC, and are typed in the reader's own zone.
  for (const input of document.querySelectorAll("input[type=datetime-local]")) {
    const given = input.value === input.defaultValue && Date.parse(`${input.value}Z`);
    if (given) input.value = new Date(given - new Date(given).getTimezoneOffset() * 60_000).toISOString().slice(0, 16);
    input.labels[0].querySelector("[data-zone]").textContent = "(your time)";
    input.form.addEventListener("formdata", ({ formData }) => {
      if (input.value) formData.set(input.name, new Date(input.value).toISOString().slice(0, 16));
    });
  }

  // A button that is pressed twice does its work once: what was sent is under way until the next page is there.
  let sent = new WeakMap();
  document.addEventListener("submit", (event) => {
    if (event.defaultPrevented || event.target.method !== "post") return;
    if (event.timeStamp - (sent.get(event.target) ?? -Infinity) < 5000) event.preventDefault();
    else sent.set(event.target, event.timeStamp);
  });
  addEventListener("pageshow", () => (sent = new WeakMap()));

  // What is to be copied is selected when the page opens.
  document.querySelector("[data-select]")?.select();

  // Passkeys: ask the server for options, the device for its answer, and send that with the form.
  for (const form of document.querySelectorAll("form[data-passkey]")) {
    form.addEventListener("submit", async (event) => {
      if (form.elements.credential.value) return;
      event.preventDefault();
      const said = form.querySelector("[data-said]");
      try {
        const body = new URLSearchParams({ csrf: form.elements.csrf?.value ?? "" });
        const answer = await fetch(form.dataset.options, { method: "POST", body });
        if (answer.headers.get("X-Prove-At")) return location.assign(answer.headers.get("X-Prove-At"));
        if (!answer.ok) throw new Error((await answer.text()).match(/role="alert"><p>([^<]+)/)?.[1] ?? "The portal didn’t answer.");
        const options = await answer.json();
        const isNew = form.dataset.passkey === "create";
        const publicKey = isNew
          ? PublicKeyCredential.parseCreationOptionsFromJSON(options)
          : PublicKeyCredential.parseRequestOptionsFromJSON(options);
        const made = await (isNew ? navigator.credentials.create({ publicKey }) : navigator.credentials.get({ publicKey }));
        form.elements.credential.value = JSON.stringify(made.toJSON());
        form.submit();
      } catch (problem) {
        said.textContent = problem.name === "NotAllowedError" ? "It was cancelled, or took too long. Try again." : problem.message;
      }
    });
  }

  // Users that are found while a name is typed: walked through with the arrows, taken with Enter or a click.
  const box = document.querySelector("[role=combobox]");
  if (!box) return;
  const found = document.getElementById("found");
  const options = () => [...found.querySelectorAll("[role=option]")];
  const walk = (option) => {
    for (const one of options()) one.setAttribute("aria-selected", String(one === option));
    if (option) box.setAttribute("aria-activedescendant", option.id);
    else box.removeAttribute("aria-activedescendant");
    option?.scrollIntoView({ block: "nearest" });
  };
  const close = () => {
    found.replaceChildren();
    box.setAttribute("aria-expanded", "false");
    walk(null);
  };
  const take = (option) => {
    box.value = option.dataset.value;
    close();
    box.focus();
  };
  document.addEventListener("htmx:after:swap", () => {
    walk(null);
    box.setAttribute("aria-expanded", String(options().length > 0));
    const said = found.querySelector("[data-said]");
    document.getElementById("found-said").textContent = said?.dataset.said || said?.textContent || "";
  });
  found.addEventListener("click", (event) => {
    const option = event.target.closest("[role=option]");
    if (option) take(option);
  });
  box.addEventListener("keydown", (event) => {
    const all = options();
    if (!all.length) return;
    const at = all.findIndex((one) => one.getAttribute("aria-selected") === "true");
    const to = { ArrowDown: (at + 1) % all.length, ArrowUp: at > 0 ? at - 1 : all.length - 1 }[event.key];
    if (to !== undefined) walk(all[to]);
    else if (event.key === "Enter" && at >= 0) take(all[at]);
    else if (event.key === "Escape") close();
    else return;
    event.preventDefault();
  });
})();
