// Small comforts of the dashboard. Everything works without them.
"use strict";
(() => {
  // Times in the reader's own zone; the exact moment in UTC stays in the title.
  const format = new Intl.DateTimeFormat(document.documentElement.lang, { dateStyle: "medium", timeStyle: "short" });
  for (const time of document.querySelectorAll("time[data-local]")) time.textContent = format.format(new Date(time.dateTime));

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

  // Take a user that the search found.
  document.addEventListener("click", (event) => {
    const pick = event.target instanceof Element ? event.target.closest("[data-pick]") : null;
    if (!pick) return;
    const input = document.getElementById(pick.dataset.pick);
    input.value = pick.dataset.value;
    pick.closest("[role=status]").replaceChildren();
    input.focus();
  });
})();
