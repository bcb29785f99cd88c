"""Magento's `searchCriteria`: filters joined by AND between groups and OR within, sorting, paging.

https://developer.adobe.com/commerce/webapi/rest/use-rest/performing-searches/
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any

_FILTER = re.compile(
    r"searchCriteria\[filter_?groups\]\[(\d+)\]\[filters\]\[(\d+)\]\[(field|value|condition_?type)\]", re.I
)
_SORT = re.compile(r"searchCriteria\[sort_?orders\]\[(\d+)\]\[(field|direction)\]", re.I)
_PAGE = re.compile(r"searchCriteria\[(page_?size|current_?page)\]", re.I)
LARGEST_PAGE = 300


class BadSearch(ValueError):
    """The search can't be read; the text is Magento's kind of message."""


@dataclass
class Search:
    """A search as it was asked for."""

    groups: list[list[dict[str, str]]] = field(default_factory=list)
    sorts: list[dict[str, str]] = field(default_factory=list)
    page_size: int | None = None
    page: int = 1

    def echo(self) -> dict[str, Any]:
        """The search as Magento repeats it in its reply."""
        document: dict[str, Any] = {"filter_groups": [{"filters": group} for group in self.groups]}
        if self.sorts:
            document["sort_orders"] = self.sorts
        if self.page_size is not None:
            document["page_size"] = self.page_size
        document["current_page"] = self.page
        return document


def read_search(query: Sequence[tuple[str, str]]) -> Search:
    """Read `searchCriteria[...]` from a query string's pairs. Raises `BadSearch`."""
    groups: dict[int, dict[int, dict[str, str]]] = {}
    sorts: dict[int, dict[str, str]] = {}
    search = Search()
    for name, value in query:
        if match := _FILTER.fullmatch(name):
            part = "condition_type" if match[3].lower().startswith("cond") else match[3].lower()
            groups.setdefault(int(match[1]), {}).setdefault(int(match[2]), {})[part] = value
        elif match := _SORT.fullmatch(name):
            sorts.setdefault(int(match[1]), {})[match[2].lower()] = value
        elif match := _PAGE.fullmatch(name):
            if not value.isdecimal() or int(value) < 1:
                raise BadSearch(f"{match[1]} must be a positive number.")
            if match[1].lower().startswith("page"):
                search.page_size = min(int(value), LARGEST_PAGE)
            else:
                search.page = int(value)
    for _, filters in sorted(groups.items()):
        group = [{"condition_type": "eq", **f} for _, f in sorted(filters.items())]
        if any(not {"field", "value"} <= f.keys() or f["condition_type"] not in _CONDITIONS for f in group):
            raise BadSearch("A filter needs a field, a value and a condition type that is known.")
        search.groups.append(group)
    search.sorts = [{"direction": "DESC", **s} for _, s in sorted(sorts.items()) if "field" in s]
    return search


def find(items: Sequence[Mapping[str, Any]], search: Search) -> tuple[list[Mapping[str, Any]], int]:
    """The page of `items` that `search` asks for, and how many there are on all pages."""
    found = [item for item in items if all(any(_holds(item, f) for f in group) for group in search.groups)]
    for sort in reversed(search.sorts):
        name = sort["field"]
        found.sort(key=lambda item: _sortable(item.get(name)), reverse=sort["direction"].upper() == "DESC")
    total = len(found)
    if search.page_size is not None:
        # Magento gives its last page again when asked for one behind it.
        last = max(1, -(-total // search.page_size))
        start = (min(search.page, last) - 1) * search.page_size
        found = found[start : start + search.page_size]
    return found, total


def _sortable(value: Any) -> tuple[int, float, str]:
    if isinstance(value, int | float):
        return (1, float(value), "")
    return (0 if value is None else 2, 0.0, str(value))


def _compare(value: Any, wanted: str) -> int:
    """-1, 0 or 1; numbers as numbers, everything else as text, as the database would."""
    if isinstance(value, int | float):
        try:
            number = float(wanted)
        except ValueError:
            number = 0.0
        return (value > number) - (value < number)
    text = str(value)
    return (text > wanted) - (text < wanted)


_CONDITIONS: dict[str, Any] = {
    "eq": lambda value, wanted: value is not None and _compare(value, wanted) == 0,
    "neq": lambda value, wanted: value is not None and _compare(value, wanted) != 0,
    "gt": lambda value, wanted: value is not None and _compare(value, wanted) > 0,
    "gteq": lambda value, wanted: value is not None and _compare(value, wanted) >= 0,
    "lt": lambda value, wanted: value is not None and _compare(value, wanted) < 0,
    "lteq": lambda value, wanted: value is not None and _compare(value, wanted) <= 0,
    "from": lambda value, wanted: value is not None and _compare(value, wanted) >= 0,
    "to": lambda value, wanted: value is not None and _compare(value, wanted) <= 0,
    "in": lambda value, wanted: value is not None and any(_compare(value, w) == 0 for w in wanted.split(",")),
    "nin": lambda value, wanted: value is not None and all(_compare(value, w) != 0 for w in wanted.split(",")),
    "null": lambda value, _: value is None,
    "notnull": lambda value, _: value is not None,
    "like": lambda value, wanted: value is not None and _like(str(value), wanted),
}


def _like(value: str, pattern: str) -> bool:
    escaped = re.sub(r"([\[*?])", r"[\1]", pattern)
    return fnmatchcase(value.lower(), escaped.lower().replace("%", "*").replace("_", "?"))


def _holds(item: Mapping[str, Any], condition: Mapping[str, str]) -> bool:
    return bool(_CONDITIONS[condition["condition_type"]](item.get(condition["field"]), condition["value"]))
