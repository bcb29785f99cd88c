"""How an app tells that something happened: a request to poll it with, or a webhook that it sends."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, Literal, Self

from pydantic import Field as Declared
from pydantic import model_validator

from portal.catalogue.parts import Duration, Expression, Line, Part, Path

_PAGED = frozenset({"since", "page", "page_size"})
_HOOK = frozenset({"hook_url", "hook_secret", "hook_id"})


class Cursor(Part):
    """Where the next poll begins: a value that each item carries and that never gets smaller from item to item.

    A `time` is read back by `overlap`, because what is written at the same time can become visible later; items
    that were seen already are told by their key. `format` is that of Python's strptime, in UTC.
    """

    value: Expression
    kind: Literal["time", "number"] = "time"
    format: str = "%Y-%m-%d %H:%M:%S"
    overlap: Duration = timedelta(minutes=5)
    lost: tuple[int, ...] = Declared((), description="Statuses by which the app says that it doesn't know the cursor.")


class Poll(Part):
    """A request that lists items, oldest first. `{since}`, `{page}` and `{page_size}` stand in its query or path."""

    get: Path
    query: dict[str, str] = Declared(default_factory=dict)
    headers: dict[str, str] = Declared(default_factory=dict)
    items: Expression = Declared("@", description="JMESPath over the reply: the list of items.")
    key: Expression = Declared(description="JMESPath over an item: what tells it from every other one.")
    cursor: Cursor
    page_size: int = Declared(100, ge=1, le=1000)


class Signature(Part):
    """How the app signs a webhook: an HMAC of the body in a header. `secret` is a template."""

    header: str
    hmac: Literal["sha256", "sha1", "sha512"] = "sha256"
    encoding: Literal["hex", "base64"] = "hex"
    prefix: str = Declared("", description="What stands before the signature, such as sha256=.")
    secret: str = "{hook_secret}"  # noqa: S105 - a template, not a secret


class Listing(Part):
    """How the webhooks that are registered at the app are listed, to find the one for an address of ours among them."""

    get: Path
    query: dict[str, str] = Declared(default_factory=dict)
    items: Expression = Declared("@", description="JMESPath over the reply: the list of webhooks.")
    url: Expression = Declared(description="JMESPath over a webhook: the address that it is sent to.")
    id: Expression = Declared(description="JMESPath over a webhook: the app's name for it.")


class Registration(Part):
    """How a webhook is registered at the app and taken away again.

    With `list`, a registration whose answer was lost is found again; without it, it is made a second time.
    """

    post: Path
    body: dict[str, Any]
    id: Expression = Declared(description="JMESPath over the reply: the app's name for the webhook.")
    list_: Listing | None = Declared(None, alias="list")
    delete: Path | None = Declared(None, description="A path with {hook_id}.")

    def url_templates(self) -> list[str]:
        """Templates that end up in a URL."""
        listing = [self.list_.get, *self.list_.query.values()] if self.list_ else []
        return [self.post, *listing, *([self.delete] if self.delete else [])]


class Webhook(Part):
    """What the app sends to an address of ours. Without `register`, a person enters the address at the app."""

    signature: Signature | None = None
    items: Expression = Declared("@", description="JMESPath over the body: one item, or a list of them.")
    key: Expression | None = Declared(None, description="JMESPath over an item: what tells it from every other one.")
    register_: Registration | None = Declared(None, alias="register")

    @model_validator(mode="after")
    def _told_apart(self) -> Self:
        if self.register_ is not None and self.key is None:
            raise ValueError("with `register`, say `key` too: an app may send the same thing twice")
        return self


class Trigger(Part):
    """Something that a workflow can begin with."""

    title: Line
    poll: Poll | None = None
    webhook: Webhook | None = None

    @model_validator(mode="after")
    def _one_kind(self) -> Self:
        if (self.poll is None) == (self.webhook is None):
            raise ValueError("say either `poll` or `webhook`")
        return self

    @property
    def own_names(self) -> frozenset[str]:
        """What its templates may name beside the app's fields."""
        return _PAGED if self.poll else _HOOK

    def url_templates(self) -> list[str]:
        """Templates that end up in a URL."""
        if self.poll:
            return [self.poll.get, *self.poll.query.values()]
        registration = self.webhook.register_ if self.webhook else None
        return registration.url_templates() if registration else []

    def templates(self) -> list[str]:
        """Every template in it."""
        found = self.url_templates()
        if self.poll:
            return [*found, *self.poll.headers.values()]
        assert self.webhook is not None
        if self.webhook.signature:
            found.append(self.webhook.signature.secret)
        if self.webhook.register_:
            found += [value for value in self.webhook.register_.body.values() if isinstance(value, str)]
        return found
