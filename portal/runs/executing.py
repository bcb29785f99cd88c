"""One step of a run: what it does, and what came of it. Calls out, so never inside a transaction; knows no database."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Protocol
from urllib.parse import quote, urlencode, urlsplit

from portal.catalogue import App, HostNotAllowed, build_request
from portal.events.payload import write_payload
from portal.events.schedule import read_retry_after
from portal.events.signing import sign
from portal.http import Answer, NoAnswer, NotJSON, Problem, Request
from portal.keys.ring import KeyRing
from portal.runs.memory import Memory
from portal.runs.outcomes import Delayed, Done, Entered, Failed, Filtered, Outcome, Refused, TryAgain
from portal.workflows.blocks import Block
from portal.workflows.definition import LARGEST_VALUE, MOST_ITERATIONS, Definition, RequestStep, Step
from portal.workflows.expressions import NoValue, fill, fill_text, split
from portal.workflows.sizes import DEEPEST_VALUE, bytes_of, is_too_deep

CEILING = 15.0  # seconds for one request
WAIT_WHEN_ASKED = timedelta(minutes=1)  # for a 429 that doesn't say how long
LONGEST_WAIT = timedelta(days=1)
_WAITS = (408, 425, 429)
_HOPELESS = (Problem.private_address, Problem.plain_http, Problem.too_large)


@dataclass(frozen=True)
class Subject:
    """Whose step it is: everything that a request of a run says about itself."""

    run_id: str
    workflow_id: str
    user_id: str
    item: Any
    fields: dict[str, Any]
    ingest: str
    definition: Definition
    blocks: Mapping[tuple[int, ...], Block]
    overrides: Mapping[str, Any]
    apps: Mapping[str, App]
    credentials: Mapping[str, Mapping[str, str]]


@dataclass
class Told:
    """What the log says went into the step."""

    input: Any = None


class Sender(Protocol):
    """What requests leave through."""

    def send(
        self, request: Request, *, trusted: bool = False, ceiling: float | None = None, largest: int | None = None
    ) -> Answer:
        """Send a request and read its answer. Raises `NoAnswer`."""
        ...


class Executor:
    """Does steps. One per process; thread-safe."""

    def __init__(self, outbound: Sender, keys: KeyRing) -> None:
        self._outbound, self._keys = outbound, keys

    def execute(self, subject: Subject, memory: Memory, step: Step, now: datetime) -> tuple[Told, Outcome]:
        """Do the present step; the same step again sends the same `Idempotency-Key`."""
        told = Told()
        block = subject.blocks[memory.place]
        for name in (block.id, block.name):
            if name in subject.overrides:
                return told, Done(subject.overrides[name])
        scope = memory.scope(subject.item, subject.fields, subject.ingest)
        try:
            outcome = self._execute(subject, memory, step, scope, told, now)
        except (NoValue, HostNotAllowed, _CannotSend) as problem:
            return told, Failed(str(problem))
        except UnicodeEncodeError:
            return told, Failed("A value has half a character in it, so that it can’t stand in an address.")
        if isinstance(outcome, Done):
            if is_too_deep(outcome.output):
                return told, Failed(f"It gave something nested more than {DEEPEST_VALUE} levels deep: flatten it.")
            if bytes_of(outcome.output) > LARGEST_VALUE:
                return told, Failed(f"It gave more than {LARGEST_VALUE // 1000} kB: pick less of it.")
        return told, outcome

    def _execute(
        self, subject: Subject, memory: Memory, step: Step, scope: dict[str, Any], told: Told, now: datetime
    ) -> Outcome:
        if step.request is not None:
            return self._request(subject, memory, step, step.request, scope, told, now)
        if step.map is not None:
            return Done(fill(step.map, scope))
        if step.filter is not None:
            told.input = fill(step.filter, scope)
            return Done(True) if is_true(told.input) else Filtered()
        if step.for_each is not None:
            items = fill(step.for_each.in_, scope)
            if not isinstance(items, list):
                return Failed("`in` gave no list: name one, such as ${ trigger.items }.")
            most = min(step.for_each.most, MOST_ITERATIONS)
            if len(items) > most:
                return Failed(
                    f"The list has {len(items)} items, this step takes {most}: raise `most`, or filter first."
                )
            told.input = {"items": len(items)}
            return Entered(items)
        assert step.delay is not None
        return Delayed(step.delay)

    def _request(
        self,
        subject: Subject,
        memory: Memory,
        step: Step,
        request: RequestStep,
        scope: dict[str, Any],
        told: Told,
        now: datetime,
    ) -> Outcome:
        key = f"{subject.run_id}-{memory.path}"
        if step.app:
            built, is_trusted = _app_request(subject, step.app, request, scope, key), False
        else:
            built, is_trusted = self._vendor_request(subject, subject.blocks[memory.place], request, scope, key, now)
        told.input = _as_input(built)
        host = urlsplit(built.url).hostname or ""
        try:
            answer = self._outbound.send(built, trusted=is_trusted, ceiling=CEILING, largest=LARGEST_VALUE)
        except NoAnswer as silence:
            return silence_of(silence)
        return judge(answer, host, subject.apps[step.app] if step.app else None, now)

    def _vendor_request(
        self, subject: Subject, block: Block, request: RequestStep, scope: dict[str, Any], key: str, now: datetime
    ) -> tuple[Request, bool]:
        url, is_trusted = address_of(request, scope)
        body = write_payload(fill(request.body, scope)) if _has_body(request) else ""
        signed = sign(self._keys, method=request.method.upper(), url=url, body=body, event_id=key, at=now)
        own = {
            **signed,
            "X-Alloy-WorkflowId": subject.workflow_id,
            "X-Alloy-UserId": subject.user_id,
            "X-Alloy-BlockName": quote(block.name, safe=" !#$&'()*+,-./:;<=>?@[]^_`{|}~"),
            "X-Alloy-BlockType": block.type,
            "X-Alloy-ExecutionUuid": subject.run_id,
            "Idempotency-Key": key,
        }
        return _built(request, url, scope, own, body.encode() if body else None), is_trusted


class _CannotSend(Exception):
    pass


def is_true(value: Any) -> bool:
    """Whether JMESPath takes a value for true: all but null, false, and what is empty."""
    return value is not None and value is not False and value not in ("", [], {})


def _has_body(request: RequestStep) -> bool:
    return "body" in request.model_fields_set


_WHOLE_HOST = re.compile(r"https?://[^/?#@\s]+(?:[/?#]|$)")


def address_of(request: RequestStep, scope: Mapping[str, Any]) -> tuple[str, bool]:
    """The URL of a request to the vendor, and whether its host stands in the file or in the settings.

    Only such a host may be private; one that comes out of data is treated like one that an end user types. What
    expressions give is escaped, except at the beginning of the address. Raises `NoValue`.
    """
    first, *rest = split(request.address)
    if first[0] == "text":
        is_fixed = _WHOLE_HOST.match(first[1]) is not None and (bool(rest) is False or "/" in first[1][8:])
        url = fill_text(request.address, scope, _segment)
    else:
        start = fill("${" + first[1] + "}", scope)
        if not isinstance(start, str) or not start.startswith(("https://", "http://")):
            raise NoValue(
                "PORTAL_DEMO_INGEST_URL is not set: set it to where the data should go."
                if first[1] == "ingest"
                else f"“{first[1]}” gave no address: it must begin with https://."
            )
        is_fixed = first[1] == "ingest" and (not rest or rest[0][1].startswith(("/", "?", "#")))
        url = start + "".join(fill_text(_written(piece), scope, _segment) for piece in rest)
    pairs = {name: value for name, value in fill(request.query, scope).items() if value is not None}
    if pairs:
        url += ("&" if "?" in url else "?") + urlencode(_texts(pairs))
    return url, is_fixed


def _written(piece: tuple[str, str]) -> str:
    return piece[1].replace("${", "$${") if piece[0] == "text" else "${" + piece[1] + "}"


_CLIMBS = re.compile(r"(?:^|[/\\])\.{1,2}(?:[/\\]|$)")


def _segment(text: str) -> str:
    if text.strip(".") == "" or _CLIMBS.search(text):
        raise NoValue("A part of the address came out empty or as dots: what it is made of isn’t there.")
    return quote(text, safe="")


def _texts(pairs: Mapping[str, Any]) -> dict[str, str]:
    return {name: value if isinstance(value, str) else json.dumps(value) for name, value in pairs.items()}


def _app_request(subject: Subject, name: str, request: RequestStep, scope: Mapping[str, Any], key: str) -> Request:
    app, values = subject.apps.get(name), subject.credentials.get(name)
    if app is None or values is None:
        raise _CannotSend(f"There is no credential for {name}: send the user a link to connect it.")
    # Braces are those of the app's own templates: what the workflow says must not fill them.
    path = fill_text(request.address, scope, _segment).replace("{", "%7B").replace("}", "%7D")
    built = build_request(app, values, method=request.method.upper(), path=path, query={}, headers={})
    pairs = {name: value for name, value in fill(request.query, scope).items() if value is not None}
    url = built.url + (("&" if "?" in built.url else "?") + urlencode(_texts(pairs)) if pairs else "")
    body = write_payload(fill(request.body, scope)).encode() if _has_body(request) else None
    own = {**built.headers, "Idempotency-Key": key, **({"Content-Type": "application/json"} if body else {})}
    return _built(request, url, scope, own, body)


def _built(
    request: RequestStep, url: str, scope: Mapping[str, Any], own: Mapping[str, str], body: bytes | None
) -> Request:
    asked = {name: str(value) for name, value in fill(request.headers, scope).items() if value is not None}
    kept = {name.lower() for name in own} | {"host", "content-length", "transfer-encoding", "connection"}
    headers = {name: value for name, value in asked.items() if name.lower() not in kept}
    try:
        return Request(request.method.upper(), url, {**headers, **own}, body)
    except ValueError as problem:
        raise _CannotSend(f"This can’t be sent: {problem}.") from None


def _as_input(request: Request) -> dict[str, Any]:
    body = request.body.decode() if request.body else None
    try:
        shown: Any = json.loads(body) if body else None
    except ValueError:
        shown = body
    return {"method": request.method, "url": request.url, "headers": dict(request.headers), "body": shown}


def silence_of(silence: NoAnswer) -> Failed | TryAgain:
    """What it means for a step that no answer came."""
    host, problem = silence.host, silence.problem
    if problem is Problem.busy:
        return TryAgain(f"Many calls to {host} are under way.", wait=timedelta(seconds=1), is_try=False)
    sentence = {
        Problem.no_such_host: f"There is no server called {host}.",
        Problem.refused: f"{host} refused the connection.",
        Problem.tls: f"{host} has no valid security certificate, so nothing was sent.",
        Problem.timeout: f"{host} took more than {CEILING:.0f} seconds to answer.",
        Problem.private_address: f"{host} is an address inside a private network.",
        Problem.plain_http: f"The address of {host} begins with http://, which isn’t secure.",
        Problem.too_large: f"{host} answered with more than {LARGEST_VALUE // 1000} kB.",
        Problem.broken: f"{host} broke off in the middle of its answer.",
    }[problem]
    return Failed(sentence) if problem in _HOPELESS else TryAgain(sentence)


def judge(answer: Answer, host: str, app: App | None, now: datetime) -> Done | Failed | TryAgain | Refused:
    """What an answer means for a step; `app` where it was asked with a user's credential."""
    output = {"status": answer.status, "body": _body(answer)}
    if 200 <= answer.status < 300:
        return Done(output, is_action=True)
    sentence = f"{host} answered {answer.status}."
    if answer.status in (401, 403) and app is not None:
        return Refused(app.name, f"{app.title} no longer accepts the credential (it answered {answer.status}).", output)
    if answer.status in _WAITS or (answer.status == 503 and answer.headers.get("Retry-After")):
        wait = read_retry_after(answer.headers, now)
        if wait is None and answer.status != 429:
            return TryAgain(sentence, output=output)
        return TryAgain(sentence, wait=min(wait or WAIT_WHEN_ASKED, LONGEST_WAIT), output=output)
    if answer.status >= 500:
        return TryAgain(sentence, output=output)
    return Failed(sentence, output)


def _body(answer: Answer) -> Any:
    if not answer.body or answer.is_cut:
        return None
    text = answer.body.decode("utf-8", "replace").replace("\0", "\ufffd")
    try:
        read = answer.json()
    except NotJSON:
        return text
    return text if is_too_deep(read) else read
