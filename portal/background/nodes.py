"""Nodes on one database: a name for each, a sign of life, and what becomes of the work of one that died."""

from __future__ import annotations

import fcntl
import hashlib
import threading
import time
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import IO, Any

import sqlalchemy as sa
import structlog
from dbos import DBOS
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.orm import Session
from sqlalchemy.sql.functions import FunctionElement

from portal import db
from portal.background.looking import working_nodes
from portal.background.models import Node
from portal.background.work import continuous
from portal.db import Moment, insert_new, transaction
from portal.faults import note
from portal.ids import new_id
from portal.settings import MissingSetting, Settings

log = structlog.get_logger(__name__)

BEAT = 10.0  # seconds between two signs of life
LOOK = 3  # of them between two looks for work that a dead node left
DEAD = timedelta(seconds=90)  # without a sign: its work is taken up
RECENT = timedelta(seconds=60)  # within which a sign of another start means that this one lives
PATIENCE = 5.0  # seconds for a process that is just being replaced to end

ONE_HERE = (
    "A process that runs from this data folder is the node “{name}” already. Stop it, or give this one a"
    " PORTAL_EXECUTOR_ID of its own. For a server beside `flask worker`, set PORTAL_ENGINE=false."
)
ONE_ELSEWHERE = (
    "Another process on this database is the node “{name}”: it was seen {seconds:.0f} seconds ago. Give this one a"
    " PORTAL_EXECUTOR_ID of its own; if that one was killed just now, start this one again in a minute."
)
NO_TABLE = "The database lacks tables of this version: run `.venv/bin/flask database upgrade`, then start again."


class _Clock(FunctionElement[datetime]):
    """This very moment, as the database's clock shows it: nodes needn't agree on theirs."""

    type = Moment()
    inherit_cache = True


@compiles(_Clock, "sqlite")
def _on_sqlite(*_: Any, **__: Any) -> str:
    return "strftime('%Y-%m-%d %H:%M:%f', 'now')"


@compiles(_Clock, "postgresql")
def _on_postgresql(*_: Any, **__: Any) -> str:
    return "clock_timestamp()"


@dataclass(frozen=True)
class _Held:
    name: str
    boot: str
    lock: IO[str] | None


_held: list[_Held] = []


def take_name(settings: Settings) -> None:
    """Become the node that the settings name. Raises `MissingSetting` when another process that lives has the name.

    A process that was killed is known to be dead at once by who runs from the same data folder, because the system
    gave its lock back; elsewhere, only by its silence.
    """
    if not sa.inspect(db.engine()).has_table(Node.__tablename__):
        raise MissingSetting(NO_TABLE)
    name = settings.executor_id
    lock, place = _lock_place(settings)
    boot = f"{place}.{new_id()}"
    try:
        with transaction() as session:
            _replace(session, name, boot, place)
    except BaseException:
        if lock is not None:
            lock.close()
        raise
    _held.append(_Held(name, boot, lock))


def _replace(session: Session, name: str, boot: str, place: str) -> None:
    row, at = session.get(Node, name, with_for_update=True), _now(session)
    if row is not None:
        silent = at - row.seen_at
        if row.boot.partition(".")[0] != place and silent < RECENT:
            raise MissingSetting(ONE_ELSEWHERE.format(name=name, seconds=max(silent.total_seconds(), 0)))
        session.delete(row)
        session.flush()
    if not insert_new(session, Node, {"executor_id": name, "boot": boot, "seen_at": _Clock()}):
        raise MissingSetting(ONE_ELSEWHERE.format(name=name, seconds=0))


def _now(session: Session) -> datetime:
    return session.scalars(sa.select(_Clock())).one()


def _lock_place(settings: Settings) -> tuple[IO[str] | None, str]:
    """(a lock that the system gives back whatever ends this process, the mark of the data folder)."""
    name = hashlib.sha256(settings.executor_id.encode()).hexdigest()[:12]
    try:
        file = (settings.instance / f"node-{name}.lock").open("a+")
    except OSError:  # a folder that can't be written: then signs of life alone tell
        return None, new_id()
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > deadline:
                file.close()
                raise MissingSetting(ONE_HERE.format(name=settings.executor_id)) from None
            time.sleep(0.1)
        except OSError:  # a file system without locks
            file.close()
            return None, new_id()
        else:
            return file, _mark(file)


def _mark(file: IO[str]) -> str:
    file.seek(0)
    mark = file.read().strip()
    if not mark:
        mark = new_id()
        file.write(mark)
        file.flush()
    return mark[:24]


def give_name_up() -> None:
    """Be no node any more; whatever is still under way may be taken up by others."""
    while _held:
        held = _held.pop()
        try:
            with transaction() as session:
                session.execute(sa.delete(Node).where(Node.executor_id == held.name, Node.boot == held.boot))
        except Exception as error:  # it will be known by its silence
            note(error)
        finally:
            if held.lock is not None:
                held.lock.close()


@continuous
def stay_known(ended: threading.Event) -> None:
    """Give signs of life, and take up the work of nodes that give none.

    Only a node whose own signs arrived looks at those of others: after a fault of the database everybody has been
    silent, and is given the time to be heard again.
    """
    signs = 0
    while not ended.wait(BEAT):
        try:
            give_sign()
            signs += 1
            if signs % LOOK == 0:
                take_up_orphans()
        except Exception as error:
            note(error)
            signs = 0


def give_sign() -> None:
    """Write down that this node lives."""
    held = _held[-1]
    own = sa.update(Node).where(Node.executor_id == held.name, Node.boot == held.boot).values(seen_at=_Clock())
    with transaction() as session:
        if session.execute(own.returning(Node.boot)).first() is not None:
            return
        if not insert_new(session, Node, {"executor_id": held.name, "boot": held.boot, "seen_at": _Clock()}):
            log.error("another process has taken this node's name: give each its own", node=held.name)


def take_up_orphans() -> set[str]:
    """Enqueue again what nodes had begun that aren't seen any more; the names of these.

    Whose work it is, is read from the work itself, so that nothing is forgotten when the node that takes it up dies
    as well. Two that do it at once don't harm: each piece of work changes hands once.
    """
    with transaction() as session:
        known = set(session.scalars(sa.select(Node.executor_id).where(Node.seen_at > _now(session) - DEAD)))
    orphans = working_nodes() - known - {held.name for held in _held}
    if orphans:
        log.warning("taking up the work of nodes that are gone", nodes=sorted(orphans))
        DBOS._recover_pending_workflows(sorted(orphans))
    return orphans


def forget_dead_nodes() -> None:
    """Delete the rows of nodes that haven't been seen for a day; their work has long been taken up."""
    with transaction() as session:
        session.execute(sa.delete(Node).where(Node.seen_at < _now(session) - timedelta(days=1)))
