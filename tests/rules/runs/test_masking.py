"""No secret and no personal field is in a log, an error, an event, or anywhere else in the database in the clear."""

from __future__ import annotations

import json

import pytest

from portal.runs.masking import LOGGED, MASK, Masker, read_log
from tests.runtime import answers, workflow

MASKER = Masker(personal=["customer_email", "street"], secrets=["s3cr3t/+ value", "abc"])


@pytest.mark.parametrize(
    ("value", "logged"),
    [
        ({"customer_email": "ada@shop.example"}, {"customer_email": MASK}),
        ({"Customer_Email": None}, {"Customer_Email": None}),
        ({"street": ["1 Way", "Town"]}, {"street": MASK}),
        (
            {"headers": {"Authorization": "Basic eA==", "X-Other": "1"}},
            {"headers": {"Authorization": MASK, "X-Other": "1"}},
        ),
        ("it is s3cr3t/+ value.", f"it is {MASK}."),
        ("https://a.example/?k=s3cr3t%2F%2B+value", f"https://a.example/?k={MASK}"),
        ("https://a.example/s3cr3t%2F%2B%20value/x", f"https://a.example/{MASK}/x"),
        ({"s3cr3t/+ value": 1}, {MASK: 1}),
        ("abc is too short to be hidden", "abc is too short to be hidden"),
        ([1, 2.5, True, None], [1, 2.5, True, None]),
    ],
)
def test_what_is_secret_or_personal_is_masked(value, logged):
    assert read_log(MASKER.log(value)) == logged


def test_what_stood_in_a_personal_field_is_masked_wherever_it_turns_up():
    masker = Masker(personal=["customer_email", "telephone"], secrets=[])
    masker.learn({"orders": [{"customer_email": "ada+1@shop.example", "telephone": 5550100, "ok": True}]})
    assert masker.value({"to": "ada+1@shop.example", "ring": 5550100, "ok": True}) == {
        "to": MASK,
        "ring": MASK,
        "ok": True,
    }
    assert masker.text("https://i.example/?to=ada%2B1%40shop.example") == f"https://i.example/?to={MASK}"


def test_a_log_is_cut_at_the_stated_size_and_never_in_the_middle_of_a_secret():
    text = MASKER.log("x" * (LOGGED - 3) + "s3cr3t/+ value")
    assert len(text) == LOGGED + 1
    assert "s3cr" not in text
    assert read_log(text) == {"cut": text}


def test_a_long_value_is_masked_as_a_whole_and_known_again_where_it_was_cut():
    key = "-----BEGIN KEY-----" + "".join(f"{n:04}" for n in range(3000))
    masker = Masker(personal=[], secrets=[key])
    assert masker.text(f"before {key} after") == f"before {MASK} after"
    assert read_log(masker.log(["x" * (LOGGED - 200), key]))["cut"].endswith(f'"{MASK}"]…')
    for kept in range(LOGGED - 150, LOGGED + 50, 7):
        text = masker.log({"text": "x" * kept + key})
        assert "BEGIN" not in text, kept
        assert len(text) <= LOGGED + 1


def test_masks_before_the_cut_bring_nothing_hidden_back_into_sight():
    secrets = [f"secret-{n:02}-" + "s" * 80 for n in range(100)]
    text = Masker(personal=[], secrets=secrets).log("".join(secrets))
    assert "sec" not in text
    assert "ss" not in text


def test_a_log_takes_as_long_as_it_is_long_however_much_a_shop_sends():
    """A pattern of 60,000 values over a text of 20 million characters would take hours."""
    masker = Masker(personal=["email"], secrets=["s3cr3t-value"])
    item = {"email": [f"{'a' * 90}{n}" for n in range(60_000)], "note": "a" * 20_000_000, "more": [{}] * 100_000}
    masker.learn(item)
    for value in (item, item["note"], item["more"], [item["note"]] * 1000):
        text = masker.log(value)
        assert len(text) <= LOGGED + 1
        assert text.endswith("…")
    assert masker.sentence(item["note"]) == "a" * 1000


TOKEN = "planted/secret+token=="
PEOPLE = ("planted.person@shop.example", "Plantedfirst", "Plantedstreet 7")


def test_nothing_planted_is_found_in_the_whole_database_after_runs(world):
    text = workflow(
        "{manual: true}",
        '{name: Short, map: {mail: "${ trigger.customer_email }", all: "${ trigger }"}}',
        '{name: Ask, app: sandbox, request: {get: "/V1/orders/${ trigger.id }"}}',
        '{name: Tell, request: {post: "${ ingest }", query: {to: "${ steps.short.mail }"}, body: "${ steps }"}}',
        '{name: Count, map: {n: "${ abs(trigger.customer_email) }"}}',
        name="Planted",
    )
    email, first, street = PEOPLE
    shop = {"customer_email": email, "token": TOKEN, "note": f"Dear {first}", "said": f"{TOKEN} it is"}
    world.provider.behave = provider_answer(json.dumps(shop).encode())
    child = world.install(
        text, values={"store_url": world.provider.url, "access_token": TOKEN}, account=f"{first[:4]} shop"
    )
    world.ingest.next = [answers(500), answers(200, json.dumps({"echo": [email, TOKEN, street]}).encode())]
    item = {
        "id": 1,
        "customer_email": email,
        "customer_firstname": first,
        "billing": {"street": [street], "email": email},
    }
    run = world.ran(child, item)

    assert run.state == "failed"
    assert (
        run.error
        == "“abs(trigger.customer_email)” can’t be applied to what came: abs() takes number, it was given string."
    )
    sent = world.ingest.of(child.user)[-1]
    assert email.replace("@", "%40") in sent.path
    assert sent.json["short"]["all"] == item
    asked = world.provider.calls[-1]
    assert asked[1]["Authorization"] == f"Bearer {TOKEN}"
    (told,) = world.events("run.failed", child.user)
    everything = world.dump()
    for planted in (*PEOPLE, TOKEN, "planted%2Fsecret", "planted.person"):
        assert planted not in json.dumps(told)
        assert planted.encode() not in everything, planted
        assert planted.encode().hex().encode() not in everything
    assert "•••" in world.steps(run.id)[2].input


def provider_answer(body):
    from tests.stage import answer

    return answer(200, body)
