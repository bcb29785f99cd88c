"""The sandbox shop speaks as Magento does: tokens, refusals, searches, paging; and shows its orders."""

from __future__ import annotations

import json
import stat
import urllib.error
import urllib.parse
import urllib.request

import pytest
from hypothesis import given
from hypothesis import strategies as st

from portal.sandbox.hooks import add_webhook
from portal.sandbox.search import BadSearch, find, read_search
from portal.sandbox.store import add_order, read_limited_token, read_token


def get(shop, path: str, token: str | None = None, **query: str):
    url = f"{shop.url}{path}?{urllib.parse.urlencode(query)}" if query else f"{shop.url}{path}"
    request = urllib.request.Request(url, headers={"Authorization": f"Bearer {token}"} if token else {})
    try:
        with urllib.request.urlopen(request) as answer:
            body = answer.read()
            return (
                answer.status,
                json.loads(body) if "json" in answer.headers["Content-Type"] else body.decode(),
                answer.headers,
            )
    except urllib.error.HTTPError as refusal:
        return refusal.code, json.loads(refusal.read()), refusal.headers


def test_the_right_token_reads_the_stores_configuration(shop):
    for prefix in ("/rest", "/rest/default", "/rest/all"):
        status, body, _ = get(shop, f"{prefix}/V1/store/storeConfigs", shop.token)
        assert (status, body[0]["store_name"], body[0]["code"]) == (200, "Luma Store", "default")


@pytest.mark.parametrize(("token", "status"), [(None, 401), ("wrong", 401), ("limited", 403)])
def test_other_tokens_get_magentos_refusal(shop, token, status):
    given_token = shop.limited_token if token == "limited" else token
    refused, body, _ = get(shop, "/rest/V1/orders", given_token, searchCriteria="")
    assert refused == status
    assert body["message"] == "The consumer isn't authorized to access %resources."


def test_webhooks_are_listed_for_the_right_token_and_without_their_secrets(shop, instance):
    made = add_webhook(instance, {"url": "https://portal.example/hooks/one", "secret": "of the vendor"})
    assert get(shop, "/rest/V1/webhooks")[0] == 401
    assert get(shop, "/rest/V1/webhooks", shop.limited_token)[0] == 403
    assert get(shop, "/rest/V1/webhooks", shop.token)[:2] == (200, [made])


def test_an_unknown_route_and_an_unknown_order_are_404(shop):
    assert get(shop, "/rest/V1/nothing", shop.token)[:2] == (404, {"message": "Request does not match any route."})
    assert get(shop, "/rest/V1/orders/99", shop.token)[0] == 404


def test_orders_are_found_by_search_criteria_page_by_page(shop, instance):
    for _ in range(7):
        add_order(instance)
    criteria = {
        "searchCriteria[filter_groups][0][filters][0][field]": "entity_id",
        "searchCriteria[filter_groups][0][filters][0][value]": "2",
        "searchCriteria[filter_groups][0][filters][0][condition_type]": "gt",
        "searchCriteria[sortOrders][0][field]": "entity_id",
        "searchCriteria[sortOrders][0][direction]": "ASC",
        "searchCriteria[pageSize]": "2",
        "searchCriteria[currentPage]": "2",
    }
    status, body, _ = get(shop, "/rest/V1/orders", shop.token, **criteria)
    assert status == 200
    assert [order["entity_id"] for order in body["items"]] == [5, 6]
    assert (body["total_count"], body["search_criteria"]["page_size"]) == (5, 2)
    assert get(shop, "/rest/V1/orders/3", shop.token)[1]["increment_id"] == "000000003"


def test_a_search_that_can_not_be_read_is_refused(shop):
    assert get(shop, "/rest/V1/orders", shop.token)[0] == 400
    assert get(shop, "/rest/V1/orders", shop.token, **{"searchCriteria[pageSize]": "x"})[0] == 400
    with pytest.raises(BadSearch):
        read_search([("searchCriteria[filter_groups][0][filters][0][field]", "a")])


ITEMS = st.lists(st.fixed_dictionaries({"id": st.integers(0, 20), "name": st.sampled_from("abc")}), max_size=20)
CONDITION = st.sampled_from(["eq", "neq", "gt", "gteq", "lt", "lteq"])
MODEL = {
    "eq": lambda a, b: a == b,
    "neq": lambda a, b: a != b,
    "gt": lambda a, b: a > b,
    "gteq": lambda a, b: a >= b,
    "lt": lambda a, b: a < b,
    "lteq": lambda a, b: a <= b,
}


@given(ITEMS, st.lists(st.lists(st.tuples(CONDITION, st.integers(0, 20)), min_size=1, max_size=3), max_size=3))
def test_filters_are_joined_by_or_within_groups_and_by_and_between_them(items, groups):
    query = []
    for i, group in enumerate(groups):
        for j, (condition, value) in enumerate(group):
            base = f"searchCriteria[filterGroups][{i}][filters][{j}]"
            query += [(f"{base}[field]", "id"), (f"{base}[value]", str(value)), (f"{base}[conditionType]", condition)]
    found, total = find(items, read_search(query))
    expected = [one for one in items if all(any(MODEL[c](one["id"], v) for c, v in group) for group in groups)]
    assert found == expected
    assert total == len(expected)


def test_tokens_are_made_once_for_their_owner_alone(tmp_path):
    assert read_token(tmp_path) == read_token(tmp_path) != read_limited_token(tmp_path)
    assert stat.S_IMODE((tmp_path / "sandbox-token").stat().st_mode) == 0o600


def test_the_page_shows_orders_under_a_strict_policy_and_not_the_token(shop, instance):
    add_order(instance)
    status, page, headers = get(shop, "/")
    assert status == 200
    assert "000000001" in page
    assert shop.token not in page
    assert (page.count("<h1>"), "<script" in page, "style=" in page) == (1, False, False)
    assert headers["Content-Security-Policy"].startswith("default-src 'none'")
