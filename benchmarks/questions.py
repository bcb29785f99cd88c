"""What is asked of the dashboard's lists, for measuring and for counting; and what a list offers that nobody asks."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from urllib.parse import parse_qs

from flask import Flask

# A list, and what of it is asked for. What nothing meets is asked for as well: then the most has to be left out.
# {integration} and {workflow} are the ids of those that everything is of, {first} a user with very many links and runs.
QUESTIONS = {
    "links": (
        "order=soonest",
        "order=latest",
        "state=finished",
        "state=opened",
        "state=revoked",
        "state=asked",
        "integration={integration}",
        "integration={integration}&state=created",
        "integration=none",
        "user=user00",
        "user=user00&state=opened&order=oldest",
        "user={first}",
        "user={first}&state=revoked",
        "user={first}&integration=none",
        "user=nobody",
    ),
    "users": ("order=oldest", "order=a-z", "order=z-a", "user=user0", "user=nobody"),
    "installations": (
        "order=oldest",
        "state=stopped",
        "integration={integration}",
        "integration={integration}&state=stopped",
        "integration=none&state=running",
        "user=user00",
        "user={first}&integration=none",
    ),
    "runs": (
        "order=oldest",
        "state=failed",
        "state=cancelled",
        "workflow={workflow}&state=failed",
        "workflow={workflow}&state=cancelled",
        "workflow=none",
        "since=2999-01-01T00:00",
        "user=user00",
        "user=user00&state=failed&order=oldest",
        "user={first}",
        "user={first}&state=cancelled",
        "user={first}&workflow=none",
        "user={first}&workflow={workflow}&state=cancelled",
    ),
    "events": (
        "order=oldest",
        "kind=link.opened",
        "kind=link.failed",
        "state=delivered",
        "state=given_up&order=oldest",
        "state=pending",
        "state=delivered&kind=link.opened",
        "state=delivered&kind=link.failed",
        "endpoint=documented-production",
        "endpoint=documented-production&kind=link.failed",
        "endpoint=documented-production&state=pending",
        "endpoint=documented-production&state=delivered&kind=link.failed",
        "endpoint=none&state=delivered",
    ),
    "audit": (
        "order=oldest",
        "actor=operator3@bench.example",
        "actor=nobody",
        "action=link.create",
        "action=link.create&actor=operator3@bench.example",
        "action=link.create&actor=nobody",
        "action=nothing&actor=operator3@bench.example",
        "since=2999-01-01&actor=operator3@bench.example",
        "until=2000-01-01&actor=operator3@bench.example",
    ),
    "integrations": ("order=z-a",),
    "api-keys": ("order=a-z", "state=in_use", "state=revoked&order=oldest"),
    "tasks": ("order=oldest",),
    "endpoints": ("order=newest", "order=a-z"),
    "sessions": ("order=oldest",),
}


def pages(app: Flask) -> list[str]:
    """The addresses below /dashboard that can be opened, with what they name in braces: the whole address map."""
    rules = [rule for rule in app.url_map.iter_rules() if rule.endpoint.startswith("dashboard.")]
    paths = [rule.rule.removeprefix("/dashboard").lstrip("/") for rule in rules if "GET" in (rule.methods or ())]
    return sorted(re.sub(r"<(\w+)>", r"{\1}", path) for path in paths)


def unasked(page: str, ask: Callable[[str], tuple[int, str]]) -> Iterator[str]:
    """The list at this address, a filter or an order of it, where no question asks for it.

    `ask` gives the status and the text at an address. What is no list takes any cursor.
    """
    status, text = ask(f"{page}?cursor=none")
    if status != 404 or "There is no page at this cursor" not in text:
        return
    if page not in QUESTIONS:
        yield page
        return
    text = ask(page)[1]
    asked = [parse_qs(question) for question in QUESTIONS[page]]
    form = re.search(r'(?s)<form method="get".*?</form>', text)
    filters = re.findall(r'<(?:select|input)[^>]* name="(\w+)"', form[0]) if form else []
    yield from (f"{page}?{name}=" for name in filters if name != "order" and not any(name in one for one in asked))
    orders = set(re.findall(r'href="[^"]*[?;&]order=([\w-]+)', text))
    known = {order for one in asked for order in one.get("order", ())}
    yield from (f"{page}?order={order}" for order in sorted(orders - known))
