"""Workers that are told to stop in mid-run: they end in time, hand their work back, nothing is lost; plain Celery workers do as well."""

from __future__ import annotations

import os
import signal
import time
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

import psutil
import pytest

from tests.acceptance.deployment import PATIENCE_SECONDS, STAGES, Deployment
from tests.acceptance.proxy import counting
from tests.integration.processes import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.acceptance.deployment import Running
    from tests.servers import RedisServer, S3Server, SqlServer

ASSETS = 300
RATE = ("--copy-rate", "20")  # so that a run lasts longer than a busy machine needs for the next command
REQUEST_SECONDS = 4
# Slow on purpose: a run must last for longer than it takes to see it half done.
SLOW = {
    "REKEY_REQUEST_TIMEOUT_SECONDS": str(REQUEST_SECONDS),
    "REKEY_LEASE_SECONDS": "20",
    "REKEY_VISIBILITY_TIMEOUT_SECONDS": "30",
    "REKEY_HINT_SECONDS": "5",
    "REKEY_COPY_CONCURRENCY": "2",
    "REKEY_RENAME_CONCURRENCY": "2",
    "REKEY_DELETE_CONCURRENCY": "2",
    "REKEY_BATCH_SIZE": "10",
}
STOP_SECONDS = REQUEST_SECONDS + 8  # and some for a busy machine
LEASED = "SELECT COUNT(*) FROM rekey_moves WHERE lease_token IS NOT NULL AND NOT lease_kept"


@pytest.fixture
def slow(postgres: SqlServer, minio: S3Server, redis_server: RedisServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    """A deployment whose runs take their time; no workers yet."""
    url = postgres.make_database()
    made = Deployment(database_url=url, broker_url=redis_server.url, store=minio, folder=tmp_path_factory.mktemp("slow"), settings=SLOW)
    assert made.rekey("init").status == 0
    yield made
    postgres.drop_database(url)


@contextmanager
def stopped(store: S3Server) -> Iterator[None]:
    """A store that takes requests and answers none, for the length of the block."""
    os.kill(store.pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(store.pid, signal.SIGCONT)


@pytest.mark.timeout(600)
def test_workers_that_are_stopped_hand_their_work_back(slow: Deployment) -> None:
    """Told to end in the middle of a run, all end within a request's time-out, no lease is left, and other workers end the run."""
    service, named = slow.service()
    assets = service.fill(ASSETS)
    with slow.workers(name="first") as workers:
        accepted = slow.rekey("enqueue", *RATE, "--json", **named)
        wait_until(lambda: service.table.run("SELECT COUNT(*) FROM rekey_moves WHERE state <> 'planned'")[0][0], seconds=PATIENCE_SECONDS)
        wait_until(lambda: service.table.run(LEASED)[0][0], seconds=PATIENCE_SECONDS)
        before = dict(service.table.run("SELECT state, COUNT(*) FROM rekey_moves GROUP BY state"))
        begun = time.monotonic()

        workers.send_signal(signal.SIGTERM)
        status = workers.wait(seconds=60)
        seconds = time.monotonic() - begun

    assert accepted.status == 0, accepted.err
    assert status == 0, workers.output()
    assert seconds < STOP_SECONDS
    assert before.get("deleted", 0) < ASSETS, "the stop came too late to interrupt anything"
    assert service.table.run(LEASED) == [(0,)]
    with slow.workers(name="second"):
        assert slow.rekey("set", "copy_rate=0", **named).status == 0
        ended = slow.rekey("status", "--watch", "--json", seconds=PATIENCE_SECONDS, **named)
    assert {name: ended.report[name] for name in ("copied", "renamed", "deleted", "parked")} == {
        "copied": ASSETS,
        "renamed": ASSETS,
        "deleted": ASSETS,
        "parked": 0,
    }
    assert service.differences(assets) == []


@pytest.mark.timeout(600)
def test_second_signal_ends_the_workers_at_once(slow: Deployment, minio: S3Server) -> None:
    """Also while each of their requests hangs: the leases are given back, and the run goes on with other workers."""
    service, named = slow.service()
    assets = service.fill(ASSETS)
    workers = slow.start("workers", name="first", REKEY_REQUEST_TIMEOUT_SECONDS="15")
    try:
        for stage in STAGES:
            workers.wait_for(f"consumes {stage},", seconds=PATIENCE_SECONDS)
        assert slow.rekey("enqueue", *RATE, **named).status == 0
        wait_until(lambda: service.table.run("SELECT COUNT(*) FROM rekey_moves WHERE state <> 'planned'")[0][0], seconds=PATIENCE_SECONDS)
        children = psutil.Process(workers.pid).children()
        with stopped(minio):
            wait_until(lambda: service.table.run(LEASED)[0][0], seconds=PATIENCE_SECONDS)
            time.sleep(1)  # whatever was answered before is done with
            workers.send_signal(signal.SIGTERM)
            time.sleep(1.5)
            still = workers.status
            begun = time.monotonic()

            workers.send_signal(signal.SIGTERM)
            workers.wait(seconds=30)
            seconds = time.monotonic() - begun
            leased = service.table.run(LEASED)
    finally:
        workers.kill()
    assert still is None, "nothing hung, so the first signal was enough"
    assert seconds < 6
    assert leased == [(0,)]
    assert not any(child.is_running() and child.status() != psutil.STATUS_ZOMBIE for child in children)
    with slow.workers(name="second"):
        assert slow.rekey("set", "copy_rate=0", **named).status == 0
        ended = slow.rekey("status", "--watch", "--json", seconds=PATIENCE_SECONDS, **named)
    assert (ended.report["deleted"], ended.report["parked"]) == (ASSETS, 0)
    assert service.differences(assets) == []


@pytest.mark.timeout(600)
def test_run_paused_in_the_middle_rests_and_goes_on(slow: Deployment) -> None:
    """Within a task's time nothing changes any more in table and bucket; resumed, the run ends."""
    service, named = slow.service()
    assets = service.fill(ASSETS)
    with slow.workers():
        assert slow.rekey("enqueue", *RATE, **named).status == 0
        paused = slow.rekey("pause", "--json", **named)
        time.sleep(7)
        rows, objects = service.table.keys(), service.bucket.versions()
        status = slow.status(**named)
        time.sleep(6)
        unchanged = (service.table.keys(), service.bucket.versions()) == (rows, objects)
        resumed = slow.rekey("resume", **named)
        assert slow.rekey("set", "copy_rate=0", **named).status == 0
        ended = slow.rekey("status", "--watch", "--json", seconds=PATIENCE_SECONDS, **named)

    assert (paused.status, resumed.status) == (0, 0)
    assert status["state"] == "paused"
    assert status["deleted"] < ASSETS, "the pause came too late to hold anything"
    assert unchanged
    assert (ended.report["deleted"], ended.report["state"]) == (ASSETS, "finished")
    assert service.differences(assets) == []


@contextmanager
def celery(deployment: Deployment, **settings: str) -> Iterator[list[Running]]:
    """``celery -A app worker -Q STAGE`` for each stage and ``celery -A app beat``, as a Celery user starts them."""
    with ExitStack() as exits:
        running = []
        for stage in STAGES:
            worker = deployment.start("celery", "-A", "app", "worker", "-Q", stage, "-l", "INFO", name=f"celery-{stage}", **settings)
            exits.callback(worker.kill)
            running.append(worker)
        beat = deployment.start("celery", "-A", "app", "beat", "-l", "INFO", name="celery-beat", **settings)
        exits.callback(beat.kill)
        for stage, worker in zip(STAGES, running, strict=True):
            worker.wait_for(f"consumes {stage},", seconds=PATIENCE_SECONDS)
        yield [*running, beat]


@pytest.mark.timeout(600)
def test_plain_celery_workers_migrate_as_well(slow: Deployment, minio: S3Server) -> None:
    """One asset a message; a second run sends the store nothing that could write; SIGTERM ends each worker well."""
    with counting(minio.endpoint) as door:
        settings = {"REKEY_S3_ENDPOINT": door.endpoint, "REKEY_BATCH_SIZE": "1"}
        service, named = slow.service()
        assets = service.fill(60)
        with celery(slow, **settings) as running:
            first = slow.rekey("enqueue", "--watch", "--json", seconds=PATIENCE_SECONDS, **named, **settings)
            writes = door.writes
            second = slow.rekey("enqueue", "--watch", "--json", seconds=PATIENCE_SECONDS, **named, **settings)
            after = door.writes
            for process in running:
                process.send_signal(signal.SIGTERM)
            ended = [process.wait(seconds=60) for process in running]
            outputs = [process.output() for process in running]

    assert first.status == 0, first.err
    assert {name: first.report[name] for name in ("copied", "renamed", "deleted")} == {"copied": 60, "renamed": 60, "deleted": 60}
    assert service.differences(assets) == []
    assert (second.status, second.report["in_place"], second.report["copied"]) == (0, 60, 0)
    assert after == writes
    assert ended == [0] * 5
    assert [output for output in outputs if "Traceback" in output] == []
