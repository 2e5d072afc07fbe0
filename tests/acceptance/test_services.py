"""Services of others through a whole run and its rollback: Django with django-storages, and plain SQLAlchemy with minio."""

from __future__ import annotations

import random
import threading
import time
import urllib.error
import urllib.request
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import pytest

from tests.integration.processes import free_port, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from tests.acceptance.deployment import Deployment
    from tests.acceptance.service import Asset, Service

ASSETS = 150
READERS = 6  # of each service
HELD = 5  # assets whose readers read the row before the run and the object after it
SERVICES = ("django_service", "sqlalchemy_service")


@dataclass
class Reads:
    """What readers of one service saw."""

    count: int = 0
    again: int = 0  # the row was asked a second time
    failed: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Front:
    """A running service."""

    url: str

    def get(self, number: int) -> tuple[bytes, int]:
        """An asset, and how often its row was read."""
        with urllib.request.urlopen(f"{self.url}/assets/{number}", timeout=300) as response:  # noqa: S310 - our own
            return response.read(), int(response.headers["X-Row-Reads"])

    def post(self, number: int, client: int, name: str, body: bytes) -> str:
        """Upload a new asset; gives its key."""
        request = urllib.request.Request(f"{self.url}/assets/{number}/{client}/{name}", data=body, method="POST")  # noqa: S310
        with urllib.request.urlopen(request, timeout=300) as response:  # noqa: S310
            return response.read().decode()


@contextmanager
def served(deployment: Deployment, named: Mapping[str, str], gate: Path, *, client_file: bool) -> Iterator[dict[str, Front]]:
    """Both services over one table and bucket."""
    environ = {
        "SERVICE_DATABASE_URL": deployment.database_url,
        "SERVICE_TABLE": named["REKEY_TABLE"],
        "SERVICE_BUCKET": named["REKEY_S3_BUCKET"],
        "SERVICE_ENDPOINT": deployment.store.endpoint,
        "SERVICE_ACCESS_KEY": deployment.store.access_key,
        "SERVICE_SECRET_KEY": deployment.store.secret_key,
        "SERVICE_CLIENT_FILE": "yes" if client_file else "no",
        "SERVICE_GATE": str(gate),
        "SERVICE_HELD": str(HELD),
    }
    with ExitStack() as exits:
        fronts = {}
        for name in SERVICES:
            port = free_port()
            process = deployment.start(f"tests.acceptance.services.{name}", str(port), name=f"{name}-{port}", **environ)
            exits.callback(process.kill)
            process.wait_for("serving", seconds=60)
            fronts[name] = Front(f"http://127.0.0.1:{port}")
        yield fronts


@contextmanager
def read_all_the_time(fronts: Mapping[str, Front], assets: list[Asset], gate: Path) -> Iterator[dict[str, Reads]]:
    """Readers of random assets for the length of a block, and some that hold a row's key all along it."""
    over = threading.Event()
    reads = {name: Reads() for name in fronts}

    def loop(name: str, seed: int) -> None:
        chance = random.Random(seed)
        while not over.is_set():
            read(name, chance.choice(assets[HELD:]))

    def read(name: str, asset: Asset) -> None:
        try:
            body, row_reads = fronts[name].get(asset.id)
        except urllib.error.HTTPError as error:
            reads[name].failed.append(f"asset {asset.id}: {error.code} {error.read()[-300:]!r}")
            return
        reads[name].count += 1
        reads[name].again += row_reads - 1
        if body != asset.content.body:
            reads[name].failed.append(f"asset {asset.id}: other bytes")

    threads = [threading.Thread(target=loop, args=(name, seed)) for name in fronts for seed in range(READERS)]
    threads += [threading.Thread(target=read, args=(name, asset)) for name in fronts for asset in assets[:HELD]]
    for thread in threads:
        thread.start()
    try:
        wait_until(lambda: len(list(gate.iterdir())) == HELD * len(fronts), seconds=60)
        yield reads
    finally:
        (gate / "open").touch()
        over.set()
        for thread in threads:
            thread.join()


def back(service: Service, assets: list[Asset]) -> list[str]:
    """Where table and bucket are not as they were before any run."""
    return service.differences([replace(asset, new_key=asset.old_key) for asset in assets])


def upload_one_each(fronts: Mapping[str, Front], number: int) -> None:
    """A new asset through each service, which is at the new scheme's key at once."""
    for position, (name, front) in enumerate(fronts.items()):
        assert front.post(number + position, 7, f"{name}.txt", b"new") == f"clients/7/assets/{name}.txt"


@pytest.mark.timeout(400)
def test_services_with_the_client_file_need_no_grace(working: Deployment, tmp_path: Path) -> None:
    """Readers that find the object gone ask the row again, and none fails: neither on the way there nor on the way back."""
    service, named = working.service()
    assets = service.fill(ASSETS)
    named = dict(named) | {"REKEY_COPY_RATE": "25"}
    with served(working, named, tmp_path, client_file=True) as fronts, read_all_the_time(fronts, assets, tmp_path) as reads:
        there = working.rekey("enqueue", "--watch", "--json", seconds=200, **named)
        moved = service.differences(assets)
        (tmp_path / "open").touch()
        wait_until(lambda: all(seen.again >= HELD for seen in reads.values()), seconds=60)
        home = working.rekey("rollback", "--yes", "--watch", "--json", seconds=200, **named)
        time.sleep(1)  # for reads that began before the last switch
        before = back(service, assets)
        upload_one_each(fronts, ASSETS + 1)
        uploaded = working.rekey("enqueue", "--watch", "--json", seconds=200, **named)

    assert [there.status, home.status, uploaded.status] == [0, 0, 0], [there.err, home.err, uploaded.err]
    assert (there.report["deleted"], home.report["deleted"], moved, before) == (ASSETS, ASSETS, [], [])
    assert (uploaded.report["deleted"], uploaded.report["in_place"]) == (ASSETS, len(SERVICES))
    assert {name: seen.failed for name, seen in reads.items()} == {name: [] for name in SERVICES}
    assert all(seen.count > seen.again >= HELD for seen in reads.values()), reads


@pytest.mark.timeout(400)
def test_services_as_they_are_need_the_default_grace_only(working: Deployment, tmp_path: Path) -> None:
    """No line of the services is changed: the old objects stay for an hour, or until the rollback, and no read fails."""
    service, named = working.service()
    assets = service.fill(ASSETS)
    named = dict(named) | {"REKEY_GRACE_SECONDS": "3600"}
    with served(working, named, tmp_path, client_file=False) as fronts, read_all_the_time(fronts, assets, tmp_path) as reads:
        there = working.rekey("enqueue", "--watch", "--json", "--until", "renamed", seconds=200, **named)
        switched = service.table.keys()
        paused = working.rekey("pause", **named)
        home = working.rekey("rollback", "--yes", "--json", seconds=200, **named)
        assert (there.status, paused.status, home.status) == (0, 0, 0), [there.err, paused.err, home.err]
        working.wait_for(lambda report: report["kind"] == "rollback" and report["renamed"] == ASSETS, **named)

    assert switched == {asset.id: asset.new_key for asset in assets}
    assert service.table.keys() == {asset.id: asset.old_key for asset in assets}
    assert {name: seen.failed for name, seen in reads.items()} == {name: [] for name in SERVICES}
    assert all(seen.count > 0 for seen in reads.values()), reads
