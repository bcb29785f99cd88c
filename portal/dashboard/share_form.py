"""What may be typed into the Share dialog, read as a whole: everything that is wrong is told at once, at its field."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, TypeVar

from sqlalchemy.orm import Session
from werkzeug.datastructures import MultiDict

from portal.catalogue import Catalogue, FieldProblem, clean
from portal.clock import now
from portal.integrations.models import Integration
from portal.links.errors import BadLinkOption
from portal.links.models import Link
from portal.links.options import LONGEST_LIFE, parse_life, require_redirect
from portal.links.prefilled import Prefilled, read_prefilled
from portal.links.replacing import prefilled_left
from portal.links.rules import DEFAULT_LIFE
from portal.refusals import Refusal
from portal.users.models import User
from portal.users.rules import UnknownUser, UsernameTaken, create_user, look_up_user, read_full_name
from portal.workflows.fields import BadValue, clean_value, fields_of

LIVES = {"1h": "1 hour", "1d": "1 day", "7d": "7 days", "30d": "30 days", "until": "Until a date and time"}
_EMAIL = re.compile(r"[^@\s]+@[^@\s]+")
Value = TypeVar("Value")


class NotShared(Refusal):
    """The dialog can't be taken as it was filled in: `problems` are sentences by field ("": of the whole).

    `taken` is the username of the user that the new one would be, when that is what is wrong.
    """

    status = 422
    title = "The link was not made"

    def __init__(self, problems: Mapping[str, str], taken: str = "") -> None:
        super().__init__("Mend what stands at the fields below.")
        self.problems, self.taken = problems, taken


@dataclass(frozen=True)
class Fill:
    """A field of an app or of a workflow (its `owner`) that can be filled in for the user."""

    owner: str
    name: str
    title: str
    hint: str
    kind: str
    options: Mapping[str, str]
    clean: Callable[[str], object]

    @property
    def key(self) -> str:
        """What it is called in the dialog."""
        return f"fill-{self.owner}-{self.name}"


def fills_of(catalogue: Catalogue, one: Integration) -> list[Fill]:
    """Everything that can be filled in: no secrets."""
    fills: list[Fill] = []
    for app in (catalogue[name] for name in one.apps):
        for asked in app.fields:
            kind = asked.type if asked.type in ("select", "number") else "text"
            title = f"{app.title}: {asked.title}"
            if not asked.is_secret:
                read: Callable[[str], object] = partial(clean, asked)
                fills.append(Fill(app.name, asked.name, title, asked.hint, kind, asked.options, read))
    for workflow in one.workflows:
        for setting in fields_of(workflow.newest.definition):
            options = {option: option for option in setting.options}
            title = f"{workflow.name}: {setting.title}"
            # What isn't filled in, the user is asked for.
            read = partial(clean_value, setting.model_copy(update={"required": False}))
            fills.append(Fill(workflow.id, setting.name, title, setting.hint, setting.type, options, read))
    return fills


@dataclass
class ShareForm:
    """The dialog as it was sent. Raises nothing until `require_right`, so that all of it is read."""

    catalogue: Catalogue
    one: Integration
    typed: MultiDict[str, str]
    problems: dict[str, str] = field(default_factory=dict)
    taken: str = ""

    @property
    def is_for_new(self) -> bool:
        """Whether it is to make its user."""
        return self.typed.get("who") == "new"

    def user(self, session: Session) -> User | None:
        """Whom it is for: found in whatever capitals, or made; None when that is wrong."""
        if self.is_for_new:
            return self._read("email", lambda: self._new_user(session))
        return self._read("user", lambda: self._known_user(session))

    def _known_user(self, session: Session) -> User:
        known = self.typed.get("user", "").strip()
        if not known:
            raise BadLinkOption("Say who it is for: begin to type the username, then choose from what is found.")
        found = look_up_user(session, known)
        if found is None:
            raise UnknownUser(known)
        return found

    def _new_user(self, session: Session) -> User:
        email = self.typed.get("email", "").strip()
        if not _EMAIL.fullmatch(email):
            raise BadLinkOption("Type the new user’s e-mail address. It should look like name@shop.example.")
        if known := look_up_user(session, email):
            self.taken = known.username
            raise UsernameTaken(known.username)
        return create_user(session, email, now=now(), full_name=self._read("full_name", self._full_name))

    def _full_name(self) -> str | None:
        return read_full_name(self.typed.get("full_name"))

    def options(self) -> dict[str, Any]:
        """The other options of the link, as `create_link` takes them."""
        life = self._read("until" if self.typed.get("life") == "until" else "life", self._life)
        workflows = self._read("workflow", self._workflows) or []
        redirect_url = self._read("redirect_url", lambda: require_redirect(self.typed.get("redirect_url", "").strip()))
        return {
            "life": life or DEFAULT_LIFE,
            "always_show_credentials": self.typed.get("always") == "yes",
            "redirect_url": redirect_url,
            "workflow_ids": workflows if len(workflows) < len(self.one.workflows) else None,
            "locale": self.typed.get("locale", "").strip() or None,
            "prefilled": self._prefilled(workflows),
        }

    def require_right(self) -> None:
        """Raises `NotShared` when anything was wrong."""
        if self.problems:
            raise NotShared(self.problems, self.taken)

    def _read(self, name: str, read: Callable[[], Value]) -> Value | None:
        try:
            return read()
        except (Refusal, FieldProblem, BadValue) as problem:
            self.problems[name] = problem.message() if isinstance(problem, Refusal) else str(problem.message)
            return None

    def _life(self) -> timedelta:
        if self.typed.get("life") != "until":
            return parse_life(self.typed.get("life", "7d"))
        try:
            until = datetime.fromisoformat(self.typed.get("until", "")).replace(tzinfo=UTC)
        except ValueError:
            raise BadLinkOption("Say until when: a date and a time, in UTC.") from None
        if until <= now():
            raise BadLinkOption("That moment is over. Choose one to come.")
        if until > now() + LONGEST_LIFE:
            raise BadLinkOption("A link works for a year at the most. Choose an earlier moment.")
        return parse_life(str(int((until - now()).total_seconds()) + 1))

    def _workflows(self) -> list[str]:
        there = {workflow.id for workflow in self.one.workflows}
        given = self.typed.getlist("workflow")
        chosen = [one for one in given if one in there]
        if len(chosen) < len(given):
            raise BadLinkOption("A workflow that was chosen is gone from this integration. Look which ones there are.")
        if not chosen:
            raise BadLinkOption("Choose at least one workflow.")
        return chosen

    def _prefilled(self, workflows: list[str]) -> Prefilled:
        found: Prefilled = {}
        for fill in fills_of(self.catalogue, self.one):
            text = self.typed.get(fill.key, "").strip()
            if text and (fill.owner in self.one.apps or fill.owner in workflows):
                read = self._read(fill.key, partial(self._filled, fill, text))
                for owner, values in (read or {}).items():
                    found.setdefault(owner, {}).update(values)
        return found

    def _filled(self, fill: Fill, text: str) -> Prefilled:
        fill.clean(text)
        return read_prefilled(self.catalogue, self.one, self.one.apps, {fill.owner: {fill.name: text}})


def filled_in_like(link: Link) -> dict[str, str]:
    """The dialog's query for a link like this one, with all of its integration's workflows."""
    life = link.expires_at - link.created_at
    query = {
        "who": "existing",
        "user": link.user.username,
        "life": next((text for text in LIVES if text != "until" and parse_life(text) == life), ""),
        "always": "yes" if link.always_show_credentials else "no",
        "redirect_url": link.redirect_url or "",
        "locale": link.locale or "",
        "instead_of": link.id,
    }
    for owner, values in prefilled_left(link).items():
        query |= {f"fill-{owner}-{name}": value for name, value in values.items()}
    return {name: value for name, value in query.items() if value}
