"""How workers end: the first signal, a second one, a stop that takes too long, SIGKILL."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.processes import SHORT, WORKER, Redis, children_of, environment, is_alive, redis_server, run, running


@pytest.fixture
def broker() -> Iterator[Redis]:
    """A Redis of the test's own."""
    with redis_server() as server:
        yield server


@pytest.fixture
def environ(broker: Redis, tmp_path: Path) -> dict[str, str]:
    """A deployment on that Redis."""
    return environment(broker.url, tmp_path)


@pytest.mark.parametrize("pool", [(), ("-P", "prefork", "-c", "2")])
@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT])
def test_first_signal_lets_tasks_hand_back_their_work(
    pool: tuple[str, ...], signum: int, broker: Redis, environ: dict[str, str], tmp_path: Path
) -> None:
    """The tasks hear of it between two requests, and their messages are acknowledged."""
    with running(*WORKER, "-Q", "copy", "-I", "probes", *pool, environ=environ, folder=tmp_path) as worker:
        worker.wait_for(" ready.")
        broker.send("patient", 1)
        worker.wait_for("patient begins")
        started = time.monotonic()

        worker.send_signal(signum)
        worker.wait(seconds=15)

        assert time.monotonic() - started < 10
        assert "handed back" in worker.output()
        assert "worker stopped" in worker.output()
    assert (broker.waiting(), broker.unacknowledged()) == (0, 0)


def test_messages_not_begun_stay_on_the_broker(broker: Redis, environ: dict[str, str], tmp_path: Path) -> None:
    """A stop loses none, begun or not."""
    with running(*WORKER, "-Q", "copy", "-c", "2", "-I", "probes", environ=environ, folder=tmp_path) as worker:
        worker.wait_for(" ready.")
        for number in range(5):
            broker.send("patient", number)
        worker.wait_for("patient begins", times=2)

        worker.send_signal(signal.SIGTERM)
        worker.wait(seconds=15)

    assert (broker.waiting(), broker.unacknowledged()) == (3, 0)


def test_remote_shutdown_lets_tasks_hand_back_their_work(broker: Redis, environ: dict[str, str], tmp_path: Path) -> None:
    """``celery control shutdown`` sends no signal, and is a stop all the same."""
    with running(*WORKER, "-Q", "copy", "-I", "probes", environ=environ, folder=tmp_path) as worker:
        worker.wait_for(" ready.")
        broker.send("patient", 1)
        worker.wait_for("patient begins")

        run("celery", "-A", "app", "control", "shutdown", environ=environ)

        worker.wait(seconds=15)
        assert "handed back" in worker.output()


@pytest.mark.parametrize("pool", [(), ("-P", "prefork", "-c", "2"), ("-P", "solo")])
@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT])
def test_second_signal_ends_the_worker_after_giving_back_its_leases(
    pool: tuple[str, ...], signum: int, broker: Redis, environ: dict[str, str], tmp_path: Path
) -> None:
    """Celery would go on waiting for a task that hears nothing."""
    with running(*WORKER, "-Q", "copy", "-I", "probes,spies", *pool, environ=environ, folder=tmp_path) as worker:
        worker.wait_for(" ready.")
        broker.send("stuck", 1)
        worker.wait_for("stuck begins")
        pool_processes = children_of(worker.pid)
        worker.send_signal(signum)
        time.sleep(1)
        assert is_alive(worker.pid)
        started = time.monotonic()

        worker.send_signal(signum)
        status = worker.wait(seconds=15)

        assert time.monotonic() - started < 5
        assert status == 128 + signum
        assert "leases are given back" in worker.output()
        assert not any(is_alive(pid) for pid in pool_processes)


def test_stop_that_takes_longer_than_a_lease_is_ended(broker: Redis, environ: dict[str, str], tmp_path: Path) -> None:
    """One signal is enough: after its lease a task has nothing left that it may do."""
    with running(*WORKER, "-Q", "copy", "-I", "probes,spies", environ=environ | SHORT, folder=tmp_path) as worker:
        worker.wait_for(" ready.")
        broker.send("stuck", 1)
        worker.wait_for("stuck begins")
        started = time.monotonic()

        worker.send_signal(signal.SIGTERM)
        status = worker.wait(seconds=20)

        assert 3 < time.monotonic() - started < 8
        assert status == 128 + signal.SIGALRM
        assert "leases are given back" in worker.output()


def test_killed_worker_s_message_comes_back_after_the_visibility_timeout(broker: Redis, environ: dict[str, str], tmp_path: Path) -> None:
    """Not at kombu's own sweep, which came after 100 s."""
    with running(*WORKER, "-Q", "copy", "-I", "probes", environ=environ | SHORT, folder=tmp_path, name="first") as first:
        first.wait_for(" ready.")
        broker.send("patient", 1)
        first.wait_for("patient begins")
        first.send_signal(signal.SIGKILL)
        killed = time.monotonic()
        with running(*WORKER, "-Q", "copy", "-I", "probes", environ=environ | SHORT, folder=tmp_path, name="second") as second:
            second.wait_for("patient begins", seconds=30)

            assert time.monotonic() - killed < 20
