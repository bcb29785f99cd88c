"""What a published version says, typed: its trigger, its steps, its fields. Limits are declared here."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Annotated, Any, Literal, Self
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from croniter import CroniterBadDateError, croniter
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints, model_validator

from portal.catalogue.parts import Duration, Slug
from portal.workflows.fields import ConfigurableField, Name

MOST_STEPS = 50  # in a list
DEEPEST_LOOPS = 2
MOST_ITERATIONS = 1000
LARGEST_VALUE = 256_000  # bytes of JSON of a trigger item, and of what one step gives
LARGEST_MEMORY = 1_000_000  # bytes of JSON of all that a run remembers
LONGEST_DELAY = timedelta(days=30)
_SOME_DAY = datetime(2000, 1, 1, tzinfo=UTC)
SHORTEST_POLL, LONGEST_POLL = timedelta(seconds=1), timedelta(days=1)

Methods = Literal["get", "post", "put", "patch", "delete"]
METHODS: tuple[Methods, ...] = ("get", "post", "put", "patch", "delete")


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)


def _require_cron(text: str) -> str:
    if len(text.split()) != 5 or not croniter.is_valid(text):
        raise ValueError(f"“{text}” is not a cron line: write five parts, such as `0 * * * *` for every hour")
    return text


def comes_ever(schedule: str) -> bool:
    """Whether there is a day that a cron line names: there is no 30 February."""
    try:
        croniter(schedule, _SOME_DAY).get_next(datetime)
    except CroniterBadDateError:
        return False
    return True


def _require_zone(text: str) -> str:
    try:
        ZoneInfo(text)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ValueError(f"“{text}” is no time zone: write one such as Europe/Berlin") from None
    return text


def _require_short_delay(length: timedelta) -> timedelta:
    if not timedelta(0) < length <= LONGEST_DELAY:
        raise ValueError(f"a delay takes from a second to {LONGEST_DELAY.days} days")
    return length


def _require_pace(length: timedelta) -> timedelta:
    if not SHORTEST_POLL <= length <= LONGEST_POLL:
        raise ValueError("`every` takes from 1s to 1d")
    return length


class Trigger(_Part):
    """What a run begins with: exactly one of its kinds."""

    poll: Slug | None = None
    webhook: Slug | None = None
    event: Annotated[str, StringConstraints(min_length=1, max_length=120)] | None = None
    manual: Literal[True] | None = None
    schedule: Annotated[str, StringConstraints(max_length=200), AfterValidator(_require_cron)] | None = None
    installation: Literal[True] | None = None
    app: Slug | None = None
    every: Annotated[Duration, AfterValidator(_require_pace)] = timedelta(minutes=1)
    time_zone: Annotated[str, AfterValidator(_require_zone)] = "UTC"

    @model_validator(mode="after")
    def _one_kind(self) -> Self:
        if len(self.kinds) != 1:
            raise ValueError(f"say exactly one of {', '.join(KINDS)}")
        return self

    @property
    def kinds(self) -> list[str]:
        """The kinds that are said."""
        return [kind for kind in KINDS if getattr(self, kind) is not None]

    @property
    def kind(self) -> str:
        """The one kind."""
        return self.kinds[0]

    @property
    def name(self) -> str:
        """What the app calls it, for polls and webhooks."""
        return self.poll or self.webhook or ""


KINDS = ("poll", "webhook", "event", "manual", "schedule", "installation")


class RequestStep(_Part):
    """An HTTP call: to the vendor's own address, or (with the step's `app`) to a path of the app."""

    get: str | None = None
    post: str | None = None
    put: str | None = None
    patch: str | None = None
    delete: str | None = None
    query: dict[str, Any] = Field(default_factory=dict)
    headers: dict[str, str] = Field(default_factory=dict)
    body: Any = None

    @model_validator(mode="after")
    def _one_method(self) -> Self:
        if sum(getattr(self, method) is not None for method in METHODS) != 1:
            raise ValueError(f"say exactly one of {', '.join(METHODS)}, with an address")
        return self

    @property
    def method(self) -> Methods:
        """Which of them."""
        return next(method for method in METHODS if getattr(self, method) is not None)

    @property
    def address(self) -> str:
        """The address or path, with its expressions."""
        return str(getattr(self, self.method))


class ForEach(_Part):
    """The same steps for each item of a list; `item` and `index` are known in them."""

    in_: Any = Field(alias="in")
    most: int = Field(100, ge=1, le=MOST_ITERATIONS)
    steps: Annotated[tuple[Step, ...], Field(min_length=1, max_length=MOST_STEPS)]


class Step(_Part):
    """One step: exactly one of its kinds. `key` is its name in expressions."""

    name: Name | None = None
    app: Slug | None = None
    request: RequestStep | None = None
    map: dict[str, Any] | None = None
    filter: str | None = None
    for_each: ForEach | None = None
    delay: Annotated[Duration, AfterValidator(_require_short_delay)] | None = None

    @model_validator(mode="after")
    def _one_kind(self) -> Self:
        if sum(getattr(self, kind) is not None for kind in STEP_KINDS) != 1:
            raise ValueError(f"say exactly one of {', '.join(STEP_KINDS)}")
        if self.app and self.request is None:
            raise ValueError("`app` goes with `request`, and only with it")
        return self

    @property
    def kind(self) -> str:
        """Which kind it is."""
        return next(kind for kind in STEP_KINDS if getattr(self, kind) is not None)


STEP_KINDS = ("request", "map", "filter", "for_each", "delay")
ForEach.model_rebuild()


class Definition(_Part):
    """A whole version."""

    trigger: Trigger
    steps: Annotated[tuple[Step, ...], Field(max_length=MOST_STEPS)] = ()
    fields: tuple[ConfigurableField, ...] = ()


@lru_cache(maxsize=512)
def _read(text: str) -> Definition:
    return Definition.model_validate_json(text)


def read_definition(data: Mapping[str, Any]) -> Definition:
    """A stored version, typed."""
    import json

    return _read(json.dumps(data))


def key_of(step: Step, number: int) -> str:
    """The name of a step in expressions: its name in small letters, with _ for all else."""
    return re.sub(r"[^a-z0-9]+", "_", (step.name or f"step {number}").lower()).strip("_") or f"step_{number}"


def title_of(step: Step, number: int) -> str:
    """What people call a step."""
    return step.name or f"Step {number}"


Path = tuple[int, ...]


def walk(steps: tuple[Step, ...], above: Path = ()) -> Iterator[tuple[Path, Step]]:
    """Every step with its place: (2,) is the third, (2, 0) the first of those that the third one repeats."""
    for number, step in enumerate(steps):
        yield (*above, number), step
        if step.for_each:
            yield from walk(step.for_each.steps, (*above, number))
