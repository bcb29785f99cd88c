"""The log as a file: CSV for spreadsheets, JSON lines for programs."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from portal.audit.models import AuditEntry

HEADS = ("at", "actor", "action", "subject", "environment", "details", "id")
# What a spreadsheet takes for the beginning of a formula (OWASP, CSV injection), also behind white space.
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "|", "＝", "＋", "－", "＠")

Pages = Iterable[Sequence[AuditEntry]]


def as_csv(pages: Pages) -> Iterator[str]:
    """A table with a head; a cell that a spreadsheet would calculate begins with an apostrophe."""
    yield _lines([HEADS])
    for rows in pages:
        yield _lines([_harmless(cell) for cell in _cells(row)] for row in rows)


def as_json_lines(pages: Pages) -> Iterator[str]:
    """One JSON object a line."""
    for rows in pages:
        yield "".join(f"{json.dumps(_facts(row), ensure_ascii=False)}\n" for row in rows)


FORMATS: dict[str, tuple[str, Callable[[Pages], Iterator[str]]]] = {
    "csv": ("text/csv; charset=utf-8", as_csv),
    "jsonl": ("application/jsonl; charset=utf-8", as_json_lines),
}


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


def _lines(rows: Iterable[Sequence[str]]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\r\n").writerows(rows)
    return text.getvalue()
