"""What people really type, understood: pasted keys, whole admin URLs, odd spaces and quotes become clean values."""

from __future__ import annotations

import re
import unicodedata
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from fnmatch import fnmatchcase
from urllib.parse import quote, urlsplit

import idna

from portal.catalogue.declarations import Field
from portal.languages import Declared, Sentence, sentence, words


@dataclass(frozen=True)
class Cleaned:
    """A usable value; `note` says what was changed, never with a secret in it (None: nothing worth saying)."""

    value: str
    note: str | None = None


class FieldProblem(ValueError):
    """What was typed can't be used; `message` is the sentence to show at the field."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


_QUOTES = {'"': '"', "'": "'", "`": "`", "“": "”", "„": "“", "‘": "’", "«": "»", "»": "«"}
_PREFIX = re.compile(
    r"(?:(?:proxy-)?authorization\s*:\s*)?(bearer|token|basic)[\s:]+(?=\S)|authorization\s*:\s*(?=\S)", re.I
)
_HEADER_LINE = re.compile(r"x-[a-z0-9-]+\s*:\s*(?=\S)", re.I)
_LABEL = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")
_NUMBER = re.compile(r"-?\d+(?:\.\d+)?")
_EMAIL = re.compile(r"[^@\s\"<>(),;:\\]{1,64}@[^@\s\"<>(),;:\\]+\.[^@\s\"<>(),;:\\]{2,}")
_PEM = re.compile(r"-----BEGIN ([A-Z0-9 ]+)-----\n[A-Za-z0-9+/=\n:,\- ]+\n-----END \1-----")


def clean(field: Field, typed: str) -> Cleaned:
    """Make `typed` usable as the value of `field`. Cleaning what is clean changes nothing.

    Raises `FieldProblem` with the sentence for the person who typed it.
    """
    text = visible(typed, lines=field.type == "pem")
    if not text:
        if field.required:
            raise FieldProblem(sentence(_EMPTY[field.type], title=Declared(field.title)))
        return Cleaned("")
    if len(text) > field.max_length:
        raise FieldProblem(
            sentence(
                "This is longer than the {longest} characters that it can have. Check what was pasted.",
                longest=field.max_length,
            )
        )
    cleaned = _CLEANERS[field.type](field, text)
    if field.pattern and not re.fullmatch(field.pattern, cleaned.value):
        usual = sentence("This doesn’t look right. Check it for typing mistakes.")
        raise FieldProblem(field.pattern_message or usual)
    return cleaned


_EMPTY = {
    "select": words("Choose one of the options."),
    "url": words("Type the address."),
    "host": words("Type the address."),
    "label": words("Type the name, or paste the whole address."),
    "secret": words("Paste the {title}."),
    "pem": words("Paste the {title}, from the first line to the last."),
    "text": words("Type the {title}."),
    "email": words("Type the e-mail address."),
    "uuid": words("Paste the {title}."),
    "number": words("Type the {title}."),
}


def visible(typed: str, *, lines: bool = False) -> str:
    """Without what can't be seen: zero-width, direction and control characters; every kind of space a plain one."""
    text = unicodedata.normalize("NFC", typed).replace("\r\n", "\n").replace("\r", "\n")
    kept = []
    for char in text:
        kind = unicodedata.category(char)
        if char == "\n" or kind in ("Zl", "Zp"):
            kept.append("\n" if lines else " ")
        elif kind == "Zs" or char == "\t":
            kept.append(" ")
        elif kind not in ("Cc", "Cf", "Cs", "Co", "Cn"):
            kept.append(char)
    return "".join(kept).strip()


def _unquoted(text: str) -> str:
    while len(text) > 1 and _QUOTES.get(text[0]) == text[-1]:
        text = text[1:-1].strip()
    return text


def _clean_text(field: Field, text: str) -> Cleaned:
    return Cleaned(_unquoted(text) or text)


def _clean_secret(field: Field, text: str) -> Cleaned:
    removed: list[Sentence] = []
    value = text
    while True:
        before = value
        if (bare := _unquoted(value)) != value and bare:
            value = bare
            removed.append(sentence("the quotation marks"))
        if match := _PREFIX.match(value):
            removed.append(sentence("the word {word}", word=(match[1] or "Authorization").capitalize()))
            value = value[match.end() :]
        elif match := _HEADER_LINE.match(value):
            removed.append(sentence("the header’s name"))
            value = value[match.end() :]
        if value == before:
            break
    if not value.isascii():
        raise FieldProblem(
            sentence(
                "There is a character in this that keys don’t have. Copy it again straight from where it is shown."
            )
        )
    what = None
    for one in dict.fromkeys(removed):
        what = sentence("{most} and {last}", most=what, last=one) if what else one
    return Cleaned(value, sentence("We left out {what}.", what=what) if what else None)


@dataclass(frozen=True)
class _Address:
    scheme: str
    host: str
    port: int | None
    path: str

    @property
    def netloc(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        default = 443 if self.scheme == "https" else 80
        return host if self.port in (None, default) else f"{host}:{self.port}"


def _no_address(field: Field) -> FieldProblem:
    return FieldProblem(
        sentence(
            "This doesn’t look like an address. It should look like {example}.",
            example=field.placeholder or "https://shop.example",
        )
    )


def _read_address(field: Field, text: str) -> _Address:
    problem = _no_address(field)
    text = _unquoted(text).strip("<>,; ").replace("\\", "/")
    scheme, separator, rest = text.partition("://")
    if separator and scheme.lower() not in ("http", "https"):
        raise FieldProblem(sentence("An address begins with https://, not with {scheme}://.", scheme=scheme[:20]))
    bare = not separator
    try:
        parts = urlsplit(f"{'https' if bare else scheme.lower()}://{(text if bare else rest).lstrip('/')}")
        host, port = parts.hostname or "", parts.port
    except ValueError:
        raise problem from None
    name = _ascii_host(host)
    if name is None or (bare and port is None and "." not in name and ":" not in name):
        raise problem
    return _Address(parts.scheme, name, port, parts.path)


def _ascii_host(host: str) -> str | None:
    """The host as DNS wants it (IDNA 2008 with the UTS 46 mapping), or None when it can't be one."""
    host = host.rstrip(".")
    if ":" in host:
        return host if re.fullmatch(r"[0-9a-f:.]+", host) else None
    try:
        name = host.lower() if host.isascii() else idna.encode(host, uts46=True).decode()
    except idna.IDNAError:
        return None
    labels = name.split(".")
    fits = len(name) <= 253 and all(
        _LABEL.fullmatch(label) or re.fullmatch(r"[a-z0-9_-]{1,63}", label) for label in labels
    )
    return name if fits else None


def _shown(host: str) -> str:
    """The host as its reader writes it."""
    try:
        return idna.decode(host) if "xn--" in host else host
    except idna.IDNAError:
        return host


def _note(typed: str, value: str, shown: str) -> str | None:
    return None if typed in (value, shown) else sentence("We read this as {shown}.", shown=shown)


def _clean_url(field: Field, text: str) -> Cleaned:
    address = _read_address(field, text)
    path = ""
    if field.keep == "origin+path":
        kept: list[str] = []
        for segment in address.path.split("/"):
            if any(fnmatchcase(segment.lower(), pattern) for pattern in field.cut):
                break
            if segment in ("..", "."):
                raise _no_address(field)
            if segment:
                kept.append(quote(segment, safe="%:@!$&'()*+,;=~-._"))
        path = "/".join(["", *kept])
    value = f"{address.scheme}://{address.netloc}{path}"
    shown = value.replace(address.host, _shown(address.host), 1)
    return Cleaned(value, None if text == shown else _note(text, value, shown.removeprefix("https://")))


def _clean_host(field: Field, text: str) -> Cleaned:
    address = _read_address(field, text)
    value = address.netloc
    return Cleaned(value, _note(text, value, value.replace(address.host, _shown(address.host), 1)))


def _clean_label(field: Field, text: str) -> Cleaned:
    name = _unquoted(text).lower()
    if "." in name or "/" in name or ":" in name:
        host = _read_address(field, name).host
        if field.suffix and not host.endswith(field.suffix):
            raise FieldProblem(
                sentence(
                    "This address doesn’t end in {suffix}. Type only the part before {suffix}.", suffix=field.suffix
                )
            )
        name = host.removesuffix(field.suffix).split(".")[-1] if field.suffix else host.split(".")[0]
    if not _LABEL.fullmatch(name):
        raise FieldProblem(sentence("This name can have letters, digits and hyphens only."))
    return Cleaned(name, _note(text, name, f"{name}{field.suffix}"))


def _clean_email(field: Field, text: str) -> Cleaned:
    value = re.sub(r"^mailto:", "", _unquoted(text).strip("<>,; "), flags=re.I)
    if not _EMAIL.fullmatch(value):
        raise FieldProblem(sentence("This doesn’t look like an e-mail address. It should look like name@shop.example."))
    return Cleaned(value, _note(text, value, value))


def _clean_uuid(field: Field, text: str) -> Cleaned:
    try:
        value = str(uuid.UUID(_unquoted(text).strip("{}<> ")))
    except ValueError:
        raise FieldProblem(
            sentence("This should be 32 letters and digits in five groups, parted by hyphens.")
        ) from None
    return Cleaned(value, _note(text.lower(), value, value))


def _clean_number(field: Field, text: str) -> Cleaned:
    value = _unquoted(text).replace(" ", "")
    if not _NUMBER.fullmatch(value) or not value.isascii():
        raise FieldProblem(sentence("Type a number, with digits only."))
    return Cleaned(value, _note(text, value, value))


def _clean_select(field: Field, text: str) -> Cleaned:
    if text not in field.options:
        raise FieldProblem(sentence("Choose one of the options."))
    return Cleaned(text)


def _clean_pem(field: Field, text: str) -> Cleaned:
    value = "\n".join(line.strip() for line in text.split("\n") if line.strip())
    if not _PEM.fullmatch(value):
        raise FieldProblem(
            sentence("Paste it as a whole, from the line -----BEGIN …----- to the line -----END …-----.")
        )
    return Cleaned(value)


_CLEANERS: dict[str, Callable[[Field, str], Cleaned]] = {
    "text": _clean_text,
    "secret": _clean_secret,
    "url": _clean_url,
    "host": _clean_host,
    "label": _clean_label,
    "email": _clean_email,
    "uuid": _clean_uuid,
    "number": _clean_number,
    "select": _clean_select,
    "pem": _clean_pem,
}
