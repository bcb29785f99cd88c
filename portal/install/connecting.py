"""Connecting: testing what the sections hold against the providers, keeping what passed, finishing the link.

Providers are asked outside any transaction; what came of it is kept in one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy.orm import Session

from portal.catalogue import Catalogue, HostNotAllowed
from portal.credentials.models import Credential
from portal.credentials.rules import (
    ConnectionFailed,
    Tested,
    keep_tested,
    note_tested,
    open_values,
    test_connection,
)
from portal.http import Outbound, Problem
from portal.install.sections import Section, is_fresh
from portal.keys.ring import KeyRing, SealBroken
from portal.languages import sentence
from portal.links.models import Link
from portal.links.rules import note_failure, note_mistyped


@dataclass(frozen=True)
class Means:
    """What connecting needs besides the database."""

    outbound: Outbound
    keys: KeyRing
    catalogue: Catalogue


@dataclass
class Trial:
    """One section's values on their way to their provider, and what came back."""

    section: Section
    values: Mapping[str, str]
    existing: Credential | None = None  # one of the user's own, tested again
    tested: Tested | None = None
    failure: ConnectionFailed | None = None


def prepare(sections: Sequence[Section], means: Means, now: datetime, *, only_filled: bool) -> list[Trial]:
    """Validate what was typed or picked in `sections` and say what has to be tested.

    Problems of fields land in the sections. `only_filled` leaves half-filled forms alone: they are for later.
    """
    trials = []
    for section in sections:
        picked = _picked(section)
        if picked is not None:
            section.connect(picked)
            if not picked.is_draft and not is_fresh(picked, now):
                trials += _retrial(section, picked, means)
        elif (section.form.is_filled or not only_filled) and section.form.validate():
            trials.append(Trial(section, section.form.values))
    return trials


def _picked(section: Section) -> Credential | None:
    """The credential that the section stands on, when nothing new is to be typed."""
    if section.chosen and section.chosen != "new":
        return next((c for c in section.offered if c.id == section.chosen), None)
    return section.credential if section.is_connected else None


def _retrial(section: Section, credential: Credential, means: Means) -> list[Trial]:
    try:
        return [Trial(section, open_values(means.keys, credential), existing=credential)]
    except SealBroken:
        section.fail(sentence("These credentials can’t be used any more. Please type them again."), None)
        return []


def keep_mistyped(session: Session, link: Link, sections: Sequence[Section], now: datetime) -> None:
    """Note the first field of each section for which its provider can't be asked: there, too, people give up."""
    for section in sections:
        wrong = next((field for field in section.form if field.errors), None)
        if wrong is not None:
            note_mistyped(
                session,
                link,
                app=section.app.name,
                field=wrong.short_name,
                title=wrong.label.text,
                message=wrong.errors[0],
                now=now,
            )


def run(trials: Sequence[Trial], means: Means) -> None:
    """Ask the providers, all at once; each trial then has its result."""

    def ask(trial: Trial) -> None:
        app = trial.section.app
        try:
            trial.tested = test_connection(means.outbound, app, trial.values)
        except ConnectionFailed as failure:
            trial.failure = failure
        except HostNotAllowed as refusal:
            message = sentence(
                "{title} can’t be reached at this address: {reason}.", title=app.title, reason=refusal.reason
            )
            address = next((f.name for f in app.fields if f.is_address), None)
            trial.failure = ConnectionFailed(app, Problem.private_address, message, address)

    if len(trials) == 1:
        ask(trials[0])
    elif trials:
        with ThreadPoolExecutor(len(trials)) as threads:
            list(threads.map(ask, trials))


def keep(
    session: Session,
    link: Link,
    trials: Sequence[Trial],
    means: Means,
    now: datetime,
    *,
    count_failures: bool = True,
) -> None:
    """Keep what passed as drafts, note what failed, and bring the sections up to date."""
    for trial in trials:
        if trial.failure is not None:
            _keep_failure(session, link, trial, trial.failure, now, count_failures)
        elif trial.tested is not None and trial.existing is not None:
            note_tested(session, trial.existing.id, trial.tested.account, now)
        elif trial.tested is not None:
            draft = keep_tested(
                session,
                means.keys,
                trial.tested,
                environment=link.environment,
                user_id=link.user_id,
                link_id=link.id,
                now=now,
            )
            trial.section.connect(draft)


def _keep_failure(
    session: Session, link: Link, trial: Trial, failure: ConnectionFailed, now: datetime, is_counted: bool
) -> None:
    trial.section.fail(failure.message, None if trial.existing else failure.field)
    if is_counted and failure.reason is not Problem.busy:  # being turned away by our own bulkhead is nobody's try
        note_failure(
            session,
            link,
            app=trial.section.app.name,
            field=failure.field,
            title=next((f.title for f in trial.section.app.fields if f.name == failure.field), None),
            reason=str(failure.reason),
            message=failure.message,
            now=now,
        )
