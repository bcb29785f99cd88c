"""What an app's YAML file may say, as pydantic models: fields, requests, its test, its triggers."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Annotated, Any, Literal, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, StringConstraints, model_validator
from pydantic import Field as Declared
from pydantic_core import PydanticCustomError

from portal.catalogue.parts import Expression, Line, Part, Path, Said, SaidLine, Slug
from portal.catalogue.reasons import Reason
from portal.catalogue.triggers import Trigger
from portal.colour import require_colour
from portal.http import Problem

PLACE = re.compile(r"\{([a-z][a-z0-9_]*)\}")
_HOST_RULE = re.compile(r"\.?(?:[a-z0-9](?:[a-z0-9-]*[a-z0-9])?\.)+[a-z]{2,}")

FieldType = Literal["text", "secret", "url", "host", "label", "email", "uuid", "number", "select", "pem"]


def _require_pattern(text: str) -> str:
    try:
        re.compile(text)
    except re.error as error:
        raise ValueError(f"is not a regular expression ({error})") from None
    return text


def _require_https(text: str) -> str:
    if not text.startswith("https://") or not urlsplit(text).hostname:
        raise ValueError("must be an https:// address")
    return text


Pattern = Annotated[str, AfterValidator(_require_pattern)]
HttpsUrl = Annotated[str, AfterValidator(_require_https)]


class Field(Part):
    """One thing that the end user types. `name` is its key in the file."""

    name: Slug = ""
    title: SaidLine
    type: FieldType = "text"
    hint: Said = ""
    placeholder: str = ""
    find: tuple[SaidLine, ...] = ()
    required: bool = True
    pattern: Pattern | None = None
    pattern_message: SaidLine | None = None
    options: dict[str, SaidLine] = Declared(default_factory=dict, description="For select: value to text.")
    keep: Literal["origin", "origin+path"] = "origin+path"
    cut: tuple[str, ...] = Declared((), description="For url: path segments (with * as wildcard) where the base ends.")
    suffix: str = Declared("", description="For label: what follows it, such as .myshopify.com.")
    max_length: int = Declared(4096, ge=1, le=65536)

    @model_validator(mode="after")
    def _belong_together(self) -> Self:
        if (self.type == "select") != bool(self.options):
            raise ValueError("`options` go with `type: select`, and only with it")
        if self.pattern and not self.pattern_message:
            raise ValueError("`pattern` wants a `pattern_message`: the sentence that people read when it doesn't fit")
        if self.suffix and self.type != "label":
            raise ValueError("`suffix` goes with `type: label`")
        return self

    @property
    def is_secret(self) -> bool:
        """Whether its value is never shown again."""
        return self.type in ("secret", "pem")

    @property
    def is_address(self) -> bool:
        """Whether its value decides which host is called."""
        return self.type in ("url", "host", "label")


class Basic(Part):
    """HTTP basic authentication."""

    user: str
    password: str = ""


class Auth(Part):
    """Where the credential goes in every request; several places at once are fine."""

    bearer: str | None = None
    basic: Basic | None = None
    headers: dict[str, str] = Declared(default_factory=dict)
    query: dict[str, str] = Declared(default_factory=dict)

    def templates(self) -> list[str]:
        """Every template in it."""
        basic = [self.basic.user, self.basic.password] if self.basic else []
        return [*([self.bearer] if self.bearer else []), *basic, *self.headers.values(), *self.query.values()]


class TestRequest(Part):
    """The request that proves a credential, what counts as success and where the account's name stands."""

    __test__ = False  # not a test class of pytest's

    get: Path | None = None
    post: Path | None = None
    headers: dict[str, str] = Declared(default_factory=dict)
    query: dict[str, str] = Declared(default_factory=dict)
    body: Any = None
    success: Expression | None = Declared(None, description="JMESPath over the reply that must be true.")
    account: Expression | None = Declared(None, description="JMESPath over the reply that gives the account's name.")
    messages: dict[int, SaidLine] = Declared(default_factory=dict, description="Own sentences by status.")

    @model_validator(mode="after")
    def _one_method(self) -> Self:
        if (self.get is None) == (self.post is None):
            raise ValueError("say either `get` or `post`, with a path that begins with /")
        return self

    @property
    def method(self) -> str:
        """GET or POST."""
        return "GET" if self.get is not None else "POST"

    @property
    def path(self) -> str:
        """The path below the base URL, a template."""
        return self.get or self.post or "/"


class App(Part):
    """A third-party system that credentials are for."""

    name: Slug
    title: Line
    purpose: SaidLine = Declared(description="What access is used for, one line for the end user.")
    docs: HttpsUrl
    color: Annotated[str, AfterValidator(require_colour)] = "#5b6472"
    initials: Annotated[str, StringConstraints(min_length=1, max_length=2)] = ""
    fields: Annotated[tuple[Field, ...], Declared(min_length=1)]
    base_url: str
    hosts: Literal["any"] | tuple[str, ...] = Declared(
        description="`any` public host, or exact hosts and suffixes that begin with a dot."
    )
    auth: Auth
    test: TestRequest | None = None
    triggers: dict[Slug, Trigger] = Declared(default_factory=dict, description="What workflows can begin with.")
    personal: tuple[str, ...] = Declared((), description="Keys of personal data in what the app sends: masked in logs.")

    @model_validator(mode="before")
    @classmethod
    def _name_fields(cls, data: Any) -> Any:
        if isinstance(data, dict) and isinstance(data.get("fields"), dict):
            fields = [{"name": k, **v} if isinstance(v, dict) else v for k, v in data["fields"].items()]
            data = {**data, "fields": fields}
        return data

    @model_validator(mode="after")
    def _hold_together(self) -> Self:
        if defects := _defects(self):
            raise PydanticCustomError("defects", "it does not hold together", {"defects": defects})
        return self

    def __hash__(self) -> int:
        return hash(self.name)

    def field(self, name: str) -> Field:
        """The field called `name`. Raises KeyError."""
        return next((f for f in self.fields if f.name == name), None) or _missing(name)

    def field_for(self, reason: Reason | Problem) -> Field | None:
        """Where a message about `reason` belongs: at the secret, at the address, or (None) at the whole section."""
        if reason in (Reason.unauthorized, Reason.forbidden):
            return next((f for f in reversed(self.fields) if f.is_secret), None)
        if reason in (Reason.rate_limited, Reason.provider_error, Problem.busy):
            return None
        return next((f for f in self.fields if f.is_address), None)

    @property
    def icon_text(self) -> str:
        """One or two letters for the app's round icon."""
        return self.initials or self.title[:1].upper()


def _missing(name: str) -> Field:
    raise KeyError(name)


def _defects(app: App) -> list[tuple[str, str]]:
    """What single fields can't know, as (key in the file, sentence): names in templates, the host rule."""
    return [*_template_defects(app), *_host_defects(app), *_trigger_defects(app)]


def _template_defects(app: App) -> Iterator[tuple[str, str]]:
    fields = {f.name: f for f in app.fields}
    in_urls = [("base_url", app.base_url)]
    templates = [("auth", template) for template in app.auth.templates()]
    if app.test:
        in_urls.append(("test", app.test.path))
        templates += [("test", t) for t in (*app.test.headers.values(), *app.test.query.values())]
    for key, template in (*in_urls, *templates):
        for name in PLACE.findall(template):
            if name not in fields:
                yield key, f"the template “{template}” names the field “{name}”: declare it, or mend the name"
    for key, template in in_urls:
        for name in PLACE.findall(template):
            if name in fields and fields[name].is_secret:
                yield key, f"the secret “{name}” stands in a URL: put it into `auth`"
    if not app.auth.templates():
        yield "auth", "no credential is placed: say bearer, basic, headers or query"


def _trigger_defects(app: App) -> Iterator[tuple[str, str]]:
    fields = {f.name: f for f in app.fields}
    for key, trigger in app.triggers.items():
        for template in trigger.url_templates():
            for name in PLACE.findall(template):
                if name in fields and fields[name].is_secret:
                    yield "triggers", f"{key}: the secret “{name}” stands in a URL: put it into `auth`"
        for template in trigger.templates():
            for name in PLACE.findall(template):
                if name not in fields and name not in trigger.own_names:
                    known = ", ".join(sorted(trigger.own_names))
                    yield "triggers", f"{key}: “{name}” is neither a field nor one of {known}: mend the name"


def _host_defects(app: App) -> Iterator[tuple[str, str]]:
    fields = {f.name: f for f in app.fields}
    first = PLACE.match(app.base_url)
    if first and first[1] in fields and fields[first[1]].type != "url":
        yield "base_url", f"it begins with “{first[1]}”, which must be of type url"
    if first is None:
        if not app.base_url.startswith("https://"):
            yield "base_url", "it must begin with https:// or with a field of type url, such as {store_url}"
        host = app.base_url.removeprefix("https://").split("/")[0]
        for name in PLACE.findall(host):
            if name in fields and fields[name].type not in ("label", "host"):
                yield "base_url", f"“{name}” stands in the host: give it the type label or host"
        if app.hosts == "any" and not PLACE.fullmatch(host):
            yield "hosts", "`any` is too wide here: name the host or the suffix that `base_url` has"
    if app.hosts != "any":
        for rule in app.hosts:
            if not _HOST_RULE.fullmatch(rule):
                yield "hosts", f"“{rule}” is neither a host nor a suffix such as .example.com"
