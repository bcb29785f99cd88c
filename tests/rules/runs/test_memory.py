"""What a run remembers, by itself: it walks as a simple recursive model does, and may be put away at any moment."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from portal.runs.memory import Memory, TooMuch
from portal.workflows.definition import LARGEST_MEMORY, Definition, key_of

LEAVES = st.sampled_from([{"map": {"n": 1}}, {"filter": "${ trigger }"}, {"delay": "1s"}])


def repeated(steps):
    return st.lists(steps, min_size=1, max_size=3).map(
        lambda inner: {"for_each": {"in": "${ trigger }", "steps": inner}}
    )


def named(step, number):
    """The step under a name that no other one has."""
    if "for_each" in step:
        step = {"for_each": step["for_each"] | {"steps": numbered(step["for_each"]["steps"], number)}}
    return {"name": f"S{number}", **step}


def numbered(steps, prefix=""):
    return [named(step, f"{prefix}x{number}") for number, step in enumerate(steps)]


FILES = st.lists(st.recursive(LEAVES, repeated, max_leaves=8), max_size=5).map(numbered)


class Chances:
    """What filters and lists say, by the path of the step: the same whoever asks."""

    def __init__(self, data):
        self._data = data
        self._said = {}

    def at(self, path, strategy):
        if path not in self._said:
            self._said[path] = self._data.draw(strategy, label=path)
        return self._said[path]

    def passes(self, path):
        return self.at(path, st.booleans())

    def items(self, path):
        return self.at(path, st.lists(st.integers(0, 9), max_size=3))


def gives(path):
    return f"what {path} gave"


class Skipped(Exception):
    """A filter was false."""


def model(steps, chances, visited, remembered, prefix=""):
    """The same by plain recursion; what the last step gave. `visited` takes (path, the item it is about)."""
    last = None
    for number, step in enumerate(steps):
        path = f"{prefix}{number}"
        visited.append(path)
        if step.filter and not chances.passes(path):
            raise Skipped
        last = turns(step, path, chances, visited, remembered) if step.for_each else gives(path)
        remembered[key_of(step, number + 1)] = last
    return last


def turns(step, path, chances, visited, remembered):
    out = []
    forget(step.for_each.steps, remembered)
    for index, _ in enumerate(chances.items(path)):
        forget(step.for_each.steps, remembered)
        try:
            out.append(model(step.for_each.steps, chances, visited, remembered, f"{path}.{index}."))
        except Skipped:
            pass
    return out


def forget(steps, remembered):
    for number, step in enumerate(steps):
        remembered.pop(key_of(step, number + 1), None)
        forget(step.for_each.steps if step.for_each else (), remembered)


def walk(definition, chances, put_away):
    """(the paths in their order, what is remembered at the end) of a walk; `put_away` says when to dump and load."""
    memory, visited = Memory(), []
    while (step := memory.step(definition)) is not None:
        if put_away():
            memory = Memory.load(memory.dump())
            assert memory.step(definition) is step
        path = memory.path
        visited.append(path)
        assert memory.place == tuple(int(part) for part in path.split(".")[::2])
        if step.for_each:
            memory.enter(definition, chances.items(path))
        elif step.filter and not chances.passes(path):
            memory.skip(definition)
        else:
            memory.give(definition, gives(path))
    return visited, memory


@given(FILES, st.data())
def test_a_walk_visits_what_a_recursive_model_visits_in_its_order(steps, data):
    definition = Definition.model_validate({"trigger": {"manual": True}, "steps": steps})
    chances, expected, remembered = Chances(data), [], {}
    try:
        model(definition.steps, chances, expected, remembered)
    except Skipped:
        pass
    visited, memory = walk(definition, chances, lambda: False)
    assert visited == expected
    assert memory.loops == []
    assert memory.steps == remembered


@given(FILES, st.data())
def test_to_be_put_away_and_taken_up_changes_nothing(steps, data):
    definition = Definition.model_validate({"trigger": {"manual": True}, "steps": steps})
    chances = Chances(data)
    straight = walk(definition, chances, lambda: False)
    assert walk(definition, chances, lambda: True) == straight
    assert walk(definition, chances, lambda: data.draw(st.booleans())) == straight


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=10,
)


@given(JSON, st.lists(JSON, min_size=1, max_size=3))
def test_whatever_a_step_gives_comes_back_as_it_was(output, items):
    each = {"name": "Each", "for_each": {"in": "${ trigger }", "steps": [{"name": "In", "map": {"n": 1}}]}}
    steps = [{"name": "First", "map": {"n": 1}}, each]
    definition = Definition.model_validate({"trigger": {"manual": True}, "steps": steps})
    memory = Memory()
    memory.give(definition, output)
    memory.enter(definition, items)
    again = Memory.load(memory.dump())
    assert again == memory
    assert again.scope(1, {}, "")["item"] == items[0]
    assert again.scope(1, {}, "")["steps"] == {"first": output}


def test_in_a_loop_the_present_item_and_its_number_are_known_and_outside_of_it_not():
    inner = {"name": "Inner", "for_each": {"in": "${ item }", "steps": [{"name": "In", "map": {"n": 1}}]}}
    outer = {"name": "Outer", "for_each": {"in": "${ trigger }", "steps": [inner]}}
    definition = Definition.model_validate({"trigger": {"manual": True}, "steps": [outer]})
    memory = Memory()
    assert "item" not in memory.scope([], {}, "")
    memory.enter(definition, [["a"], ["b", "c"]])
    assert (memory.scope([], {}, "")["item"], memory.path) == (["a"], "0.0.0")
    memory.enter(definition, ["a"])
    assert (memory.scope([], {}, "")["item"], memory.path) == ("a", "0.0.0.0.0")
    memory.give(definition, "A")
    assert (memory.scope([], {}, "")["item"], memory.scope([], {}, "")["index"]) == (["b", "c"], 1)
    memory.enter(definition, ["b", "c"])
    memory.give(definition, "B")
    memory.give(definition, "C")
    assert memory.step(definition) is None
    assert memory.steps["outer"] == [["A"], ["B", "C"]]


def test_what_a_loop_in_a_loop_gave_for_one_item_isn_t_known_for_the_next_one():
    inner = {"name": "Inner", "for_each": {"in": "${ item }", "steps": [{"name": "Price", "map": {"n": 1}}]}}
    outer = {"name": "Outer", "for_each": {"in": "${ trigger }", "steps": [inner, {"name": "Send", "map": {"n": 1}}]}}
    definition = Definition.model_validate({"trigger": {"manual": True}, "steps": [outer]})
    memory = Memory()
    memory.enter(definition, [["a"], []])
    memory.enter(definition, ["a"])
    memory.give(definition, "the first one's price")
    assert memory.scope([], {}, "")["steps"]["price"] == "the first one's price"
    memory.give(definition, "sent")
    assert memory.scope([], {}, "")["steps"] == {}
    memory.enter(definition, [])
    assert memory.scope([], {}, "")["steps"] == {"inner": []}


def test_more_than_a_run_may_remember_is_too_much():
    assert len(Memory({"a": "x" * (LARGEST_MEMORY - 50)}).dump()) <= LARGEST_MEMORY
    with pytest.raises(TooMuch):
        Memory({"a": "x" * LARGEST_MEMORY}).dump()
    with pytest.raises(TooMuch):
        Memory({"a": "é" * (LARGEST_MEMORY // 2)}).dump()
