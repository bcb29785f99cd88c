"""Installations as operators see and change them."""

from __future__ import annotations

from tests.backend import WITH_FIELDS


def test_an_installation_is_stopped_started_and_removed(desk, user, integration, install, backend):
    one = install(integration)
    page = desk.get(f"/dashboard/installations/{one}")
    assert "Luma Store" in page.text
    assert "stopped" in desk.post(f"/dashboard/installations/{one}/deactivate").text
    assert backend.get(f"/installations/{one}")["data"]["enabled"] is False
    desk.post(f"/dashboard/installations/{one}/activate")
    desk.post(f"/dashboard/installations/{one}/upgrade")
    assert backend.get(f"/installations/{one}")["data"]["enabled"] is True
    assert desk.post(f"/dashboard/installations/{one}/remove").heading == "Installations"
    assert backend.get("/installations")["data"] == []


def test_upgrade_is_offered_only_where_something_is_newer(desk, install, asking, apply, sign_in):
    book = next(one.id for one in asking.workflows if one.name == "Book orders")
    one = install(asking.id, "sandbox", [{"workflowId": book, "fields": [{"name": "ledger", "value": "Main"}]}])
    address = f"/dashboard/installations/{one}"
    assert f"{address}/upgrade" not in desk.get(address).html
    apply(WITH_FIELDS.replace("0 * * * *", "5 * * * *"))
    assert f"{address}/upgrade" in desk.get(address).html
    desk.post(f"{address}/upgrade")
    assert f"{address}/upgrade" not in desk.get(address).html
