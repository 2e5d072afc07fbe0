"""Health checks that tell the truth, and workers that outlive their broker's outages."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from app import pulse
from tests.integration.processes import PREFIX, ROOT, SHORT, WORKER, Redis, environment, health, is_alive, redis_server, running, wait_until


@pytest.fixture
def broker() -> Iterator[Redis]:
    """A Redis of the test's own."""
    with redis_server() as server:
        yield server


@pytest.fixture
def environ(broker: Redis, tmp_path: Path) -> dict[str, str]:
    """A deployment on that Redis."""
    return environment(broker.url, tmp_path)


def test_health_is_green_while_the_worker_consumes_and_red_when_it_has_stopped(
    broker: Redis, environ: dict[str, str], tmp_path: Path
) -> None:
    """Also red while it lives and its broker takes no requests, and green again by itself (case 41)."""
    assert health(environ) == (1, "no worker runs here")
    with running(*WORKER, "-Q", "copy", "-I", "probes", environ=environ, folder=tmp_path) as worker:
        worker.wait_for(" ready.")
        wait_until(lambda: health(environ) == (0, "consuming"), seconds=10)
        assert health(environ, "copy") == (0, "consuming")
        assert health(environ, "rename") == (1, "no rename runs here")
        wait_until(lambda: 0 <= pulse.ages(broker.client, ["copy", "rename"], prefix=PREFIX).get("copy", -1) < 20, seconds=10)
        assert pulse.ages(broker.client, ["rename"], prefix=PREFIX) == {}

        broker.client.replicaof("127.0.0.1", 1)
        wait_until(lambda: health(environ)[0] == 1, seconds=40)
        assert is_alive(worker.pid)
        assert pulse.ages(broker.client, ["copy"], prefix=PREFIX)["copy"] > 10

        broker.client.replicaof("no", "one")
        wait_until(lambda: health(environ)[0] == 0, seconds=30)
        broker.send("quick", 1)
        worker.wait_for("succeeded")

        worker.send_signal(signal.SIGTERM)
        assert worker.wait() == 0
    assert health(environ) == (1, "no worker runs here")


def test_health_turns_red_when_no_slot_comes_free(broker: Redis, environ: dict[str, str], tmp_path: Path) -> None:
    """A worker whose tasks are all stuck consumes nothing, though its event loop runs."""
    with running(*WORKER, "-Q", "copy", "-c", "1", "-I", "probes", environ=environ | SHORT, folder=tmp_path) as worker:
        worker.wait_for(" ready.")
        wait_until(lambda: health(environ)[0] == 0, seconds=10)
        broker.send("stuck", 1)

        wait_until(lambda: health(environ)[0] == 1, seconds=45)
        assert is_alive(worker.pid)


def test_busy_worker_stays_green(broker: Redis, environ: dict[str, str], tmp_path: Path) -> None:
    """All slots taken, one coming free each second: that is work."""
    with running(*WORKER, "-Q", "copy", "-c", "1", "-I", "probes", environ=environ | SHORT, folder=tmp_path) as worker:
        worker.wait_for(" ready.")
        for number in range(14):
            broker.send("short", number)
        worker.wait_for("succeeded", times=10, seconds=60)

        assert health(environ) == (0, "consuming")


def restart(broker: Redis) -> None:
    """Kill Redis, and start it again empty."""
    broker.stop()
    time.sleep(3)
    broker.start()


def flush(broker: Redis) -> None:
    """Lose all messages and bindings."""
    broker.client.flushall()


def silence(broker: Redis) -> None:
    """Let Redis hang for twenty seconds with all connections open."""
    broker.send_signal(signal.SIGSTOP)
    time.sleep(20)
    broker.send_signal(signal.SIGCONT)


def drop_connections(broker: Redis) -> None:
    """Cut all connections three times in three seconds."""
    for _ in range(3):
        broker.client.execute_command("CLIENT", "KILL", "SKIPME", "yes")
        time.sleep(1)


@pytest.mark.parametrize("outage", [restart, flush, silence, drop_connections])
def test_worker_outlives_its_broker_s_outage(outage: object, broker: Redis, environ: dict[str, str], tmp_path: Path) -> None:
    """Consumption resumes by itself (cases 41, 42)."""
    with running(*WORKER, "-Q", "copy", "-I", "probes", environ=environ, folder=tmp_path) as worker:
        worker.wait_for(" ready.")
        assert callable(outage)
        outage(broker)

        broker.send("quick", 1)
        worker.wait_for("succeeded", seconds=40)


def test_beat_outlives_its_broker_s_outage(broker: Redis, environ: dict[str, str], tmp_path: Path) -> None:
    """The reconciler's ticks come again after a restart of Redis, and beat's health says so."""
    fast = environ | {"REKEY_RECONCILE_SECONDS": "1"}
    with running("celery", "-A", "app", "beat", "-l", "INFO", environ=fast, folder=tmp_path) as beat:
        wait_until(lambda: broker.waiting("seed") > 1)
        assert health(fast, "beat") == (0, "consuming")
        broker.stop()
        wait_until(lambda: health(fast, "beat")[0] == 1, seconds=40)

        broker.start()

        wait_until(lambda: broker.waiting("seed") > 1, seconds=40)
        assert health(fast, "beat") == (0, "consuming")
        beat.send_signal(signal.SIGTERM)
        assert beat.wait() == 0
    assert list(ROOT.glob("celerybeat-schedule*")) == []


def test_ticks_that_nobody_consumes_do_not_pile_up(broker: Redis, environ: dict[str, str], tmp_path: Path) -> None:
    """Beat says why it sends no more."""
    with running("celery", "-A", "app", "beat", "-l", "INFO", environ=environ | {"REKEY_RECONCILE_SECONDS": "1"}, folder=tmp_path) as beat:
        beat.wait_for("messages wait in the queue seed: is its worker running?", seconds=40)

        assert broker.waiting("seed") == 10
