"""A whole migration by the commands and workers that an operator uses, counted again by other means (S8, S9; O1 to O4 of the cases)."""

from __future__ import annotations

import os
import threading
import time
from typing import TYPE_CHECKING

import psutil
import pytest

from tests.acceptance.deployment import Deployment
from tests.acceptance.proxy import counting
from tests.integration.processes import role_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.acceptance.proxy import CountingDoor
    from tests.acceptance.service import Asset, Service
    from tests.servers import RedisServer, S3Server, SqlServer

ASSETS = int(os.environ.get("ACCEPTANCE_ASSETS", "1000"))
STAGES = ("copied", "renamed", "deleted")
# A hundred threads, a connection to the store each, 12 MiB of bodies at most, and the libraries.
WORKER_MIB = 150


@pytest.fixture(scope="module")
def door(minio: S3Server) -> Iterator[CountingDoor]:
    """A door before the store that counts."""
    with counting(minio.endpoint) as made:
        yield made


@pytest.fixture(scope="module")
def deployment(
    postgres: SqlServer, minio: S3Server, door: CountingDoor, redis_server: RedisServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Deployment]:
    """A deployment whose every request to the store goes through that door."""
    url = postgres.make_database()
    settings = {"REKEY_S3_ENDPOINT": door.endpoint}
    made = Deployment(
        database_url=url, broker_url=redis_server.url, store=minio, folder=tmp_path_factory.mktemp("counted"), settings=settings
    )
    assert made.rekey("init").status == 0
    yield made
    postgres.drop_database(url)


@pytest.fixture(scope="module")
def largest() -> dict[str, int]:
    """The greatest size of each worker so far, MiB."""
    return {}


@pytest.fixture(scope="module")
def working(deployment: Deployment, largest: dict[str, int]) -> Iterator[Deployment]:
    """All its workers at the default concurrencies, measured each half second."""
    with deployment.workers() as supervisor:
        over = threading.Event()
        watching = threading.Thread(target=_measure, args=(supervisor.pid, largest, over))
        watching.start()
        yield deployment
        over.set()
        watching.join()


def _measure(pid: int, largest: dict[str, int], over: threading.Event) -> None:
    while not over.wait(0.5):
        for child in psutil.Process(pid).children():
            name = role_of(child.pid)
            if name is not None:
                largest[name] = max(largest.get(name, 0), child.memory_info().rss // 2**20)


@pytest.fixture(scope="module")
def migrated(working: Deployment) -> tuple[Service, dict[str, str], list[Asset], dict[str, object]]:
    """A table and a bucket after a migration by init, doctor and enqueue, and what enqueue said at the end."""
    service, named = working.service()
    assets = service.fill(ASSETS)
    doctor = working.rekey("doctor", "--json", **named)
    assert doctor.status == 0, doctor.out
    watched = working.rekey("enqueue", "--watch", "--json", seconds=1200, **named)
    assert watched.status == 0, watched.err
    return service, dict(named), assets, watched.report


@pytest.mark.timeout(1500)
def test_migration_moves_every_asset(migrated: tuple[Service, dict[str, str], list[Asset], dict[str, object]], working: Deployment) -> None:
    """What the commands say is what table and bucket hold: each row names its new key, each object is there as it was, no other is left."""
    service, named, assets, report = migrated

    status = working.status(**named)

    moved = dict.fromkeys((*STAGES, "rows"), ASSETS) | {"open": 0, "parked": 0, "kept": 0, "unseen": 0, "state": "finished", "stall": None}
    assert {name: report[name] for name in moved} == moved
    assert {name: status[name] for name in moved} == moved
    assert status["run"] == report["run"]
    assert service.differences(assets) == []


@pytest.mark.timeout(600)
def test_second_run_changes_nothing(
    migrated: tuple[Service, dict[str, str], list[Asset], dict[str, object]],
    working: Deployment,
    door: CountingDoor,
) -> None:
    """All rows are in place, and the store gets no request that could write: neither from the command nor from a worker (S9)."""
    service, named, _, first = migrated
    rows, objects, writes = service.table.keys(), service.bucket.versions(), door.writes

    again = working.rekey("enqueue", "--watch", "--json", seconds=500, **named)

    assert again.status == 0, again.err
    wanted = {"rows": ASSETS, "in_place": ASSETS, "copied": 0, "renamed": 0, "deleted": 0, "open": 0, "parked": 0}
    assert {name: again.report[name] for name in wanted} == wanted
    assert again.report["run"] != first["run"]
    assert door.writes == writes
    assert service.bucket.versions() == objects
    assert service.table.keys() == rows


@pytest.mark.timeout(300)
def test_workers_stay_small_at_the_default_concurrencies(
    migrated: tuple[Service, dict[str, str], list[Asset], dict[str, object]], largest: dict[str, int]
) -> None:
    """A hundred copies, ten renames and a hundred deletes at once."""
    print(f"MiB: {largest}")  # noqa: T201 - for who asks with -s

    assert set(largest) == {"seed", "copy", "rename", "delete", "beat"}
    assert max(largest.values()) < WORKER_MIB


@pytest.mark.timeout(600)
def test_large_objects_pass_through_bounded_memory(working: Deployment, largest: dict[str, int]) -> None:
    """Objects of 4 MiB, a hundred copy tasks: the bodies in flight stay within the budget of 12 MiB."""
    service, named = working.service()
    assets = service.fill_large(150, size=4 * 2**20)
    largest.clear()
    begun = time.monotonic()

    watched = working.rekey("enqueue", "--watch", "--json", seconds=500, **named)

    assert watched.status == 0, watched.err
    assert service.differences(assets) == []
    print(f"MiB: {largest}, {time.monotonic() - begun:.1f} s")  # noqa: T201 - for who asks with -s
    assert largest["copy"] < WORKER_MIB
