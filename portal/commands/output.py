"""How commands answer: a table for people, one JSON document for scripts, a sentence and status 1 for a refusal."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Any, NoReturn

import click
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session

from portal.audit.rules import write_down
from portal.clock import now
from portal.environments import Environment
from portal.refusals import Refusal

as_json = click.option("--json", "as_json", is_flag=True, help="Print one JSON document and nothing else.")
in_environment = click.option(
    "--environment",
    type=click.Choice([e.value for e in Environment]),
    default=Environment.production.value,
    show_default=True,
    callback=lambda _context, _option, value: Environment(value),
    help="Which of the two environments.",
)


ACTOR = "command line"


def audit(
    session: Session, action: str, subject: str, environment: Environment | None, **details: str | int | bool | None
) -> None:
    """Write down what a command does, in the transaction that does it."""
    write_down(session, action, subject, actor=ACTOR, environment=environment, now=now(), **details)


def refuse(sentence: str) -> NoReturn:
    """Print the sentence on stderr and end with status 1."""
    click.echo(sentence, err=True)
    raise click.exceptions.Exit(1)


@contextmanager
def plain_refusals() -> Iterator[None]:
    """Turn a refusal inside the block into its sentence and status 1."""
    try:
        yield
    except Refusal as refusal:
        refuse(refusal.message())
    except OperationalError as error:
        if "no such table" in str(error.orig) or "does not exist" in str(error.orig):
            refuse("The database isn't set up yet: run `flask database upgrade` first.")
        refuse("The database doesn't answer just now. Try again in a moment.")


def plainly(command: Callable[..., Any]) -> Callable[..., Any]:
    """Decorate a command so that refusals are sentences."""

    @functools.wraps(command)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        with plain_refusals():
            return command(*args, **kwargs)

    return wrapped


def when(moment: datetime | None) -> str | None:
    """A moment as ISO 8601 in UTC, to the second."""
    return None if moment is None else moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def print_json(document: Any) -> None:
    """Print `document` as JSON."""
    click.echo(json.dumps(document, ensure_ascii=False, indent=2))


def print_rows(rows: Sequence[Mapping[str, Any]], *, as_json: bool, empty: str) -> None:
    """Print rows as one JSON array, or as a table; `empty` says what to do when there are none."""
    if as_json:
        print_json(list(rows))
        return
    if not rows:
        click.echo(empty)
        return
    heads = list(rows[0])
    cells = [[("" if row[head] is None else str(row[head])) for head in heads] for row in rows]
    widths = [max(len(head), *(len(line[i]) for line in cells)) for i, head in enumerate(heads)]
    for line in [heads, *cells]:
        click.echo("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())


def print_facts(facts: Mapping[str, Any], *, as_json: bool) -> None:
    """Print one thing: as a JSON object, or a line for each fact."""
    if as_json:
        print_json(facts)
        return
    for name, value in facts.items():
        click.echo(f"{name}: {'' if value is None else value}")
