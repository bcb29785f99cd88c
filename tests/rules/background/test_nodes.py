"""Several nodes on one database: each has a name of its own, and what one leaves when it dies another one finishes."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa

from portal.background import Queue, durable, enqueue, launch, nodes, step, stop
from portal.background.engine import running
from portal.background.models import Node
from portal.db import engine, transaction
from portal.sandbox.shop import Shop
from portal.settings import MissingSetting, read_settings
from tests.node import HERE, kill, nodes_of, says
from tests.runtime import SEND, World, quiet_world, workflow
from tests.stage import Provider, wait_until

LEFT = Queue("left", at_once=8, per_partition=8)
done: list[str] = []


@durable(LEFT)
def remember(word: str) -> None:
    write_down(word)


@step
def write_down(word: str) -> None:
    done.append(word)


@pytest.fixture
def world(instance: Path, shop: Shop, provider: Provider) -> Iterator[World]:
    """A portal whose engine doesn't run here; the test is inside its context."""
    done.clear()
    with quiet_world(instance, shop, provider) as made:
        yield made


@pytest.fixture
def settings(world: World):
    return world.app.config["PORTAL_SETTINGS"]


def seen(ago: timedelta, name: str = "local", boot: str = "elsewhere.1") -> None:
    """A node was seen so long ago."""
    with transaction() as session:
        session.merge(Node(executor_id=name, boot=boot, seen_at=nodes._now(session) - ago))


def known() -> list[str]:
    with transaction() as session:
        return list(session.scalars(sa.select(Node.executor_id).order_by(Node.executor_id)))


def begun_by(node: str, *works: str) -> None:
    """Work that a node had begun when it died."""
    with transaction() as session:
        for work in works:
            enqueue(session, remember, work, queue=LEFT, partition="one", delay=86_400, workflow_id=work)
    begun = "status = 'PENDING', application_version = '1', executor_id = :node"
    left = sa.text(f"UPDATE workflow_status SET {begun} WHERE workflow_uuid = :work")
    with engine().begin() as connection:
        connection.execute(left, [{"node": node, "work": work} for work in works])


def test_what_a_killed_node_had_begun_is_finished_by_another_with_the_same_key(world: World) -> None:
    child = world.install(workflow("{manual: true}", SEND))
    world.ingest.next.append(world.ingest.hang)
    with nodes_of(world) as start:
        first, second = start("first"), start("second")
        assert [says(first), says(second)] == ["up", "up"]
        run = world.run(child, {"order": 1})
        wait_until(lambda: len(world.ingest.asked) == 1)
        with engine().connect() as connection:
            busy = connection.scalar(sa.text("SELECT executor_id FROM workflow_status WHERE name = 'run_leg'"))
        kill({"first": first, "second": second}[busy])

        assert world.ended(run, 60).state == "succeeded"
        assert len({asked.key for asked in world.ingest.asked}) == 1
        assert len(world.ingest.asked) == 2, "once by the one that died, once by the other"


def test_a_name_that_another_process_has_is_refused_and_its_work_left_alone(world: World) -> None:
    child = world.install(workflow("{manual: true}", SEND))
    world.ingest.next.append(world.ingest.hang)
    with nodes_of(world) as start:
        assert says(start("local")) == "up"
        run = world.run(child)
        wait_until(lambda: len(world.ingest.asked) == 1)

        assert "is the node “local” already" in says(start("local"))

        assert says(start("other", NODE_DEAD="60")) == "up"
        world.ingest.closing.set()
        assert world.ended(run).state == "succeeded"
        assert len(world.ingest.asked) == 1


def test_a_node_that_was_killed_starts_again_under_its_name_at_once(world: World) -> None:
    with nodes_of(world) as start:
        first = start("local")
        assert says(first) == "up"
        kill(first)
        assert known() == ["local"]
        assert says(start("local")) == "up"


def test_the_same_name_from_elsewhere_is_refused_while_it_was_seen_within_a_minute(world: World, settings) -> None:
    seen(timedelta(seconds=30))
    with pytest.raises(MissingSetting, match=r"was seen 3\d seconds ago\. Give this one a PORTAL_EXECUTOR_ID"):
        launch(world.app, settings)
    seen(timedelta(seconds=61))
    with running(world.app, settings):
        assert known() == ["local"]


def test_a_node_that_stops_is_forgotten_and_one_that_went_on_under_its_name_is_not(world: World, settings) -> None:
    launch(world.app, settings)
    assert known() == ["local"]
    stop()
    assert known() == []
    launch(world.app, settings)
    seen(timedelta(0), boot="elsewhere.2")
    nodes.give_sign()  # says so in the log, and leaves the other one's row alone
    stop()
    assert known() == ["local"]


def test_only_work_of_nodes_that_were_not_seen_for_long_is_taken_up(world: World, settings, monkeypatch) -> None:
    monkeypatch.setattr(nodes, "BEAT", 600)
    with running(world.app, settings):
        for node in ("alive", "dead", "unknown", "local"):
            begun_by(node, f"of {node}")
        seen(timedelta(seconds=45), "alive")
        seen(timedelta(seconds=91), "dead")

        assert nodes.take_up_orphans() == {"dead", "unknown"}
        wait_until(lambda: len(done) == 2)
        assert nodes.take_up_orphans() == set()
        assert sorted(done) == ["of dead", "of unknown"]


def test_two_that_take_up_the_same_work_at_once_do_it_once(world: World, settings, monkeypatch) -> None:
    monkeypatch.setattr(nodes, "BEAT", 600)
    with running(world.app, settings):
        works = [f"left {number}" for number in range(20)]
        begun_by("dead", *works)

        def take_up() -> None:
            with world.app.app_context():
                nodes.take_up_orphans()

        threads = [threading.Thread(target=take_up) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        wait_until(lambda: len(done) >= 20)
        assert sorted(done) == sorted(works)


def test_after_a_fault_of_the_database_everybody_is_given_the_time_to_be_heard(
    world: World, settings, monkeypatch
) -> None:
    told: list[str] = []
    monkeypatch.setattr(nodes, "BEAT", 0.01)
    monkeypatch.setattr(nodes, "take_up_orphans", lambda: told.append("looked"))
    done = threading.Event()

    def sign() -> None:
        told.append("sign")
        if told.count("sign") == 5:
            raise TimeoutError("the database is busy")
        if told.count("sign") == 8:
            done.set()

    monkeypatch.setattr(nodes, "give_sign", sign)
    monkeypatch.setattr(done, "wait", lambda _seconds: done.is_set())
    nodes.stay_known(done)

    assert told == [*["sign"] * 3, "looked", *["sign"] * 5, "looked"]


def test_rows_of_nodes_that_are_long_gone_are_forgotten(world: World) -> None:
    seen(timedelta(hours=23), "yesterday")
    seen(timedelta(hours=25), "longer ago")
    nodes.forget_dead_nodes()
    assert known() == ["yesterday"]


def test_a_data_folder_that_can_not_be_written_leaves_signs_of_life(world: World, settings, monkeypatch) -> None:
    monkeypatch.setattr(Path, "open", lambda *_, **__: (_ for _ in ()).throw(PermissionError))
    seen(timedelta(seconds=5))
    with pytest.raises(MissingSetting, match="was seen 5 seconds ago"):
        nodes.take_name(settings)


def test_a_database_without_the_table_is_told_of(instance: Path, world: World) -> None:
    with transaction() as session:
        session.execute(sa.text("DROP TABLE nodes"))
    with pytest.raises(MissingSetting, match="flask database upgrade"):
        launch(world.app, world.app.config["PORTAL_SETTINGS"])


def test_a_node_is_called_local_or_on_postgresql_like_its_host(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr("socket.gethostname", lambda: "web-1")
    url = "postgresql+psycopg://portal@db.example/portal"
    assert read_settings(instance=tmp_path).executor_id == "local"
    assert read_settings(instance=tmp_path, database_url=url).executor_id == "web-1"
    assert read_settings(instance=tmp_path, database_url=url, executor_id="mine").executor_id == "mine"
    with pytest.raises(MissingSetting, match="PORTAL_EXECUTOR_ID"):
        read_settings(instance=tmp_path, executor_id="n" * 65)


def test_a_worker_that_may_not_be_this_node_says_so_and_ends(world: World, settings) -> None:
    env = {**os.environ, "PORTAL_INSTANCE": str(settings.instance)}
    with nodes_of(world) as start:
        assert says(start("local")) == "up"
        worker = [sys.executable, "-m", "flask", "--app", "app", "worker"]
        ended = subprocess.run(worker, cwd=HERE, env=env, capture_output=True, text=True, timeout=60)
    assert ended.returncode == 1
    assert "Error: A process that runs from this data folder is the node “local” already." in ended.stderr
