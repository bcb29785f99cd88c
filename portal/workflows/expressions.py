"""Values in a workflow file: literals, and `${ JMESPath }` in them. Nothing else is evaluated, and no code ever.

A string that is one `${ … }` becomes whatever the expression gives; in the middle of a text its result is written as
text. `$${` is a plain `${`.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import lru_cache
from typing import Any

import jmespath
from jmespath.functions import Functions

from portal.workflows.sizes import size_of

LONGEST = 1000  # characters of one expression
FURTHEST = 2 * LONGEST  # characters in which the end of an expression is looked for
DEEPEST = 20  # levels of mappings and lists in a value
LARGEST = 1_000_000  # bytes that all expressions of one value may give: over what any step may keep
MOST_TIMES = 200  # that an expression may repeat what it is given


class BadExpression(ValueError):
    """An expression that can't be read; the text is the sentence for whoever wrote it."""


class NoValue(Exception):
    """An expression that can be read, but not applied to the values that came."""


class _TooLarge(Exception):
    """What an expression gives, or what it works with on the way, is beyond `LARGEST`."""


class _Functions(Functions):
    """The functions of JMESPath, which may be asked for something that no memory holds."""

    def call_function(self, function_name: str, resolved_args: Iterable[Any]) -> Any:
        given = list(resolved_args)
        if size_of(given, LARGEST) > LARGEST or (function_name == "join" and _joined(*given) > LARGEST):
            raise _TooLarge
        return super().call_function(function_name, given)


def _joined(separator: Any = "", texts: Any = (), *_: Any) -> int:
    # Other kinds of arguments are the library's to refuse.
    return len(separator) * len(texts) if isinstance(separator, str) and isinstance(texts, list) else 0


_OPTIONS = jmespath.Options(custom_functions=_Functions())


class _Room:
    """How much the expressions of one value may still give."""

    def __init__(self) -> None:
        self._left = LARGEST

    def take(self, value: Any) -> Any:
        """The value, if there is room for it. Raises `_TooLarge`."""
        self._left -= size_of(value, self._left)
        if self._left < 0:
            raise _TooLarge
        return value


Piece = tuple[str, str]  # ("text", …) or ("expression", …)

_OPENING = re.compile(r"\$?\$\{")


@lru_cache(maxsize=4096)
def split(text: str) -> tuple[Piece, ...]:
    """The literal pieces and the expressions of a string, in order. Raises `BadExpression`."""
    pieces: list[Piece] = []
    plain, at = "", 0
    while opening := _OPENING.search(text, at):
        plain += text[at : opening.start()]
        at = opening.end()
        if opening[0] == "$${":
            plain += "${"
            continue
        end = _end(text, at)
        if plain:
            pieces.append(("text", plain))
            plain = ""
        pieces.append(("expression", text[at:end].strip()))
        at = end + 1
    plain += text[at:]
    if plain or not pieces:
        pieces.append(("text", plain))
    for kind, piece in pieces:
        if kind == "expression":
            _compiled(piece)
    return tuple(pieces)


_TOKEN = re.compile(r"""'(?:\\.|[^'\\])*'|"(?:\\.|[^"\\])*"|`(?:\\.|[^`\\])*`|[{}]""", re.S)


def _end(text: str, start: int) -> int:
    """Where the brace stands that closes an expression; braces in quotes and in hashes don't."""
    depth = 1
    # No further than an expression can be long: a quote that is never closed is looked for from each one anew.
    for token in _TOKEN.finditer(text, start, start + FURTHEST):
        depth += {"{": 1, "}": -1}.get(token[0], 0)
        if depth == 0:
            return token.start()
    if len(text) - start > FURTHEST:
        raise BadExpression(
            f"“{text[start : start + 40]}…” is too long: an expression has at most {LONGEST} characters"
        )
    raise BadExpression(f"“{text[:80]}” opens an expression with ${{ and never closes it: add a }}")


@lru_cache(maxsize=4096)
def _compiled(expression: str) -> Any:
    if len(expression) > LONGEST:
        raise BadExpression(f"“{expression[:40]}…” is too long: an expression has at most {LONGEST} characters")
    if not expression:
        raise BadExpression("${ } is empty: write what to pick, such as ${ trigger.id }")
    try:
        compiled = jmespath.compile(expression)
        times, is_value = _times(compiled.parsed), _gives_value(compiled.parsed)
    except jmespath.exceptions.JMESPathError as error:
        place = getattr(error, "lex_position", None)
        where = f": it can’t be read from character {place + 1} on" if isinstance(place, int) else ""
        raise BadExpression(f"“{expression}” is not a JMESPath expression{where}") from None
    except RecursionError:
        raise BadExpression(f"“{expression[:40]}…” is nested too deep: take it apart with `map`") from None
    if times > MOST_TIMES:
        raise BadExpression(f"“{expression[:40]}…” repeats what it picks too often: take it apart with `map`")
    if not is_value:
        raise BadExpression(f"“{expression}” gives no value: & stands in {', '.join(_BY_EXPRESSION)} alone")
    return compiled


_BY_EXPRESSION = ("sort_by", "max_by", "min_by", "map")  # the functions that take another expression


def _gives_value(node: Mapping[str, Any], *, is_argument: bool = False) -> bool:
    """Whether no other expression can be in what an expression gives: nobody could store or send that."""
    if node["type"] == "expref" and not is_argument:
        return False
    takes_one = node["type"] == "function_expression" and node["value"] in _BY_EXPRESSION
    children = [child for child in node.get("children", ()) if isinstance(child, Mapping)]
    return all(_gives_value(child, is_argument=takes_one) for child in children)


def _times(node: Mapping[str, Any]) -> int:
    """How often what an expression is given can stand in what it gives, at most."""
    times = [_times(child) for child in node.get("children", ()) if isinstance(child, Mapping)]
    match node["type"]:
        case "multi_select_list" | "multi_select_dict":
            return sum(times)
        case "function_expression" if not any(child["type"] == "expref" for child in node["children"]):
            return max(1, sum(times))
        case "or_expression" | "and_expression" | "comparator":
            return max(times)
    return math.prod(times)


def evaluate(expression: str, scope: Mapping[str, Any]) -> Any:
    """What the expression gives in this scope; None where there is nothing. Raises `NoValue`, `BadExpression`."""
    try:
        return _compiled(expression).search(scope, _OPTIONS)
    except (jmespath.exceptions.JMESPathError, TypeError, ValueError, ArithmeticError, RecursionError) as error:
        raise NoValue(f"“{expression}” can’t be applied to what came{_why(error)}") from None


def _why(error: Exception) -> str:
    # The library's own text quotes the value, which can be anybody's.
    if isinstance(error, jmespath.exceptions.JMESPathTypeError):
        wants = " or ".join(error.expected_types)
        return f": {error.function_name}() takes {wants}, it was given {error.actual_type}."
    if isinstance(error, jmespath.exceptions.UnknownFunctionError | jmespath.exceptions.ArityError):
        return f": {str(error).splitlines()[0]}."
    return "."


def fill(value: Any, scope: Mapping[str, Any]) -> Any:
    """`value` with every expression in it replaced by what it gives. Raises `NoValue`."""
    return _fill(value, scope, _Room())


def _fill(value: Any, scope: Mapping[str, Any], room: _Room) -> Any:
    if isinstance(value, str):
        pieces = split(value)
        if len(pieces) == 1 and pieces[0][0] == "expression":
            return _given(pieces[0][1], scope, room)
        return "".join(piece if kind == "text" else as_text(_given(piece, scope, room)) for kind, piece in pieces)
    if isinstance(value, Mapping):
        return {str(_fill(key, scope, room)): _fill(item, scope, room) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_fill(item, scope, room) for item in value]
    return value


def fill_text(text: str, scope: Mapping[str, Any], escape: Callable[[str], str]) -> str:
    """The same as a text, with what expressions give escaped for the place. Raises `NoValue`."""
    room = _Room()
    return "".join(
        piece if kind == "text" else escape(as_text(_given(piece, scope, room))) for kind, piece in split(text)
    )


def _given(expression: str, scope: Mapping[str, Any], room: _Room) -> Any:
    try:
        return room.take(evaluate(expression, scope))
    except _TooLarge:
        raise NoValue(f"“{expression}” gives too much, more than {LARGEST // 1000} kB in all: pick less.") from None


def as_text(value: Any) -> str:
    """A value in the middle of a text: nothing for null, the text itself, JSON for all else."""
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def expressions_in(value: Any, place: tuple[str | int, ...] = (), depth: int = 0) -> Iterator[tuple[Any, str]]:
    """(place, string) of every string in a value, keys too. Raises `BadExpression` when it is nested too deeply."""
    if depth > DEEPEST:
        raise BadExpression(f"it is nested more than {DEEPEST} levels deep: flatten it")
    if isinstance(value, str):
        yield place, value
    elif isinstance(value, Mapping):
        for key, item in value.items():
            yield (*place, str(key)), str(key)
            yield from expressions_in(item, (*place, str(key)), depth + 1)
    elif isinstance(value, list | tuple):
        for number, item in enumerate(value):
            yield from expressions_in(item, (*place, number), depth + 1)


# What an expression asks for, for the check before anything runs.

_ROOTED = {
    "subexpression",
    "index_expression",
    "projection",
    "value_projection",
    "filter_projection",
    "flatten",
    "pipe",
}


def names_in(expression: str) -> set[tuple[str, ...]]:
    """The names that an expression takes from its scope: ("trigger",), ("steps", "send_the_order"), … .

    Raises `BadExpression`.
    """
    try:
        return set(_names(_compiled(expression).parsed))
    except RecursionError:
        raise BadExpression(f"“{expression[:40]}…” is nested too deep: take it apart with `map`") from None


def _names(node: Mapping[str, Any]) -> Iterator[tuple[str, ...]]:
    kind, children = node["type"], node.get("children", [])
    if kind == "field":
        yield (node["value"],)
    elif kind == "subexpression" and children[0]["type"] == "field":
        follows = children[1]
        yield (children[0]["value"], *([follows["value"]] if follows["type"] == "field" else []))
    elif kind in _ROOTED:
        yield from _names(children[0])  # what follows is about what the first part gave
    elif kind != "expref":
        for child in children:
            yield from _names(child)
