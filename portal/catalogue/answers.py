"""How a provider's answer to the test request is read: whose account it is, or why the credential doesn't hold."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urljoin, urlsplit

import jmespath

from portal.catalogue.cleaning import visible
from portal.catalogue.declarations import App
from portal.catalogue.reasons import Reason
from portal.catalogue.sentences import sentence_for
from portal.http import Answer, NotJSON

__all__ = ["Account", "Reason", "Rejected", "read_account"]


# A host as it is written in a header, and a port; what else may stand there would be shown and stored.
_PLACE = re.compile(r"[A-Za-z0-9._-]{1,253}(:[0-9]{1,5})?|\[[0-9A-Fa-f:.]{2,45}\](:[0-9]{1,5})?")


@dataclass(frozen=True)
class Account:
    """Whose account a credential opens, by the name that the provider gives it."""

    name: str


class Rejected(Exception):
    """The answer says that the credential doesn't hold; `message` is the sentence for the end user."""

    def __init__(self, reason: Reason, message: str) -> None:
        super().__init__(message)
        self.reason, self.message = reason, message


def read_account(app: App, answer: Answer, asked: str, values: Mapping[str, str]) -> Account:
    """The account that `answer`, the reply to the test request for the URL `asked`, is about. Raises `Rejected`."""
    test = app.test
    assert test is not None, "an app without a test is never asked"
    reason = _reason_of(answer.status)
    host = urlsplit(asked).hostname or ""
    if reason:
        own = test.messages.get(answer.status)
        where = _redirect_target(asked, answer.headers.get("Location", ""))
        raise Rejected(reason, own or sentence_for(app, reason, host, target=where))
    if test.success is None and test.account is None:
        return Account(_fallback(app, values))
    try:
        reply = answer.json()
    except NotJSON:
        raise Rejected(Reason.not_json, sentence_for(app, Reason.not_json, host)) from None
    if test.success is not None and not _search(test.success, reply):
        raise Rejected(Reason.unexpected, sentence_for(app, Reason.unexpected, host))
    name = _search(test.account, reply) if test.account else None
    # Somebody else's text, which stands on our pages among ours: nothing in it may hide, or turn what is around it.
    if isinstance(name, str | int | float) and (shown := " ".join(visible(str(name)).split())):
        return Account(shown[:255])
    return Account(_fallback(app, values))


def _redirect_target(asked: str, location: str) -> str:
    try:
        target = urlsplit(urljoin(asked, location))
    except ValueError:
        return "another address"
    return f"{target.scheme}://{target.netloc}" if _PLACE.fullmatch(target.netloc) else "another address"


def _reason_of(status: int) -> Reason | None:
    if 200 <= status < 300:
        return None
    if 300 <= status < 400:
        return Reason.redirected
    if status >= 500:
        return Reason.provider_error
    known = {401: Reason.unauthorized, 403: Reason.forbidden, 404: Reason.not_found, 429: Reason.rate_limited}
    return known.get(status, Reason.unexpected)


def _search(expression: str, reply: object) -> object:
    try:
        return jmespath.search(expression, reply)
    except jmespath.exceptions.JMESPathError:
        return None  # the reply has another shape than the expression wants


def _fallback(app: App, values: Mapping[str, str]) -> str:
    """The account by what the user typed, never by a secret: the host, else the first plain value, else the app."""
    for field in app.fields:
        value = values.get(field.name, "")
        if field.is_address and value:
            return urlsplit(value).netloc or value + field.suffix
    return next((values[f.name] for f in app.fields if not f.is_secret and values.get(f.name)), app.title)
