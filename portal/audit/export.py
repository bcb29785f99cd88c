"""The log as a file: CSV for spreadsheets, JSON lines for programs. Long work, batch by batch."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Session

from portal.audit.models import AuditEntry
from portal.audit.rules import Filter, entries_after
from portal.refusals import Refusal
from portal.tasks.models import Task
from portal.tasks.rules import File, add_part, long_work, start_task

EXPORT = "audit.export"
BATCH = 1000
HEADS = ("at", "actor", "action", "subject", "environment", "details", "id")
# What a spreadsheet takes for the beginning of a formula (OWASP, CSV injection), also behind white space.
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "|", "＝", "＋", "－", "＠")


def _as_csv(rows: Sequence[AuditEntry]) -> str:
    # A cell that a spreadsheet would calculate begins with an apostrophe.
    return _lines([_harmless(cell) for cell in _cells(row)] for row in rows)


def _as_json_lines(rows: Sequence[AuditEntry]) -> str:
    return "".join(f"{json.dumps(_facts(row), ensure_ascii=False)}\n" for row in rows)


@dataclass(frozen=True)
class Format:
    """How entries are written, and what stands before the first."""

    title: str
    content_type: str
    write: Callable[[Sequence[AuditEntry]], str]
    head: str = ""


def _lines(rows: Iterable[Sequence[str]]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\r\n").writerows(rows)
    return text.getvalue()


_MARK = "\ufeff"  # without it, spreadsheets take letters that aren't English for others
FORMATS = {
    "csv": Format("CSV", "text/csv; charset=utf-8", _as_csv, _MARK + _lines([HEADS])),
    "jsonl": Format("JSON lines", "application/jsonl; charset=utf-8", _as_json_lines),
}


class UnknownFormat(Refusal):
    """Neither CSV nor JSON lines."""

    title = "There is no such kind of file"

    def message(self) -> str:
        return "The audit log is exported as CSV or as JSON lines: go back, and press one of the two buttons."


def start_export(session: Session, wanted: Filter, kind: str, *, asked_by: str, now: datetime) -> Task:
    """Write what is wanted, as it stands now, into a file in the background. Raises `UnknownFormat`, `BadMoment`."""
    if kind not in FORMATS:
        raise UnknownFormat
    wanted.select()  # a wrong day is said at once, not by work that fails
    file = File(f"audit-log-{now:%Y-%m-%d}.{kind}", FORMATS[kind].content_type)
    return start_task(
        session,
        EXPORT,
        title=f"Audit log as {FORMATS[kind].title}",
        asked_by=asked_by,
        now=now,
        params={"filter": asdict(wanted), "format": kind},
        file=file,
    )


@long_work(EXPORT, needs="admin")
def export_batch(session: Session, task: Task, now: datetime) -> bool:
    """The next entries, oldest first. Nothing is missed: the log only grows at its end."""
    form = FORMATS[task.params["format"]]
    wanted = Filter(**task.params["filter"]).select().where(AuditEntry.at <= task.created_at)
    if task.total is None:
        task.total = session.scalar(sa.select(sa.func.count()).select_from(wanted.subquery())) or 0
    cursor = task.cursor
    place = (datetime.fromisoformat(cursor["at"]), str(cursor["id"])) if cursor else None
    rows = entries_after(session, wanted, place, BATCH)
    add_part(session, task, ("" if cursor else form.head) + form.write(rows))
    task.done += len(rows)
    if rows:
        task.cursor = {"at": rows[-1].at.isoformat(), "id": rows[-1].id}
    return len(rows) == BATCH


def _facts(row: AuditEntry) -> dict[str, Any]:
    return {
        "at": row.at.isoformat(timespec="milliseconds"),
        "actor": row.actor,
        "action": row.action,
        "subject": row.subject,
        "environment": row.environment and str(row.environment),
        "details": row.details,
        "id": row.id,
    }


def _cells(row: AuditEntry) -> list[str]:
    facts = _facts(row)
    facts["details"] = json.dumps(row.details, ensure_ascii=False) if row.details else ""
    return [str(facts[head] or "") for head in HEADS]


def _harmless(cell: str) -> str:
    return f"'{cell}" if cell.lstrip(" \u00a0").startswith(_FORMULA) else cell
