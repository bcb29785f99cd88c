"""Reading YAML that a stranger may have written: bounded in size, depth and in what references grow into.

What comes out is plain data (mappings with text keys, lists, text, finite numbers, booleans, nothing), and the node
that each defect's line is looked up in.
"""

from __future__ import annotations

import math
from typing import Any

import yaml

LONGEST = 200_000  # characters
DEEPEST = 40  # levels
MOST = 20_000  # values, with each reference counted as what it stands for
_PLAIN = {f"tag:yaml.org,2002:{kind}" for kind in ("str", "int", "float", "bool", "null", "timestamp", "map", "seq")}
_MERGE = "tag:yaml.org,2002:merge"
_UNDER_WAY = (0, 0)


class NotReadable(ValueError):
    """The text can't be read as plain data; the message says why, `line` where."""

    def __init__(self, line: int, why: str) -> None:
        super().__init__(why)
        self.line = line


def read_yaml(text: str) -> tuple[Any, yaml.Node | None]:
    """The data of a YAML document and its nodes. Raises `NotReadable`."""
    if len(text) > LONGEST:
        raise NotReadable(1, f"this is longer than {LONGEST:,} characters")
    try:
        _require_shallow(text)
        node = yaml.compose(text, Loader=yaml.CSafeLoader)
        if node is not None:
            _weigh(node, {})
        return yaml.load(text, Loader=yaml.CSafeLoader), node
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        reason = getattr(error, "problem", None) or "there is a character that YAML doesn’t take"
        raise NotReadable(_line(mark), f"this is not YAML: {reason}") from None
    except NotReadable:
        raise
    except ValueError:  # a number of thousands of digits, a date that no calendar has
        raise NotReadable(1, "a number or a date in it can’t be read: put it into quotes") from None


def _line(mark: Any) -> int:
    return mark.line + 1 if mark else 1


def _require_shallow(text: str) -> None:
    # Event by event, because composing goes down level by level on the stack.
    depth = 0
    for event in yaml.parse(text, Loader=yaml.CSafeLoader):
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
            if depth > DEEPEST:
                raise NotReadable(_line(event.start_mark), f"this is more than {DEEPEST} levels deep")
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1


def _weigh(node: yaml.Node, known: dict[int, tuple[int, int]]) -> tuple[int, int]:
    """How many values the node stands for, and how deep it is; each is looked at once, however often referred to."""
    line = _line(node.start_mark)
    if id(node) in known:
        if known[id(node)] == _UNDER_WAY:
            raise NotReadable(line, "this refers to itself")
        return known[id(node)]
    known[id(node)] = _UNDER_WAY
    _require_plain(node, line)
    weight, depth = 1, 0
    for part in _parts(node):
        more, below = _weigh(part, known)
        weight, depth = weight + more, max(depth, below)
        if weight > MOST or depth >= DEEPEST:
            raise NotReadable(line, f"this stands for more than {MOST:,} values, or {DEEPEST} levels of them")
    known[id(node)] = weight, depth + 1
    return known[id(node)]


def _parts(node: yaml.Node) -> list[yaml.Node]:
    if isinstance(node, yaml.SequenceNode):
        return list(node.value)
    if not isinstance(node, yaml.MappingNode):
        return []
    for key, _ in node.value:
        if not isinstance(key, yaml.ScalarNode):
            raise NotReadable(_line(key.start_mark), "a name has to be a text")
    # The mark of a merge (`<<`) is no value of its own.
    return [part for key, value in node.value for part in (key, value) if part.tag != _MERGE]


def _require_plain(node: yaml.Node, line: int) -> None:
    if node.tag not in _PLAIN:
        raise NotReadable(line, "only texts, numbers, yes or no, lists and mappings are taken here")
    if isinstance(node, yaml.ScalarNode) and "\0" in node.value:
        raise NotReadable(line, "there is a zero character in this")
    if node.tag == "tag:yaml.org,2002:float":
        text = node.value.replace("_", "").lower().lstrip("+-")
        if text in (".inf", ".nan") or (":" not in text and not math.isfinite(float(text))):
            raise NotReadable(line, "this is no number that can be kept")
