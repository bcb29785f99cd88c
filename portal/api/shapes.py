"""What the shapes of the API have in common. Each resource's own shapes stand beside its views."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, PlainSerializer, StringConstraints
from pydantic.alias_generators import to_camel

# An id or a name of something. PostgreSQL's text has no zero character.
Ref = Annotated[str, StringConstraints(min_length=1, max_length=255, pattern=r"^[^\x00]*$")]
Moment = Annotated[
    datetime,
    PlainSerializer(lambda at: at.strftime("%Y-%m-%dT%H:%M:%S.") + f"{at.microsecond // 1000:03d}Z", return_type=str),
]


def optional(description: str = "") -> Any:
    """A field that is left out of the reply when there is nothing to say."""
    return Field(default=None, description=description or None, exclude_if=lambda value: value is None)


class Body(BaseModel):
    """What a call sends. Names are camelCase on the wire; unknown ones are left alone, as the clients send some."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, strict=True, extra="ignore")


def either(*names: str) -> ConfigDict:
    """Configuration of a body that has to have one of these fields."""
    return ConfigDict(json_schema_extra={"anyOf": [{"required": [name]} for name in names]})


class Query(BaseModel):
    """What stands behind the question mark."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, extra="ignore")


class Reply(BaseModel):
    """What a call is answered."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True)


class Problem(Reply):
    """Every error: one sentence or two that say what happened and what to do."""

    message: str


class Message(Reply):
    """A plain confirmation."""

    message: str


class Success(Reply):
    """A plain confirmation."""

    success: bool = True


class UserQuery(Query):
    """For whom; calls with a user token leave it out."""

    user_id: Ref | None = None


class OfUser(Query):
    """For whom, where only a backend with its key may ask."""

    user_id: Ref


class PageQuery(Query):
    """Which part of a list."""

    limit: Annotated[int, Field(ge=1, le=1000)] = 100
    cursor: Annotated[str, StringConstraints(min_length=1, max_length=200)] | None = None
