"""Values in a workflow file: where an expression ends, what comes of it, and that nothing else is ever raised."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from portal.workflows.expressions import (
    DEEPEST,
    LONGEST,
    BadExpression,
    NoValue,
    as_text,
    evaluate,
    expressions_in,
    fill,
    fill_text,
    names_in,
    split,
)

SCOPE = {
    "trigger": {"id": 7, "name": "Ann", "lines": [{"sku": "a", "n": 1}, {"sku": "b", "n": 2}], "none": None},
    "steps": {"first": {"ok": True}},
    "fields": {"price": 1.5},
    "ingest": "http://ingest.example",
}


@pytest.mark.parametrize(
    ("text", "pieces"),
    [
        ("", [("text", "")]),
        ("plain {braces}", [("text", "plain {braces}")]),
        ("${ a }", [("expression", "a")]),
        ("${a}${b}", [("expression", "a"), ("expression", "b")]),
        ("x ${ a } y", [("text", "x "), ("expression", "a"), ("text", " y")]),
        ("${ {a: b, c: {d: e}} }", [("expression", "{a: b, c: {d: e}}")]),
        ("${ '}' }!", [("expression", "'}'"), ("text", "!")]),
        ("${ '{' }", [("expression", "'{'")]),
        (r"${ 'it\'s }' }", [("expression", r"'it\'s }'")]),
        ('${ "a}b" }', [("expression", '"a}b"')]),
        ('${ `{"a": "}"}` }', [("expression", '`{"a": "}"}`')]),
        ("$${ a }", [("text", "${ a }")]),
        ("$$${ a }", [("text", "$${ a }")]),
        ("$${ ${ a } }", [("text", "${ "), ("expression", "a"), ("text", " }")]),
        ("$ {a} $a", [("text", "$ {a} $a")]),
    ],
)
def test_a_text_is_split_where_its_expressions_begin_and_end(text, pieces):
    assert list(split(text)) == pieces


@pytest.mark.parametrize(
    ("text", "because"),
    [
        ("${ a", "never closes it"),
        ("${ '} ", "is not a JMESPath expression"),
        ("${ {a: b }", "never closes it"),
        ("${ }", "is empty"),
        ("${ a. }", "is not a JMESPath expression"),
        ("${ " + "a" * (LONGEST + 1) + " }", "is too long"),
        ("${ " + "!" * (LONGEST - 1) + "a }", "nested too deep"),
        ("${ &a }", "gives no value"),
        ("${ [&a] }", "gives no value"),
        ("${ not_null(&a) }", "gives no value"),
        ("${ map(&(&a), b) }", "gives no value"),
    ],
)
def test_what_can_t_be_read_is_refused_with_the_reason(text, because):
    with pytest.raises(BadExpression, match=because):
        split(text)


def test_the_longest_expression_is_taken():
    assert evaluate("a" * LONGEST, {"a" * LONGEST: 1}) == 1


@pytest.mark.parametrize(
    ("value", "filled"),
    [
        ("${ trigger.id }", 7),
        ("${ trigger.lines }", SCOPE["trigger"]["lines"]),
        ("${ trigger.nothing }", None),
        ("no. ${ trigger.id }${ trigger.none }!", "no. 7!"),
        ("${ trigger.lines[0] } and ${ steps.first.ok }", '{"sku":"a","n":1} and true'),
        ({"${ trigger.name }": ["${ fields.price }", {"deep": "${ trigger.lines[].sku }"}], "n": 5},
         {"Ann": [1.5, {"deep": ["a", "b"]}], "n": 5}),
        (("${ trigger.id }", None, True, 2.5), [7, None, True, 2.5]),
        ("$${ trigger.id }", "${ trigger.id }"),
    ],
)  # fmt: skip
def test_a_value_is_filled_at_every_depth_and_keeps_its_kinds(value, filled):
    assert fill(value, SCOPE) == filled


def test_what_an_expression_gives_is_never_evaluated_again():
    planted = {"trigger": {"note": "${ fields.secret }"}, "fields": {"secret": "s"}}
    assert fill(["${ trigger.note }", "x ${ trigger.note }"], planted) == ["${ fields.secret }", "x ${ fields.secret }"]


def test_only_what_expressions_give_is_escaped_for_its_place():
    assert fill_text("/a/${ trigger.name }/b", {"trigger": {"name": "x/y"}}, lambda text: text.replace("/", "%2F")) == (
        "/a/x%2Fy/b"
    )


@pytest.mark.parametrize(
    ("expression", "because"),
    [
        ("abs(trigger.name)", r"abs\(\) takes number, it was given string\."),
        ("unknown(trigger)", "can’t be applied to what came"),
        ("abs()", "can’t be applied to what came"),
        ("floor(to_number('1e999'))", "can’t be applied to what came"),
        ("ceil(`-1e999`)", "can’t be applied to what came"),
        ("trigger.lines[::0]", "can’t be applied to what came"),
    ],
)
def test_what_can_t_be_applied_says_so_without_the_value(expression, because):
    with pytest.raises(NoValue, match=because) as refusal:
        evaluate(expression, SCOPE)
    assert "Ann" not in str(refusal.value)


@pytest.mark.parametrize(
    ("expression", "names"),
    [
        ("trigger", {("trigger",)}),
        ("trigger.id", {("trigger", "id")}),
        ("steps.first.ok", {("steps", "first")}),
        ('steps."first"', {("steps", "first")}),
        ("trigger.lines[?n > `1`].sku | [0]", {("trigger", "lines")}),
        ("{a: trigger.id, b: fields.price}", {("trigger", "id"), ("fields", "price")}),
        ("[item, index]", {("item",), ("index",)}),
        ("join(', ', trigger.lines[].sku)", {("trigger", "lines")}),
        ("sort_by(trigger.lines, &n)", {("trigger", "lines")}),
        ("steps.a && !(steps.b) || fields.c == 'x'", {("steps", "a"), ("steps", "b"), ("fields", "c")}),
        ("`{\"steps\": 1}`", set()),
        ("'steps.a'", set()),
        ("@", set()),
    ],
)  # fmt: skip
def test_the_names_in_an_expression_are_those_that_it_takes_from_its_scope(expression, names):
    assert names_in(expression) == names


@pytest.mark.parametrize(
    "expression",
    [
        "|".join(["[@,@]"] * 30),
        "|".join(["[@,@][]"] * 12),
        "[" * 9 + ",".join(["@"] * 9) + "]" * 9 + "|[@,@,@]|" + "|".join(["{a:@,b:@,c:@}"] * 5),
        "to_string([" + ",".join(["@"] * 201) + "])",
        "map(&[" + ",".join(["@"] * 101) + "], [trigger, trigger])",
    ],
)
def test_an_expression_that_repeats_what_it_picks_over_and_over_is_refused(expression):
    with pytest.raises(BadExpression, match="repeats what it picks too often"):
        split("${" + expression + "}")


@pytest.mark.parametrize(
    "value",
    [
        "${ join(trigger.long, trigger.many) }",
        "${ to_string([trigger.long, trigger.long, trigger.long, trigger.long]) }",
        ["${ trigger.long }"] * 10_000,
        "${ trigger.long }" * 10_000,
        {"${ trigger.long }": "${ [trigger.long, trigger.long, trigger.long] }"},
        "${ map(&'" + "x" * 900 + "', trigger.many) }",
    ],
)
def test_what_would_fill_the_memory_is_never_made(value):
    scope = {"trigger": {"long": "x" * 255_000, "many": ["a"] * 60_000}}
    with pytest.raises(NoValue, match="gives too much, more than 1000 kB in all"):
        fill(value, scope)
    if isinstance(value, str):
        with pytest.raises(NoValue, match="gives too much"):
            fill_text(value, scope, str)


def test_what_a_step_may_keep_is_given_whole():
    fields = ", ".join(f"a{n}: a{n}" for n in range(60))
    item = {"lines": [{f"a{n}": n for n in range(60)}] * 300}
    assert fill("${ {lines: trigger.lines[*].{" + fields + "}} }", {"trigger": item}) == item


def test_strings_are_found_with_their_places_and_too_deep_a_value_is_refused():
    assert list(expressions_in({"a": ["x", {"b": "y"}], "n": 1})) == [
        (("a",), "a"),
        (("a", 0), "x"),
        (("a", 1, "b"), "b"),
        (("a", 1, "b"), "y"),
        (("n",), "n"),
    ]
    deep = "x"
    for _ in range(DEEPEST):
        deep = [deep]
    assert [text for _, text in expressions_in(deep)] == ["x"]
    with pytest.raises(BadExpression, match="nested more than"):
        list(expressions_in([deep]))


PARTS = st.sampled_from(
    ["${", "$${", "}", "{", "`", "'", '"', "\\", "[", "]", "(", ")", "a", "trigger", ".", "&", "!", "*", "|", "@", ",",
     "?", ":", " ", "1", "-", "0", "floor", "to_number", "sort_by", "max_by", "map", "join", "merge", "not_null", "==",
     "<", "'1e999'", "`null`", "`[1,\"a\"]`", "`1e999`", "\ud800", "\0", "é"]
)  # fmt: skip
TEXTS = st.text() | st.lists(PARTS, max_size=25).map("".join)
EXPRESSIONS = TEXTS.map(lambda text: f"${{ {text} }}")


@given(TEXTS | EXPRESSIONS)
@example("${" + "(" * 990)
@example("${ " + "[" * 990 + " }")
@example("${ " + "!" * 990 + "a }")
@example("${ " + "a." * 490 + "a }")
@example("${ " + "a||" * 300 + "a }")
@example("${ sort_by(&a, &b) }")
@example("${ " + "not_null(" * 100 + "a" + ")" * 100 + " }")
def test_no_text_raises_anything_but_what_is_declared(text):
    try:
        pieces = split(text)
        for kind, piece in pieces:
            if kind == "expression":
                names_in(piece)
        as_text(fill(text, SCOPE))
    except (BadExpression, NoValue):
        pass


@given(st.text())
def test_a_text_without_an_opening_is_what_it_is(text):
    plain = text.replace("${", "")
    assert fill(plain, SCOPE) == plain
    assert fill("$${" + plain, SCOPE) == "${" + plain


@given(st.text(), st.text())
def test_any_text_can_be_said_in_quotes(before, quoted):
    plain = before.replace("${", "").rstrip("$")
    said = quoted.replace("\\", "").replace("'", "")[: LONGEST - 10]
    assert fill(f"{plain}${{ '{said}' }}", SCOPE) == plain + said
