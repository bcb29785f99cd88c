"""What the install page's template is given, and how it is rendered: whole, or as the fragment that changed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple
from urllib.parse import quote, urlsplit

import sqlalchemy as sa
from flask import current_app, g, make_response, render_template, request
from flask.typing import ResponseReturnValue
from htmx_flask import request as htmx
from jinja2_fragments.flask import render_block
from sqlalchemy.orm import joinedload
from werkzeug.datastructures import MultiDict

from portal.catalogue import App
from portal.credentials.models import InstallationCredential
from portal.credentials.rules import credentials_of
from portal.db import transaction
from portal.install.sections import Section
from portal.install.settings import WorkflowSettings, lay_out_settings
from portal.installations.models import Installation
from portal.languages import language, listed, plural, sentence
from portal.links.models import Link, LinkOrigin
from portal.links.rules import NO_INTEGRATION, link_url
from portal.preferences.current import current_settings
from portal.workflows.rules import newest_versions

TEMPLATE = "install/page.html"
# What the last press on Finish had found is out of date once a section has changed.
_NO_SUMMARY = '\n<div id="summary" hx-swap-oob="true"></div>'


@dataclass(frozen=True)
class Done:
    """What the success view tells: whose accounts are connected and what runs now."""

    accounts: list[tuple[App, str]]
    credential_ids: list[str]


class Listed(NamedTuple):
    """A workflow as the page names it."""

    id: str
    name: str
    description: str
    asks: bool  # whether it has fields


@dataclass(frozen=True)
class PageView:
    """Everything that the page shows of one link."""

    link: Link
    sections: Sequence[Section]
    workflows: Sequence[Listed]
    press: str
    hidden: dict[str, str]
    apps: list[App]
    focus: str = ""  # the app whose section was just acted on
    is_passing_on: bool = False
    done: Done | None = None
    settings: Sequence[WorkflowSettings] = ()
    errors: list[tuple[str, str]] = field(default_factory=list)

    @property
    def app_titles(self) -> str:
        """The apps in one phrase: `Magento`, `Magento and Slack`."""
        return listed([app.title for app in self.apps])

    @property
    def title(self) -> str:
        """The page's heading, and the start of its title."""
        if self.done:
            return plural("{apps} is connected", "{apps} are connected", len(self.apps), apps=self.app_titles)
        return self.link.how.title or sentence("Connect {apps}", apps=self.app_titles)

    @property
    def is_modal(self) -> bool:
        """Whether the vendor's page opened it in a window of its own."""
        return self.link.origin in (LinkOrigin.modal, LinkOrigin.connection)

    @property
    def is_silent(self) -> bool:
        """Whether there is nothing to ask, and the vendor's page wants nothing shown then."""
        return (
            self.link.how.is_hidden
            and not self.done
            and not self.errors
            and all(section.is_connected for section in self.sections)
            and all(one.is_answered for one in self.settings)
        )

    @property
    def message(self) -> dict[str, Any] | None:
        """What is told to the page that embeds this one (the messages that the published front-end client reads)."""
        if self.done and self.link.integration_id is not None:
            return {"workflowCreated": True, "workflowIds": [workflow.id for workflow in self.workflows]}
        if self.done:
            return {"credentialId": self.done.credential_ids[0], "connectionId": self.done.credential_ids[0]}
        return {"showModal": True} if self.link.how.is_hidden and not self.is_silent else None

    @property
    def closing_message(self) -> dict[str, Any]:
        """What is told when the person closes the window."""
        if self.link.integration_id is None and not self.done:
            return {"closeModal": True, "connectionStatus": "failed"}
        return {"closeModal": True}

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
        vendor = current_settings().vendor_name
        subject = sentence("Please connect {apps} for {vendor}", apps=self.app_titles, vendor=vendor)
        body = sentence(
            "Hello,\n\n{vendor} asks us to connect {apps}. You have the access that is needed, I don’t. "
            "Please open this page and follow it:\n\n{url}\n\nThe link works until {until}, and once.\n",
            vendor=vendor,
            apps=self.app_titles,
            url=self.own_url,
            until=language().moment(self.link.expires_at),
        )
        return f"mailto:?subject={quote(subject.said())}&body={quote(body.said())}"


def user_name(full_name: str | None, username: str) -> str:
    """How the page calls a user."""
    return f"{full_name} ({username})" if full_name else username


def describe(
    link: Link,
    sections: Sequence[Section],
    *,
    press: str,
    focus: str = "",
    is_passing_on: bool = False,
    is_done: bool = False,
    facts: Mapping[str, str] | None = None,
    settings: Sequence[WorkflowSettings] | None = None,
    workflows: Sequence[Listed] | None = None,
) -> PageView:
    """Gather what the page shows. `facts` are the link's own parameters, by default those of the request.

    `workflows` are by default those that the link installs.
    """
    facts = g.get("facts", request.values) if facts is None else facts
    catalogue = current_app.extensions["catalogue"]
    if settings is None:
        settings = [] if is_done else read_settings(link)
    return PageView(
        link=link,
        sections=sections,
        workflows=listed_workflows(link) if workflows is None else workflows,
        press=press,
        hidden={
            "integrationId": link.integration_id or NO_INTEGRATION,
            "token": facts["token"],
            "forgeMode": "engaged",
            "alwaysShowCredentials": facts.get("alwaysShowCredentials", ""),
        },
        apps=[catalogue[name] for name in link.apps],
        focus=focus,
        is_passing_on=is_passing_on,
        done=_done(link, sections) if is_done else None,
        settings=settings,
        errors=[e for section in sections for e in section.errors] + [e for one in settings for e in one.errors],
    )


def listed_workflows(link: Link) -> list[Listed]:
    """The workflows that the link installs."""
    if link.integration is None:
        return []
    # What an integration installs changes only with its version: looked up once for each.
    known: dict[tuple[str, int, str], list[Listed]] = current_app.extensions["install_workflows"]
    key = (link.integration.id, link.integration.version, ",".join(link.workflow_ids or ()))
    if key not in known:
        with transaction() as session:
            found = newest_versions(session, link.integration.id, link.workflow_ids)
        if len(known) > 1000:
            known.clear()
        known[key] = [Listed(w.id, w.name, w.description, bool(v.definition.get("fields"))) for w, v in found]
    return known[key]


def read_settings(link: Link, posted: MultiDict[str, str] | None = None) -> list[WorkflowSettings]:
    """The forms of the workflows that ask something; most ask nothing, and cost nothing."""
    if not any(one.asks for one in listed_workflows(link)) and not link.manner:
        return []
    with transaction(link.environment) as session:
        return lay_out_settings(session, link, posted)


def _done(link: Link, sections: Sequence[Section]) -> Done:
    if sections and all(section.credential for section in sections):
        shown = [(section.app, section.credential) for section in sections if section.credential]
        return Done([(app, credential.account) for app, credential in shown], [c.id for _, c in shown])
    catalogue = current_app.extensions["catalogue"]
    with transaction(link.environment) as session:
        rows = session.scalars(
            sa.select(InstallationCredential)
            .join(Installation)
            .where(Installation.link_id == link.id)
            .options(joinedload(InstallationCredential.credential))
        ).all()
        used = [row.credential for row in rows] or credentials_of(session, link.user_id)
    known = {credential.app: credential for credential in used}  # the newest of each
    kept = [(catalogue[app], known[app]) for app in link.apps if app in known]
    return Done([(app, credential.account) for app, credential in kept], [c.id for _, c in kept])


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
