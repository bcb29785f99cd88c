"""What is promised in documents holds: settings, commands, targets, examples, migrations."""

from __future__ import annotations

import re
from pathlib import Path

import click
import pytest
import sqlalchemy as sa
import yaml
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import inspect

from portal import create_app
from portal.catalogue import check
from portal.colour import contrast, readable
from portal.db import Base
from portal.demo.seed import INTEGRATION
from portal.integrations.declaration import IntegrationDefects, parse_declaration
from portal.settings import MissingSetting, Settings, read_settings
from portal.tables import OURS

HERE = Path(__file__).parent.parent.parent
README = (HERE / "README.md").read_text()


def snippets(file: str, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", (HERE / file).read_text(), re.S)


@pytest.mark.parametrize("name", sorted(Settings.model_fields))
def test_every_setting_is_in_the_readme(name):
    assert f"| `PORTAL_{name.upper()}` |" in README


def test_every_command_that_the_documents_name_exists(app):
    text = README + "".join(path.read_text() for path in HERE.glob("docs/*.md"))
    verbs = "create|list|show|revoke|apply|check|schema|listen|upgrade|rotate|redeliver|order|token|try"
    named = set(re.findall(rf"flask ([a-z-]+(?: (?:{verbs})\b)?)", text))
    assert {"link create", "keys rotate", "worker"} <= named
    for words in named:
        command: click.Command = app.cli
        for word in words.split():
            assert isinstance(command, click.Group)
            command = command.commands[word]


def test_every_target_of_make_is_listed():
    targets = re.findall(r"^([a-z]+):.*", (HERE / "Makefile").read_text(), re.M)
    listed = re.findall(r"^([a-z]+):.*## ", (HERE / "Makefile").read_text(), re.M)
    assert set(targets) == set(listed)


def test_the_readmes_integration_is_the_demos():
    assert yaml.safe_load(snippets("README.md", "yaml")[0]) == yaml.safe_load(INTEGRATION.read_text())


def test_the_example_of_an_app_has_no_defects(tmp_path):
    example = snippets("docs/apps.md", "yaml")[0]
    file = tmp_path / f"{yaml.safe_load(example)['name']}.yaml"
    file.write_text(example)
    assert check(file) == []


@pytest.mark.filterwarnings("ignore:.*expression-based index")  # compared by the test after this one
def test_migrations_make_the_tables_of_the_models(app):
    engine = app.extensions["database"].engine
    with engine.connect() as connection:
        context = MigrationContext.configure(
            connection, opts={"include_name": lambda name, kind, _: kind != "table" or name in OURS}
        )
        assert compare_metadata(context, Base.metadata) == []
        assert set(inspect(connection).get_table_names()) >= OURS


def test_migrations_make_the_indexes_of_the_models_to_the_word(app):
    def indexes(engine) -> dict[str, str]:
        written = sa.text("SELECT name, sql FROM sqlite_master WHERE type = 'index' AND sql IS NOT NULL")
        with engine.connect() as connection:
            return {name: sql for name, sql in connection.execute(written) if name.startswith("ix_")}

    plain = sa.create_engine("sqlite://")
    Base.metadata.create_all(plain, [Base.metadata.tables[name] for name in OURS])
    assert indexes(app.extensions["database"].engine) == indexes(plain)


def test_production_without_secrets_does_not_start_and_says_what_to_set(tmp_path, monkeypatch):
    with pytest.raises(MissingSetting, match="Set PORTAL_BASE_URL"):
        read_settings(env="production", instance=tmp_path)
    app = create_app(read_settings(env="production", instance=tmp_path, base_url="https://install.example"))
    with pytest.raises(MissingSetting) as missing:
        app.extensions["keys"].require_all()
    for name in ("CREDENTIAL_KEYSET", "LINK_KEYS", "WEBHOOK_PRIVATE_KEY", "WEBHOOK_SECRETS"):
        assert f"PORTAL_{name}" in str(missing.value)
    assert "flask keys create" in str(missing.value)


@pytest.mark.parametrize(
    "given",
    [
        {"accent": "red"},
        {"base_url": "ftp://x"},
        {"support_url": "javascript:1"},
        {"vendor_logo": "//evil.example/x"},
        {"frame_ancestors": "https://a.example; script-src *"},
        {"in_all": 1000},
    ],
)
def test_a_setting_that_can_not_be_is_named(given):
    with pytest.raises(MissingSetting, match=f"PORTAL_{next(iter(given)).upper()}"):
        read_settings(**given)


def test_keys_are_readable_by_their_owner_alone(instance):
    for file in (instance / "keys").iterdir():
        assert file.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("accent", ["#ffffff", "#000000", "#ffff00", "#1f5fbf", "#808080"])
@pytest.mark.parametrize("ground", ["#ffffff", "#16181d"])
def test_an_accent_can_always_be_read(accent, ground):
    assert contrast(readable(accent, [ground]), ground) >= 4.5


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("name: [", "this is not YAML"),
        ("apps: [magento]", "this is missing: add it"),
        ("name: A\napps: [nothing]\nworkflows: [{name: w, description: d, trigger: {}}]", "line 2: there is no app"),
        ("name: A\napps: [magento]\nworkflows: []", "at least 1 item"),
        ("name: A\napps: [magento]\nworkflows:\n  - {name: w, descripton: d, trigger: {}}", "line 4"),
    ],
)
def test_a_defect_of_an_integration_file_is_named_with_its_line(text, said):
    with pytest.raises(IntegrationDefects) as defects:
        parse_declaration(text, {"magento"}, source="file.yaml")
    assert said in defects.value.message()
    assert "file.yaml" in defects.value.message()
