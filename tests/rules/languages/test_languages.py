"""Every sentence for end users has its translation, and a page finds its language."""

from __future__ import annotations

import ast
import re
from datetime import UTC, datetime
from pathlib import Path

import pytest
from jinja2 import Environment, nodes

from portal.catalogue import load_catalogue
from portal.languages import ENGLISH, LANGUAGES, Declared, choose, either, listed, plural, sentence, speak
from portal.languages.language import PATTERNS
from portal.settings import MissingSetting, read_settings

HERE = Path(__file__).parent.parent.parent.parent
OTHERS = [language for language in LANGUAGES.values() if language != ENGLISH]
THREE = ("en", "de", "fr")


def in_templates() -> set[str]:
    found = set()
    for folder in ("install", "layout"):
        for file in (HERE / "templates" / folder).glob("*.html"):
            for call in Environment().parse(file.read_text()).find_all(nodes.Call):
                if getattr(call.node, "name", None) == "_":
                    found.add(call.args[0].value)
    return found


def in_code() -> set[str]:
    found = set()
    for file in (HERE / "portal").rglob("*.py"):
        for call in ast.walk(ast.parse(file.read_text())):
            name = getattr(call.func, "id", "") if isinstance(call, ast.Call) else ""
            if name in ("sentence", "words", "plural") and isinstance(call.args[0], ast.Constant):
                found.add(call.args[0].value)
    return found


def in_apps() -> set[str]:
    found = set()
    for app in load_catalogue().values():
        found |= {app.purpose, *(app.test.messages.values() if app.test else ())}
        for field in app.fields:
            found |= {field.title, field.hint, field.pattern_message or "", *field.find, *field.options.values()}
    return {str(text) for text in found if text}


def marks(text: str) -> list[str]:
    """What a translation must keep: placeholders and markup."""
    return sorted(re.findall(r"\{\w*\}|</?\w+[^>]*>", text))


@pytest.mark.parametrize("language", OTHERS, ids=lambda language: language.tag)
def test_every_sentence_has_a_translation_with_the_same_placeholders(language):
    needed = in_templates() | in_code() | in_apps() | set(PATTERNS)
    assert len(needed) > 180
    there = {m.id if isinstance(m.id, str) else m.id[0]: m for m in language.catalogue if m.id}

    assert needed - set(there) == set(), "not translated"
    assert set(there) - needed == set(), "nobody says this any more"
    for message in there.values():
        assert not message.fuzzy
        ids = [message.id] if isinstance(message.id, str) else list(message.id)
        texts = [message.string] if isinstance(message.string, str) else list(message.string)
        assert all(texts), message.id
        if ids[0] not in PATTERNS:
            for number, text in enumerate(texts):
                assert marks(text) == marks(ids[min(number, len(ids) - 1)]), text


def test_templates_of_the_install_page_say_nothing_but_by_translations():
    for folder in ("install", "layout"):
        for file in (HERE / "templates" / folder).glob("*.html"):
            text = re.sub(r"\{%.*?%\}|\{\{.*?\}\}|\{#.*?#\}", "", file.read_text(), flags=re.S)
            said = re.findall(r">[^<>]*[A-Za-z]{2,}[^<>]*<", text)
            assert said == [], file.name


def test_a_sentence_is_english_until_it_stands_on_a_page():
    failure = sentence("Paste the {title}.", title=Declared("Access token"))
    assert failure == "Paste the access token."
    assert failure.said(LANGUAGES["de"]) == "Fügen Sie hier ein: Zugriffstoken."
    speak(LANGUAGES["de"])
    try:
        assert failure.__html__() == "Fügen Sie hier ein: Zugriffstoken."
        assert sentence("Connect {apps}", apps="<b>").__html__() == "&lt;b&gt; verbinden"
        assert f"{failure}" == str(failure) == "Paste the access token."
        assert sentence('Press {this}, then "Save".').__html__() == "Press {this}, then &#34;Save&#34;."
    finally:
        speak(ENGLISH)


def test_numbers_lists_and_dates_are_as_the_language_writes_them():
    german, french = LANGUAGES["de"], LANGUAGES["fr"]
    waits = [plural("{apps} is connected", "{apps} are connected", n, apps=listed(["A", "B", "C"])) for n in (1, 3)]
    assert waits == ["A, B and C is connected", "A, B and C are connected"]
    assert [wait.said(german) for wait in waits] == ["A, B und C ist verbunden", "A, B und C sind verbunden"]
    keys = either([Declared("Key"), Declared("API secret"), Declared("Consumer key")])
    assert keys == "key or API secret or consumer key"
    assert keys.said(french) == "Key ou API secret ou Clé client (consumer key)"
    at = datetime(2026, 3, 5, 14, 5, tzinfo=UTC)
    said = [language.moment(at) for language in (ENGLISH, german, french)]
    assert said == ["5 March 2026, 14:05 UTC", "5. März 2026, 14:05 Uhr UTC", "5 mars 2026 à 14:05 UTC"]
    ended = sentence("It could be used until {day}. Ask the people who sent it for a new one.", day=at)
    assert "until 5 March 2026 at 14:05 UTC." in ended
    assert "bis 5. März 2026 um 14:05 Uhr UTC" in ended.said(german)


@pytest.mark.parametrize(
    ("locale", "accepted", "offered", "default", "chosen"),
    [
        ("de", "fr", THREE, "en", "de"),
        ("de-AT", "", THREE, "en", "de"),
        ("DE", "", THREE, "en", "de"),
        ("ja", "fr-CA,fr;q=0.9", THREE, "en", "fr"),
        ("de", "", ("en", "fr"), "en", "en"),
        (None, "ja, de;q=0.3, fr;q=0.8", THREE, "en", "fr"),
        (None, "de;q=0, *;q=0.5", THREE, "fr", "fr"),
        (None, "de;q=x,;;,-,,q=", THREE, "en", "en"),
        (None, "fr", (), "de", "de"),
        (None, "de", (), "de", "de"),
        (None, "x" * 100_000, THREE, "en", "en"),
    ],
)
def test_the_link_decides_then_the_browser_then_the_default(locale, accepted, offered, default, chosen):
    assert choose(locale, accepted, offered, default).tag == chosen


@pytest.mark.parametrize("given", [{"language": "xx"}, {"languages": "en ../../etc"}])
def test_a_language_that_there_is_no_file_for_stops_the_start(given):
    with pytest.raises(MissingSetting, match="is none of the languages that there are: en, de, fr"):
        read_settings(**given)
