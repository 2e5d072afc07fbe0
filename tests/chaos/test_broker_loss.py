"""A worker with messages in hand outlives its broker: consumption resumes by itself, and no process has to be started again (case 41)."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.integration.processes import SHORT, WORKER, Redis, environment, redis_server, running

PROBES = """
import time
from app.celery_app import celery


@celery.task(name="slow", queue="copy")
def slow(deployment, run_id, ids):
    print("slow begins", ids, flush=True)
    time.sleep(4)
    print("slow ends", ids, flush=True)


@celery.task(name="after", queue="copy")
def after(deployment, run_id, ids):
    print("after the outage", flush=True)
"""


@pytest.fixture
def broker() -> Iterator[Redis]:
    """A Redis of the test's own."""
    with redis_server() as server:
        yield server


def restart(broker: Redis) -> None:
    """Kill Redis, and start it again empty."""
    broker.stop()
    time.sleep(1)  # for the workers to see that nobody listens
    broker.start()


def drop_connections(broker: Redis) -> None:
    """Cut all connections; what is in Redis stays."""
    broker.client.execute_command("CLIENT", "KILL", "SKIPME", "yes")


@pytest.mark.parametrize("pool", [(), ("-P", "prefork")], ids=["threads", "prefork"])
@pytest.mark.parametrize("outage", [restart, drop_connections])
def test_case_41_a_worker_with_messages_in_hand_outlives_an_outage_of_its_broker(
    outage: Callable[[Redis], None], pool: tuple[str, ...], broker: Redis, tmp_path: Path
) -> None:
    """Two messages are being worked on and slots are free, so that a request for the next message is under way when the connection goes."""
    (tmp_path / "slow.py").write_text(PROBES, encoding="utf-8")
    with running(
        *WORKER, "-Q", "copy", "-c", "4", *pool, "-I", "slow", environ=environment(broker.url, tmp_path, **SHORT), folder=tmp_path
    ) as worker:
        worker.wait_for(" ready.")
        for number in range(2):
            broker.send("slow", number)
        worker.wait_for("slow begins", times=2)

        outage(broker)

        worker.wait_for("slow ends", times=2)
        broker.send("after", 1)
        worker.wait_for("after the outage", seconds=60)
        assert "Unrecoverable error" not in worker.output()


def test_broker_that_is_full_is_told_in_a_line_and_served_again_later(broker: Redis, tmp_path: Path) -> None:
    """It refuses what the worker's timers want of it, too; the worker lives on, and takes messages when there is room."""
    (tmp_path / "slow.py").write_text(PROBES, encoding="utf-8")
    with running(*WORKER, "-Q", "copy", "-I", "slow", environ=environment(broker.url, tmp_path, **SHORT), folder=tmp_path) as worker:
        worker.wait_for(" ready.")
        broker.client.config_set("maxmemory", "1")
        worker.wait_for("command not allowed when used memory > 'maxmemory'", times=3)
        broker.client.config_set("maxmemory", "0")
        broker.send("after", 1)

        worker.wait_for("after the outage")
        assert "Traceback" not in worker.output()
