"""What the install page's template is given, and how it is rendered: whole, or as the fragment that changed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from urllib.parse import quote, urlsplit

import sqlalchemy as sa
from flask import current_app, g, make_response, render_template, request
from flask.typing import ResponseReturnValue
from htmx_flask import request as htmx
from jinja2_fragments.flask import render_block
from sqlalchemy.orm import joinedload

from portal.catalogue import App
from portal.db import transaction
from portal.install.sections import Section
from portal.installations.models import Installation, InstallationCredential
from portal.links.models import Link
from portal.links.rules import link_url
from portal.refusals import Refusal
from portal.workflows.rules import workflows_to_install

TEMPLATE = "install/page.html"
# What the last press on Finish had found is out of date once a section has changed.
_NO_SUMMARY = '\n<div id="summary" hx-swap-oob="true"></div>'


@dataclass(frozen=True)
class Done:
    """What the success view tells: whose accounts are connected and what runs now."""

    accounts: list[tuple[App, str]]


@dataclass(frozen=True)
class PageView:
    """Everything that the page shows of one link."""

    link: Link
    sections: Sequence[Section]
    workflows: Sequence[tuple[str, str]]  # name, description
    press: str
    hidden: dict[str, str]
    apps: list[App]
    focus: str = ""  # the app whose section was just acted on
    is_passing_on: bool = False
    done: Done | None = None
    errors: list[tuple[str, str]] = field(default_factory=list)

    @property
    def app_titles(self) -> str:
        """The apps in one phrase: `Magento`, `Magento and Slack`."""
        titles = [app.title for app in self.apps]
        return titles[0] if len(titles) == 1 else f"{', '.join(titles[:-1])} and {titles[-1]}"

    @property
    def title(self) -> str:
        """The page's heading, and the start of its title."""
        if self.done:
            return f"{self.app_titles} {'is' if len(self.apps) == 1 else 'are'} connected"
        return f"Connect {self.app_titles}"

    @property
    def user_name(self) -> str:
        """For whom the link is."""
        return user_name(self.link.user.full_name, self.link.user.username)

    @property
    def redirect_host(self) -> str:
        """Where the button of the success view leads."""
        return urlsplit(self.link.redirect_url or "").hostname or ""

    @property
    def first_wrong(self) -> str:
        """The id of the element that gets the focus."""
        return self.errors[0][0] if self.errors else ""

    @property
    def own_url(self) -> str:
        """The link itself, to hand on."""
        base: str = current_app.config["PORTAL_SETTINGS"].base_url
        return link_url(base, self.link, self.hidden["token"])

    @property
    def mail_url(self) -> str:
        """A prepared mail that hands the page on."""
        vendor = current_app.config["PORTAL_SETTINGS"].vendor_name
        subject = f"Please connect {self.app_titles} for {vendor}"
        body = (
            f"Hello,\n\n{vendor} asks us to connect {self.app_titles}. You have the access that is needed, I don’t. "
            f"Please open this page and follow it:\n\n{self.own_url}\n\n"
            f"The link works until {moment(self.link.expires_at)}, and once.\n"
        )
        return f"mailto:?subject={quote(subject)}&body={quote(body)}"


def user_name(full_name: str | None, username: str) -> str:
    """How the page calls a user."""
    return f"{full_name} ({username})" if full_name else username


def moment(at: datetime) -> str:
    """A moment in words, in UTC."""
    return f"{at.day} {at:%B %Y}, {at:%H:%M} UTC"


def describe(
    link: Link,
    sections: Sequence[Section],
    *,
    press: str,
    focus: str = "",
    is_passing_on: bool = False,
    is_done: bool = False,
    facts: Mapping[str, str] | None = None,
) -> PageView:
    """Gather what the page shows. `facts` are the link's own parameters, by default those of the request."""
    facts = request.values if facts is None else facts
    catalogue = current_app.extensions["catalogue"]
    return PageView(
        link=link,
        sections=sections,
        workflows=_workflows(link),
        press=press,
        hidden={
            "integrationId": link.integration_id,
            "token": facts["token"],
            "forgeMode": "engaged",
            "alwaysShowCredentials": facts.get("alwaysShowCredentials", ""),
        },
        apps=[catalogue[name] for name in link.integration.apps],
        focus=focus,
        is_passing_on=is_passing_on,
        done=_done(link, sections) if is_done else None,
        errors=[error for section in sections for error in section.errors],
    )


def _workflows(link: Link) -> list[tuple[str, str]]:
    # What an integration installs changes only with its version: looked up once for each.
    known: dict[tuple[str, int, str], list[tuple[str, str]]] = current_app.extensions["install_workflows"]
    key = (link.integration_id, link.integration.version, ",".join(link.workflow_ids or ()))
    if key not in known:
        with transaction() as session:
            found = workflows_to_install(session, link.integration_id, link.workflow_ids)
        if len(known) > 1000:
            known.clear()
        known[key] = [(workflow.name, workflow.description) for workflow in found]
    return known[key]


def _done(link: Link, sections: Sequence[Section]) -> Done:
    if sections and all(section.credential for section in sections):
        return Done([(s.app, s.credential.account) for s in sections if s.credential])
    catalogue = current_app.extensions["catalogue"]
    with transaction() as session:
        rows = session.scalars(
            sa.select(InstallationCredential)
            .join(Installation)
            .where(Installation.link_id == link.id)
            .options(joinedload(InstallationCredential.credential))
        ).all()
    accounts = {row.app: row.credential.account for row in rows}
    return Done([(catalogue[app], accounts[app]) for app in link.integration.apps if app in accounts])


def show(
    view: PageView, *, block: str = "content", section: Section | None = None, status: int = 200
) -> ResponseReturnValue:
    """The page with `status`; for htmx only the `block`, or only the one `section`, that changed."""
    if not htmx.htmx:
        body = render_template(TEMPLATE, page=view)
    elif section is not None:
        body = _with_title(view, render_block(TEMPLATE, "section", page=view, section=section) + _NO_SUMMARY)
    else:
        body = _with_title(view, render_block(TEMPLATE, block, page=view))
    response = make_response(body, status)
    if retry_after := g.get("retry_after"):
        response.headers["Retry-After"] = str(retry_after)
    return response


def _with_title(view: PageView, fragment: str) -> str:
    # htmx takes the title out of a fragment and gives it to the document.
    return f"<title>{render_block(TEMPLATE, 'title', page=view)}</title>\n{fragment}"


def show_refusal(refusal: Refusal) -> ResponseReturnValue:
    """The page that says what happened and what to do; the same status with and without htmx."""
    name = "install/refused.html"
    body = render_block(name, "content", refusal=refusal) if htmx.htmx else render_template(name, refusal=refusal)
    response = make_response(body, refusal.status)
    if htmx.htmx:
        response.headers["HX-Retarget"] = "#content"
        response.headers["HX-Reswap"] = "outerHTML"
    return response
