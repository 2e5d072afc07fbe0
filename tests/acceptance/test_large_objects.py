"""Large objects by the real commands and workers on MinIO: bytes, headers, ETag, memory, and no upload left behind (case 11).

``make big`` moves one of 5 GiB and a byte; ``make test`` one of some parts.
"""

from __future__ import annotations

import hashlib
import io
import os
import signal
import sys
import threading
from typing import TYPE_CHECKING

import psutil
import pytest
from minio import Minio
from minio.commonconfig import ComposeSource, Tags

from tests.integration.processes import role_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.acceptance.deployment import Deployment
    from tests.acceptance.service import Service

MIB = 1024**2
BIG = os.environ.get("BIG") == "yes"
SIZE = 5 * 1024 * MIB + 1 if BIG else 24 * MIB + 1
BLOCK = 64 * MIB if BIG else 8 * MIB  # a part of the source
WORKER_MIB = 200
SECONDS = 1500.0
HEADERS = {"Cache-Control": "max-age=60, private", "Content-Language": "de", "Content-Disposition": 'inline; filename="film.mp4"'}
SHOWN = ("cache-control", "content-language", "content-disposition", "content-type", "x-amz-meta-owner", "x-amz-meta-take")


class Film:
    """One large asset: its bucket's blocks again and again, and a byte."""

    def __init__(self, service: Service, *, number: int) -> None:
        self._client: Minio = service.bucket._client
        self._bucket = service.bucket.name
        self.block = hashlib.shake_128(str(number).encode()).digest(MIB) * (BLOCK // MIB)
        self.old_key, self.new_key = f"films/{number}.mp4", f"clients/7/assets/{number}.mp4"
        self._compose(number)
        service.table.insert([{"id": number, "client_id": 7, "object_key": self.old_key, "title": "a film"}])
        self.etag, self.headers, self.tags = self.look(self.old_key)

    def _compose(self, number: int) -> None:
        for name, body in (("block", self.block), ("byte", b"!")):
            self._client.put_object(self._bucket, f"{number}-{name}", io.BytesIO(body), len(body))
        sources = [ComposeSource(self._bucket, f"{number}-block")] * (SIZE // BLOCK) + [ComposeSource(self._bucket, f"{number}-byte")]
        tags = Tags.new_object_tags()
        tags.update({"kind": "film", "year": "1927"})
        metadata = HEADERS | {"Content-Type": "video/mp4", "x-amz-meta-owner": "anna", "x-amz-meta-take": "3"}
        self._client.compose_object(self._bucket, self.old_key, sources, metadata=metadata, tags=tags)
        for name in ("block", "byte"):
            self._client.remove_object(self._bucket, f"{number}-{name}")

    def look(self, key: str) -> tuple[str, dict[str, str], dict[str, str]]:
        """ETag, headers and tags of an object."""
        found = self._client.stat_object(self._bucket, key)
        assert found.size == SIZE
        assert found.metadata is not None
        headers = {name.lower(): value for name, value in found.metadata.items()}
        return str(found.etag), {name: headers[name] for name in SHOWN}, dict(self._client.get_object_tags(self._bucket, key) or {})

    def has_arrived(self) -> bool:
        """Whether the object at the new key has these very bytes."""
        answer = self._client.get_object(self._bucket, self.new_key)
        try:
            blocks = (answer.read(BLOCK) == self.block for _ in range(SIZE // BLOCK))
            return all(blocks) and answer.read(2) == b"!" and answer.read(1) == b""
        finally:
            answer.close()
            answer.release_conn()

    def uploads(self) -> int:
        """Unfinished uploads to the new key: MinIO lists them by whole keys only."""
        return len(self._client._list_multipart_uploads(self._bucket, prefix=self.new_key).uploads)


@pytest.fixture
def highest() -> dict[str, int]:
    """The most memory that each worker has had, by the system's account, MiB."""
    return {}


@pytest.fixture
def working(deployment: Deployment, highest: dict[str, int]) -> Iterator[Deployment]:
    """All workers, watched."""
    with deployment.workers(name="large") as supervisor:
        over = threading.Event()
        watching = threading.Thread(target=_watch, args=(supervisor.pid, highest, over))
        watching.start()
        yield deployment
        over.set()
        watching.join()


def _watch(pid: int, highest: dict[str, int], over: threading.Event) -> None:
    while not over.wait(0.3):
        for child in psutil.Process(pid).children():
            try:
                name, status = role_of(child.pid), _status(child.pid)
            except (psutil.Error, OSError):
                continue
            if name is not None:
                highest[name] = max(highest.get(name, 0), status // 1024)


def _status(pid: int) -> int:
    """VmHWM, kB: what it never exceeded until now."""
    with open(f"/proc/{pid}/status", encoding="ascii") as file:  # noqa: PTH123 - not a file of anybody's
        return next(int(line.split()[1]) for line in file if line.startswith("VmHWM"))


def test_large_object_arrives_whole_within_little_memory(working: Deployment, highest: dict[str, int]) -> None:
    """Exactly its bytes, headers, metadata, tags and ETag; the workers stay small; nothing is left but the object."""
    service, named = working.service()
    film = Film(service, number=1)
    ended = working.rekey("enqueue", "--watch", "--json", seconds=SECONDS, **named)

    assert ended.status == 0, ended.err
    assert (ended.report["rows"], ended.report["deleted"]) == (1, 1)
    assert service.table.key(1) == film.new_key
    assert film.look(film.new_key) == (film.etag, film.headers, film.tags)
    assert film.etag.endswith(f"-{SIZE // BLOCK + 1}")
    assert film.has_arrived()
    assert service.bucket.keys() == {film.new_key}
    assert film.uploads() == 0
    assert {name for name, size in highest.items() if size >= WORKER_MIB} == set(), highest
    assert set(highest) >= {"copy", "rename", "delete"}
    sys.stdout.write(f"{SIZE} bytes in {ended.report['seconds']} s; most memory of the workers, MiB: {highest}\n")
    service.close()


@pytest.mark.skipif(not BIG, reason="a small object is copied before anybody could kill its worker: `make big`")
def test_worker_killed_in_the_middle_of_a_large_object_leaves_no_upload(deployment: Deployment, tmp_path: Path) -> None:
    """SIGKILL between two parts: its upload is aborted, and the object arrives all the same."""
    service, named = deployment.service()
    film = Film(service, number=2)
    with deployment.workers(name="killed") as supervisor:
        run = deployment.start("app", "enqueue", "--watch", "--json", name="run", **named)
        deployment.wait_for(lambda _: film.uploads() == 1, **named)
        for child in psutil.Process(supervisor.pid).children():
            if role_of(child.pid) == "copy":
                child.send_signal(signal.SIGKILL)
        ended = run.finish(seconds=SECONDS)

    assert ended.status == 0, ended.err
    assert (film.uploads(), film.has_arrived()) == (0, True)
    assert film.look(film.new_key) == (film.etag, film.headers, film.tags)
    service.close()
