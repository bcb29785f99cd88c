"""Where events go: which endpoints there are, what each takes, and how they are changed."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime
from functools import cache
from urllib.parse import urlsplit

import sqlalchemy as sa
from sqlalchemy.orm import Session

from portal.db import settings_of
from portal.environments import Environment
from portal.events.errors import BadEndpoint, EndpointStays, UnknownEndpoint
from portal.events.kinds import KINDS
from portal.events.models import Delivery, DeliveryState, Endpoint
from portal.ids import new_id

MOST = 50  # in an environment: each event is stored once, but delivered to each of them
LONGEST_NAME = 120


def all_endpoints(session: Session) -> list[Endpoint]:
    """Every endpoint of the session's environment, the documented one first."""
    return sorted(
        session.scalars(sa.select(Endpoint).order_by(Endpoint.created_at, Endpoint.id)),
        key=lambda one: not one.is_documented,
    )


def find_endpoint(session: Session, endpoint_id: str) -> Endpoint:
    """The endpoint with this id. Raises `UnknownEndpoint`."""
    endpoint = session.get(Endpoint, endpoint_id)
    if endpoint is None:
        raise UnknownEndpoint(endpoint_id)
    return endpoint


def address_of(session: Session, endpoint: Endpoint) -> str:
    """Where it is reached; empty while the documented one has no setting."""
    return settings_of(session).installation_webhook_url if endpoint.url is None else endpoint.url


def is_listening(session: Session, endpoint: Endpoint | None) -> bool:
    """Whether something can be delivered to it now."""
    return endpoint is not None and endpoint.is_enabled and bool(address_of(session, endpoint))


def subscribers(session: Session, kind: str, environment: Environment) -> list[Endpoint]:
    """The endpoints that take events of this kind now."""
    known = session.scalars(_of_environment(), {"in": environment})
    return [one for one in known if kind in one.kinds and is_listening(session, one)]


@cache
def _of_environment() -> sa.Select[Endpoint]:
    # Built once: it is asked whenever something happens.
    own = Endpoint.environment == sa.bindparam("in", type_=Endpoint.environment.type)
    return sa.select(Endpoint).where(own).order_by(Endpoint.created_at, Endpoint.id)


def add_endpoint(session: Session, *, name: str, url: str, kinds: Sequence[str], now: datetime) -> Endpoint:
    """Make an endpoint in the session's environment. Raises `BadEndpoint`."""
    if (session.scalar(sa.select(sa.func.count()).select_from(Endpoint)) or 0) >= MOST:
        raise BadEndpoint(f"There are {MOST} endpoints already. Remove one that isn’t needed first.")
    endpoint = Endpoint(
        id=new_id(),
        name=_require_name(name),
        url=_require_address(url),
        kinds=_require_kinds(kinds),
        is_enabled=True,
        created_at=now,
    )
    session.add(endpoint)
    session.flush()
    return endpoint


def choose_kinds(session: Session, endpoint: Endpoint, kinds: Sequence[str]) -> None:
    """Let it take these kinds from now on. Raises `BadEndpoint`."""
    endpoint.kinds = _require_kinds(kinds)
    session.flush()


def pause_endpoint(session: Session, endpoint: Endpoint, now: datetime) -> int:
    """Send it nothing any more until it is resumed; how many deliveries that waited were given up for that."""
    endpoint.is_enabled = False
    session.flush()
    return _give_up_what_waits(session, endpoint, now)


def resume_endpoint(session: Session, endpoint: Endpoint) -> None:
    """Send it what happens from now on."""
    endpoint.is_enabled = True
    session.flush()


def remove_endpoint(session: Session, endpoint: Endpoint, now: datetime) -> None:
    """Forget it; what waits for it is given up, and what was delivered stays on record. Raises `EndpointStays`."""
    if endpoint.is_documented:
        raise EndpointStays
    _give_up_what_waits(session, endpoint, now)
    session.execute(sa.delete(Endpoint).where(Endpoint.id == endpoint.id).execution_options(synchronize_session=False))
    session.expunge(endpoint)


def _give_up_what_waits(session: Session, endpoint: Endpoint, now: datetime) -> int:
    ended = session.execute(
        sa.update(Delivery)
        .where(Delivery.endpoint_id == endpoint.id, Delivery.state == DeliveryState.pending)
        .values(state=DeliveryState.given_up, ended_at=now, next_attempt_at=None)
        .execution_options(synchronize_session=False)
    )
    return int(ended.rowcount)  # type: ignore[attr-defined]


def _require_name(given: str) -> str:
    name = given.strip()
    if not name or len(name) > LONGEST_NAME or not name.isprintable():
        raise BadEndpoint(f"A name has 1 to {LONGEST_NAME} visible characters; say who takes the events.")
    return name


def _require_kinds(given: Sequence[str]) -> list[str]:
    if set(given) - set(KINDS):
        raise BadEndpoint("There is no such kind of event. Reload the page, and choose again.", "kind")
    return [kind for kind in KINDS if kind in given]


def _require_address(given: str) -> str:
    # Operators may choose private addresses; what could hide another host or a password in the address is refused.
    url = given.strip()
    try:
        parts = urlsplit(url)
        is_whole = parts.scheme in ("https", "http") and bool(parts.hostname) and (parts.port is None or parts.port > 0)
    except ValueError:
        is_whole = False
    if not is_whole or len(url) > 2000 or re.search(r"[\s<>\"\\\x00-\x20\x7f]", url) or not url.isprintable():
        raise BadEndpoint(
            "Type the whole address, beginning with https:// (or http:// inside your own network).", "url"
        )
    if "@" in parts.netloc:
        raise BadEndpoint("An address can’t hold a name or password: the signatures prove who sends.", "url")
    if parts.fragment:
        raise BadEndpoint("Leave out what follows the “#”: it never reaches a server.", "url")
    return url
