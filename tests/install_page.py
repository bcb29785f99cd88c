"""The install page as a page object over Flask's test client: press buttons, read what the page says."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from html.parser import HTMLParser

from flask import Flask
from werkzeug.test import TestResponse

from tests.stage import Made

VOID = {"input", "link", "meta", "img", "br", "rect", "hr"}


class _Reader(HTMLParser):
    """Just enough of a DOM to read forms and to hold every page to its promises."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[tuple[str, dict[str, str]]] = []
        self.texts: dict[str, str] = {}
        self.text = ""
        self._open: list[tuple[str, str]] = []
        self.heading = ""
        self.title = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        facts = {name: value or "" for name, value in attrs}
        self.tags.append((tag, facts))
        if tag not in VOID:
            self._open.append((tag, facts.get("id", "")))

    def handle_endtag(self, tag: str) -> None:
        while self._open and self._open.pop()[0] != tag:
            pass

    def handle_data(self, data: str) -> None:
        names = [tag for tag, _ in self._open]
        if "style" in names:
            return
        self.text += data
        if "h1" in names:
            self.heading += data
        if "title" in names:
            self.title += data
        for _, element in self._open:
            if element:
                self.texts[element] = self.texts.get(element, "") + data


@dataclass
class View:
    """One answer, read."""

    response: TestResponse
    dom: _Reader = field(default_factory=_Reader)

    def __post_init__(self) -> None:
        self.html = self.response.get_data(as_text=True)
        self.dom.feed(self.html)

    @property
    def status(self) -> int:
        return self.response.status_code

    @property
    def text(self) -> str:
        return " ".join(self.dom.text.split())

    @property
    def heading(self) -> str:
        return " ".join(self.dom.heading.split())

    @property
    def inputs(self) -> dict[str, dict[str, str]]:
        return {
            facts["name"]: facts for tag, facts in self.dom.tags if tag in ("input", "textarea") and "name" in facts
        }

    @property
    def autofocused(self) -> str:
        return next((facts.get("id", "") for _, facts in self.dom.tags if "autofocus" in facts), "")

    def error_at(self, name: str) -> str:
        return " ".join(self.dom.texts.get(f"{name}-error", "").removeprefix("Error: ").split())

    def note_at(self, name: str) -> str:
        return " ".join(self.dom.texts.get(f"{name}-note", "").split())


@dataclass
class InstallPage:
    """The page of one link, as somebody uses it without JavaScript (or, with `htmx`, as htmx does)."""

    app: Flask
    link: Made
    typed: dict[str, str] = field(default_factory=dict)
    press: str = ""
    htmx: bool = False

    def open(self, **query: str) -> View:
        view = View(self.app.test_client().get("/embedded-install", query_string={**self.link.query, **query}))
        assert_page_holds_its_promises(view)
        self.press = view.inputs.get("press", {}).get("value", self.press)
        return view

    def fill(self, **values: str) -> InstallPage:
        """Type into fields, called app__field."""
        self.typed |= {name.replace("__", "-"): value for name, value in values.items()}
        return self

    def submit(self, action: str, **more: str) -> View:
        headers = {"HX-Request": "true"} if self.htmx else {}
        facts = {**self.link.query, "press": self.press, "action": action, **self.typed, **more}
        view = View(self.app.test_client().post("/embedded-install", data=facts, headers=headers))
        if not self.htmx:
            assert_page_holds_its_promises(view)
        self.typed = {}
        return view

    def finish(self, **more: str) -> View:
        return self.submit("finish", **more)

    def check(self, app: str = "magento") -> View:
        return self.submit(f"check:{app}")


def assert_page_holds_its_promises(view: View) -> None:
    """What holds for every whole page, whatever it shows."""
    tags = view.dom.tags
    assert sum(tag == "h1" for tag, _ in tags) == 1
    assert re.sub(r"^(Error|Fehler|Erreur\s?): ", "", view.dom.title).startswith(view.heading)
    assert sum(tag == "style" for tag, _ in tags) <= 1
    ids = [facts["id"] for _, facts in tags if "id" in facts]
    assert len(set(ids)) == len(ids)
    labelled = {facts["for"] for tag, facts in tags if tag == "label" and "for" in facts}
    for tag, facts in tags:
        assert not {name for name in facts if name.startswith("on") or name == "style"}, (tag, facts)
        assert tag != "style" or set(facts) == {"nonce"}  # the accent colour, which can change while the portal runs
        if tag == "script":
            assert facts["src"].startswith("/static/")
        if tag == "form":
            assert facts["action"]
        if tag == "textarea" or (tag == "input" and facts["type"] not in ("hidden", "radio", "checkbox", "submit")):
            assert facts["id"] in labelled
        for pointer in ("aria-describedby", "aria-labelledby", "aria-controls"):
            assert set(facts.get(pointer, "").split()) <= set(ids), (pointer, facts)
    assert_headers_are_strict(view.response)


def assert_headers_are_strict(response: TestResponse) -> None:
    headers = response.headers
    policy = headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert "frame-ancestors" in policy
    assert headers["Referrer-Policy"] == "no-referrer"
    assert headers["Cache-Control"] == "no-store"
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert "noindex" in headers["X-Robots-Tag"]
    assert "Permissions-Policy" in headers
    assert "Set-Cookie" not in headers
