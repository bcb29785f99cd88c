"""What the models of an app's file are made of: names, lines, paths, expressions."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Any

import jmespath
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, StringConstraints

from portal.durations import parse_duration
from portal.languages import sentence


class Part(BaseModel):
    """A piece of a file: nothing in it is unknown, and nothing changes it."""

    model_config = ConfigDict(extra="forbid", frozen=True)


def _require_expression(text: str) -> str:
    try:
        jmespath.compile(text)
    except jmespath.exceptions.JMESPathError as error:
        raise ValueError(f"is not a JMESPath expression ({str(error).splitlines()[0]})") from None
    return text


def _read_duration(value: Any) -> Any:
    return parse_duration(value) if isinstance(value, str | int) else value


Line = Annotated[
    str, StringConstraints(strip_whitespace=True, min_length=1, max_length=300, pattern=r"^[^\x00-\x1f]+$")
]
# What end users read: where there is a translation, in the language of their page.
Said = Annotated[str, AfterValidator(sentence)]
SaidLine = Annotated[Line, AfterValidator(sentence)]
Slug = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]*$", max_length=64)]
Path = Annotated[str, StringConstraints(pattern=r"^/[^?#\s]*$")]
Expression = Annotated[str, AfterValidator(_require_expression)]
Duration = Annotated[timedelta, BeforeValidator(_read_duration)]
