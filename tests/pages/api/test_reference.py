"""The description of the API, and that its examples work."""

from __future__ import annotations

import json
import re
from pathlib import Path


def test_the_reference_can_be_read_and_names_every_call(backend):
    page = backend.app.test_client().get("/docs")
    assert page.status_code == 200
    document = backend.app.test_client().get("/openapi.json").json
    for path in document["paths"]:
        assert path in page.text
    addresses = set(re.findall(r"https?://[a-z.]+", page.text))
    assert addresses == {"http://portal.example", "https://help.example"}


def test_icons_are_pictures(backend):
    icon = backend.app.test_client().get("/icons/magento.svg")
    assert icon.content_type.startswith("image/svg+xml")
    assert icon.text.startswith("<svg xmlns=")
    assert backend.app.test_client().get("/icons/nothing.svg").status_code == 404


def test_the_documented_addresses_answer(backend, user, integration):
    """Each `curl` of the README and of docs/api.md, as it stands there."""
    root = Path(__file__).parents[3]
    text = (root / "README.md").read_text() + (root / "docs/api.md").read_text()
    addresses = re.findall(r'curl -H "Authorization: Bearer \$KEY" "?http://127\.0\.0\.1:8000(/[^\s"]+)', text)
    assert len(addresses) == 3
    for address in addresses:
        backend.get(address)


def test_the_documented_body_of_a_link_is_taken(backend, user, integration):
    """docs/api.md shows every option; only the workflow's id is its own."""
    page = (Path(__file__).parents[3] / "docs/api.md").read_text()
    body = json.loads(re.search(r"```json\n(.*?)```", page, re.S)[1])
    body["workflowIds"] = [backend.get("/workflows")["data"][0]["workflowId"]]
    made = backend.post("/links", body)
    assert backend.get(f"/links/{made['linkId']}")["data"]["workflowIds"] == body["workflowIds"]
    schemas = backend.app.test_client().get("/openapi.json").json["components"]["schemas"]
    assert set(body) == set(schemas["NewLink"]["properties"])
