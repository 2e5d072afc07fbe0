"""Pause and cancel outlive what they were typed into: workers that are killed, a broker that forgets everything (H17)."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from tests.acceptance.deployment import PATIENCE_SECONDS, STAGES, Deployment
from tests.integration.processes import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.acceptance.service import Service
    from tests.servers import RedisServer

ASSETS = 150
TICKS = 3
SLOW = {"REKEY_COPY_RATE": "2", "REKEY_COPY_CONCURRENCY": "4", "REKEY_LEASE_SECONDS": "12"}


@pytest.fixture(params=["postgresql", "embedded"])
def alone(request: pytest.FixtureRequest, redis_server: RedisServer, tmp_path: Path) -> Deployment:
    """A deployment whose workers the test kills: on PostgreSQL and MinIO, on SQLite and SeaweedFS."""
    servers = ("sqlite_url", "seaweed") if request.param == "embedded" else ("postgres_url", "minio")
    url, store = (request.getfixturevalue(name) for name in servers)
    made = Deployment(database_url=url, broker_url=redis_server.url, store=store, folder=tmp_path, settings=SLOW)
    assert made.rekey("init").status == 0
    return made


@contextmanager
def mortal(deployment: Deployment, name: str) -> Iterator[None]:
    """Workers for the length of a block, that end by SIGKILL."""
    workers = deployment.start("workers", name=name)
    try:
        for stage in STAGES:
            workers.wait_for(f"consumes {stage},", seconds=PATIENCE_SECONDS)
        yield
    finally:
        workers.kill()


def ticked(service: Service, times: int) -> None:
    """Wait until the reconciler has looked at the run so many times more."""
    seen: set[int] = set()

    def again() -> bool:
        seen.add(service.table.run("SELECT tick_at FROM rekey_runs")[0][0])
        return len(seen) > times

    wait_until(again, seconds=PATIENCE_SECONDS)


@pytest.mark.timeout(600)
def test_pause_and_cancel_outlive_killed_workers_and_an_empty_broker(alone: Deployment, redis_server: RedisServer) -> None:
    """New workers neither go on with a paused run nor leave a cancelled one open; nothing is lost on the way."""
    service, named = alone.service()
    assets = service.fill(ASSETS)
    with mortal(alone, "first"):
        assert alone.rekey("enqueue", **named).status == 0
        alone.wait_for(lambda report: report["deleted"] >= 5, **named)
        paused = alone.rekey("pause", **named)
    redis_server.flush()
    with mortal(alone, "second"):
        rows, objects = service.table.keys(), service.bucket.versions()  # what was under way when they were killed is done with
        ticked(service, TICKS)
        rested = (service.table.keys(), service.bucket.versions()) == (rows, objects)
        resting = alone.status(**named)
        resumed = alone.rekey("resume", **named)
        gone_on = alone.wait_for(lambda report: report["deleted"] >= resting["deleted"] + 3, **named)
    cancelled = alone.rekey("cancel", "--yes", **named)
    redis_server.flush()
    with mortal(alone, "third"):
        ended = alone.rekey("status", "--watch", "--json", seconds=200, **named)
        rows, objects = service.table.keys(), service.bucket.keys()
        second = alone.rekey("enqueue", "--watch", "--copy-rate", "0", "--json", seconds=200, **named)

    assert (paused.status, resumed.status, cancelled.status) == (0, 0, 0)
    assert (rested, resting["state"]) == (True, "paused")
    assert gone_on["deleted"] < ASSETS
    report = ended.report
    assert (report["state"], report["open"]) == ("cancelled", 0)
    assert report["cancelled"] > 0
    assert report["deleted"] + report["kept"] + report["cancelled"] + report["unseen"] == ASSETS
    assert set(rows.values()) <= objects, "a row names what is not there"
    assert second.status == 0, second.err
    left = service.bucket.keys() & {asset.old_key for asset in assets}
    assert len(left) == report["kept"]
    assert service.differences(assets, at_old_keys=left) == []
