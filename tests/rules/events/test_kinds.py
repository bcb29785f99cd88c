"""Kinds of events are described once: the documents, the dashboard and the API say the same."""

from __future__ import annotations

import re

import pytest

from portal.events.kinds import KINDS, Kind, body_of, trial_body
from portal.events.payload import write_payload
from portal.events.verifying import PAGE, snippets

TEXT = PAGE.read_text("utf-8")


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS.keys())
def test_each_kind_is_documented_with_its_meaning_and_its_example(kind: Kind) -> None:
    assert f"| `{kind.name}` | {kind.meaning} |" in TEXT
    assert write_payload(body_of(kind.name, kind.example)) in TEXT.split("\n")


def test_the_documented_test_event_is_the_one_that_is_sent() -> None:
    assert write_payload(trial_body("link.opened")) in TEXT.split("\n")


def test_the_installation_event_has_no_type_as_it_never_had() -> None:
    assert list(body_of("installation.finished", KINDS["installation.finished"].example)) == [
        "userId", "workflowIds", "integrationId", "credentials", "success",
    ]  # fmt: skip


def test_the_dashboard_s_snippets_are_those_of_the_document() -> None:
    assert set(snippets()) == {"Python", "Node"}
    for text in snippets().values():
        assert text in TEXT
        assert re.search(r"^(def|function) verify\(", text, re.M)
