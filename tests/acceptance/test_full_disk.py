"""A bucket that has no room for a second copy of everything (case 23)."""

from __future__ import annotations

import os
import subprocess
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest

from tests.acceptance.deployment import Deployment
from tests.acceptance.service import Asset, Content
from tests.servers import minio_server

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.acceptance.service import Service
    from tests.servers import RedisServer, S3Server, SqlServer

DISK_BYTES = 200 * 2**20
ASSETS, SIZE = 150, 2**20
GRACE_SECONDS = 5
FULL = 0.97  # of the disk: less than a few more objects and the store's own files take


@dataclass(slots=True)
class Fullest:
    """How full the disk ever was, looked at all the time while the block runs."""

    folder: Path
    share: float = 0.0
    _over: threading.Event = field(default_factory=threading.Event)
    _thread: threading.Thread | None = None

    def __enter__(self) -> None:
        self._thread = threading.Thread(target=self._look, daemon=True)
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._over.set()
        assert self._thread is not None
        self._thread.join(10)

    def _look(self) -> None:
        while not self._over.wait(0.02):
            disk = os.statvfs(self.folder)
            self.share = max(self.share, 1 - disk.f_bavail / disk.f_blocks)


@pytest.fixture
def small_disk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with little room, of its own."""
    folder = tmp_path_factory.mktemp("disk")
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES}", "tmpfs", folder], capture_output=True, text=True, check=False
    )
    if mounted.returncode != 0:
        pytest.skip(f"no file system of a given size can be mounted here: {mounted.stderr.strip()}")
    yield folder
    subprocess.run(["umount", "--lazy", folder], check=True)


@pytest.fixture
def small_store(small_disk: Path) -> Iterator[S3Server]:
    """MinIO on it."""
    with minio_server(small_disk) as server:
        yield server


@pytest.fixture
def crowded(small_store: S3Server, postgres: SqlServer, redis_server: RedisServer, tmp_path: Path) -> Iterator[Deployment]:
    """A deployment on that store."""
    url = postgres.make_database()
    made = Deployment(database_url=url, broker_url=redis_server.url, store=small_store, folder=tmp_path)
    assert made.rekey("init").status == 0
    yield made
    postgres.drop_database(url)


def fill(service: Service) -> list[Asset]:
    """Three quarters of the disk."""
    assets = []
    for number in range(1, ASSETS + 1):
        content = Content(body=number.to_bytes(4, "big") * (SIZE // 4), content_type="image/png", metadata={"number": str(number)})
        name = f"picture-{number}.png"
        assets.append(Asset(id=number, client=7, old_key=name, new_key=f"clients/7/assets/{name}", content=content))
    return service.add(assets)


@pytest.mark.timeout(400)
def test_case_23_copies_wait_on_a_full_disk_while_deletes_make_room(crowded: Deployment, small_disk: Path) -> None:
    """No asset is parked for it, and the run ends by itself."""
    service, named = crowded.service()
    assets = fill(service)
    fullest = Fullest(small_disk)
    with crowded.workers(), fullest:
        started = crowded.rekey("enqueue", REKEY_GRACE_SECONDS=str(GRACE_SECONDS), **named)
        ended = crowded.rekey("status", "--watch", "--json", seconds=300, **named)

    assert started.status == 0, started.err
    assert fullest.share > FULL, "the disk was never full"
    assert ended.status == 0, ended.err
    assert (ended.report["state"], ended.report["deleted"], ended.report["parked"]) == ("finished", ASSETS, 0)
    assert service.differences(assets) == []
