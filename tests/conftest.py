"""What all tests share: a set-up portal, the sandbox shop and a hostile provider as real servers, links to open."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from flask import Flask
from hypothesis import settings as hypothesis_settings
from jinja2 import FileSystemBytecodeCache

from portal import create_app
from portal import durable as _durable  # noqa: F401 - declares the durable work
from portal.background import migrate
from portal.clock import now
from portal.db import engine, transaction
from portal.db.migrating import upgrade
from portal.demo.seed import INTEGRATION
from portal.environments import Environment
from portal.integrations.declaration import parse_declaration, read_declaration
from portal.integrations.rules import apply_declaration
from portal.links.models import Link
from portal.links.rules import create_link, link_url
from portal.sandbox.shop import Shop
from portal.settings import read_settings
from portal.users.models import User
from portal.users.rules import create_user
from tests.postgres import postgres_url, postgres_world  # noqa: F401 - fixtures
from tests.running import driver, portal  # noqa: F401 - fixtures
from tests.stage import Made, MakeLink, Provider, close

# The same examples each time, and no clock: a machine that is busy makes nothing wrong.
hypothesis_settings.register_profile("portal", derandomize=True, deadline=None)
hypothesis_settings.load_profile("portal")

BASE = "http://portal.example"
TWO_APPS = """
name: Two stores
apps: [magento, sandbox]
workflows:
  - {name: Copy orders, description: "Copy each order to the other.", trigger: {poll: order_created, app: magento}}
"""


def pytest_addoption(parser: pytest.Parser) -> None:
    """The one option of ours."""
    parser.addoption("--screens-for-docs", action="store_true", help="write the picture of the README anew")


@pytest.fixture(scope="session")
def blank(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder with keys and empty tables, to copy."""
    folder = tmp_path_factory.mktemp("blank")
    app = create_app(read_settings(instance=folder))
    with app.app_context():
        upgrade(engine())
        migrate(engine())
        engine().dispose()
    return folder


@pytest.fixture(scope="session")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> FileSystemBytecodeCache:
    """The templates as the first test that needs them compiled them."""
    return FileSystemBytecodeCache(str(tmp_path_factory.mktemp("compiled")))


@pytest.fixture
def instance(tmp_path: Path, blank: Path) -> Path:
    """A data folder of this test's own."""
    shutil.copytree(blank, tmp_path / "instance")
    return tmp_path / "instance"


@pytest.fixture
def shop(instance: Path) -> Iterator[Shop]:
    """The sandbox shop, as a real server."""
    server = Shop(instance, 0)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture
def provider() -> Iterator[Provider]:
    """A provider that the test can make behave badly."""
    server = Provider()
    yield server
    server.closing.set()
    server.shutdown()
    server.server_close()


@pytest.fixture
def app(instance: Path, shop: Shop, provider: Provider, compiled: FileSystemBytecodeCache) -> Iterator[Flask]:
    """The portal; only the shop and the provider may be called on the private network."""
    made = create_app(
        read_settings(
            instance=instance,
            base_url=BASE,
            vendor_name="Acme Analytics",
            support_url="https://help.example/",
            allow_private_network=f"127.0.0.1:{shop.server_port} 127.0.0.1:{provider.server_port}",
            installation_webhook_url="http://127.0.0.1:9/webhook",
        )
    )
    made.jinja_env.bytecode_cache = compiled
    yield made
    close(made)


@pytest.fixture
def make_link(app: Flask) -> MakeLink:
    """Make a link; by default for the demo's integration and a user called Ada."""

    def make(
        *,
        username: str = "ada@shop.example",
        life: timedelta = timedelta(days=7),
        two_apps: bool = False,
        **options: Any,
    ) -> Made:
        catalogue = app.extensions["catalogue"]
        with app.app_context(), transaction(Environment.production) as session:
            user = session.scalar(sa.select(User).where(User.username == username)) or create_user(
                session, username, now=now(), full_name="Ada Buyer"
            )
            declaration = (
                parse_declaration(TWO_APPS, catalogue, source="two")
                if two_apps
                else read_declaration(INTEGRATION, catalogue)
            )
            integration, _ = apply_declaration(session, declaration, now())
            link, token = create_link(
                session,
                app.extensions["keys"].link_keys,
                user=user,
                integration=integration,
                now=now(),
                life=life,
                **options,
            )
            return Made(link.id, link_url(BASE, link, token), user.id)

    return make


@pytest.fixture
def link(make_link: MakeLink) -> Made:
    """A fresh link."""
    return make_link()


@pytest.fixture
def row(app: Flask) -> Callable[[Made], Link]:
    """The row of a link as it stands in the database."""

    def read(made: Made) -> Link:
        with app.app_context(), transaction() as session:
            found = session.get_one(Link, made.id)
            assert found.user
            assert found.integration
            return found

    return read
