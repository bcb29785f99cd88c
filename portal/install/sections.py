"""The sections of the install page, one for each app: what is asked, what is connected, what went wrong."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Literal

from werkzeug.datastructures import MultiDict

from portal.catalogue import App, Catalogue
from portal.credentials.models import Credential
from portal.install.forms import CredentialForm, form_for
from portal.links.models import Link

# A credential that passed its test this recently isn't tested again.
FRESH = timedelta(minutes=10)

Mode = Literal["ask", "offer", "connected"]


@dataclass
class Section:
    """One app's part of the page.

    `ask` shows the form, `offer` the user's credentials beside it, `connected` the account that will be used.
    """

    app: App
    form: CredentialForm
    mode: Mode = "ask"
    credential: Credential | None = None  # what is connected: a draft or one of the user's own
    offered: list[Credential] = field(default_factory=list)
    chosen: str = ""  # what was picked of the offered: a credential's id, or "new"
    error: str = ""  # a problem of the whole section

    @property
    def is_connected(self) -> bool:
        """Whether nothing more is needed for this app."""
        return self.mode == "connected"

    @property
    def errors(self) -> list[tuple[str, str]]:
        """Every problem as (id of the element it belongs to, sentence), in the order of the page."""
        found = [(f"app-{self.app.name}", self.error)] if self.error else []
        return found + [(f.id, f.errors[0]) for f in self.form if f.errors]

    @property
    def has_test(self) -> bool:
        """Whether the provider can be asked if a credential holds."""
        return self.app.test is not None

    def connect(self, credential: Credential) -> None:
        """Show `credential` as the one that will be used."""
        self.mode, self.credential, self.error = "connected", credential, ""

    def fail(self, message: str, field_name: str | None) -> None:
        """Show the sentence at its field, or at the section."""
        if field_name is not None and self.mode != "connected":
            at = getattr(self.form, field_name)
            at.errors = [*at.errors, message]
        else:
            self.error = message
        if self.mode == "connected":
            self.mode = "offer" if self.offered else "ask"


def lay_out(
    link: Link,
    catalogue: Catalogue,
    at_hand: list[Credential],
    *,
    always_show: bool,
    posted: MultiDict[str, str] | None = None,
) -> list[Section]:
    """The sections as they stand before anything is tested, in the order of the integration's apps."""
    sections = []
    for name in link.apps:
        app = catalogue[name]
        section = Section(
            app,
            form_for(app, posted, (link.prefilled or {}).get(name)),
            chosen=posted.get(f"{name}-use", "") if posted else "",
        )
        draft = next((c for c in at_hand if c.app == name and c.link_id == link.id), None)
        section.offered = [c for c in at_hand if c.app == name and c.link_id is None]
        if draft is not None:
            section.connect(draft)
        elif section.offered:
            section.mode = "offer"
            known = [c for c in section.offered if c.id in link.how.credential_ids] or section.offered
            if not always_show and len(known) == 1 and section.chosen != "new":
                section.connect(known[0])
        sections.append(section)
    return sections


def is_fresh(credential: Credential, now: datetime) -> bool:
    """Whether its last passed test is recent enough to count."""
    return credential.tested_at > now - FRESH
