// Small comforts of the dashboard. Everything works without them.
"use strict";
(() => {
  // Times in the reader's own zone; the exact moment in UTC stays in the title.
  const format = new Intl.DateTimeFormat(document.documentElement.lang, { dateStyle: "medium", timeStyle: "short" });
  for (const time of document.querySelectorAll("time[data-local]")) time.textContent = format.format(new Date(time.dateTime));

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
