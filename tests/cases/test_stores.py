"""Cases about a real store, MinIO and SeaweedFS: one object under two names, lost replies, stalls, a late write."""

from __future__ import annotations

import re
import secrets
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest
from minio import Minio

from app.minio_store import MinioStore
from app.probe import probe
from app.stages import aftercare
from app.states import MoveState
from tests.builders import World
from tests.cases.scripted_door import ScriptedDoor
from tests.contract.conftest import MinioApplication

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.servers import S3Server

REQUEST_SECONDS = 2.0
PATIENCE_SECONDS = 60.0
AT_ONCE = {"grace_seconds": 0, "settle_seconds": 2, "lease_seconds": 20, "request_timeout_seconds": 2}


@dataclass
class Shop:
    """A world whose assets lie in a real bucket, behind a door."""

    world: World
    door: ScriptedDoor
    bucket: MinioApplication

    def add(self, number: int, key: str, body: bytes, *, client: int = 7) -> None:
        """A row and its object."""
        self.bucket.put(key, body)
        self.world.add(number, key, body=None, client=client)

    def contents(self) -> dict[str, bytes | None]:
        """Every object but the product's own, read by minio's own client."""
        names = [str(info.object_name) for info in self.bucket.client.list_objects(self.bucket.bucket, recursive=True)]
        return {name: self.bucket.get(name) for name in names if not name.startswith(".rekey/")}


@pytest.fixture(params=["minio", "seaweed"])
def shop(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Shop]:
    """An empty one on each store."""
    monkeypatch.setattr(aftercare, "GONE_SECONDS", 2)  # by the store's own clock, which a test cannot set
    server: S3Server = request.getfixturevalue(request.param)
    door = ScriptedDoor(server.endpoint)
    name = f"cases-{secrets.token_hex(4)}"
    given: dict[str, Any] = {"endpoint": door.endpoint, "access_key": server.access_key, "secret_key": server.secret_key, "bucket": name}
    patient = MinioStore(**given)
    try:
        patient.make_bucket()
        seen = probe(patient)
    finally:
        patient.close()
    store = MinioStore(**given, pool_size=4, request_timeout=REQUEST_SECONDS, capabilities=seen)
    world = World(tmp_path, settings=AT_ONCE)
    world.store = store  # type: ignore[assignment] # a real one
    world.context = world.worker()
    client = Minio(server.endpoint.partition("//")[2], server.access_key, server.secret_key, secure=False, region="us-east-1")
    yield Shop(world, door, MinioApplication(client, name))
    store.close()
    client._http.clear()
    door.close()
    world.engine.dispose()


def _go(shop: Shop) -> None:
    """Drive the run to its end; the store's clock runs by itself."""
    end = time.monotonic() + PATIENCE_SECONDS
    while not shop.world.moves() or shop.world.run.is_live:
        assert time.monotonic() < end, shop.world.moves()
        shop.world.go(until=1)
        time.sleep(0.05)


def test_case_1_one_object_under_two_spellings_is_never_deleted(shop: Shop) -> None:
    """Both stores take a key with a leading slash for the one without: seen by the probe, and only the row's text is corrected."""
    shop.add(1, "/clients/7/assets/a.png", b"the only bytes")
    shop.add(2, "/up/b.png", b"shared")
    shop.world.add(3, "up/b.png", body=None, client=8)
    shop.add(4, "up/c.png", b"plain")
    _go(shop)

    assert shop.contents() == {
        "clients/7/assets/a.png": b"the only bytes",
        "clients/7/assets/b.png": b"shared",
        "clients/8/assets/b.png": b"shared",
        "clients/7/assets/c.png": b"plain",
    }
    assert [shop.world.key(number) for number in (1, 2, 3, 4)] == sorted(shop.contents(), key=lambda key: (key[-5:], key))
    assert shop.world.states() == {"in_place": 1, "deleted": 3}


@pytest.mark.parametrize("method", ["PUT", "POST", "DELETE"])
def test_case_18_a_write_whose_reply_was_lost_converges(shop: Shop, method: str) -> None:
    """The connection is cut when the store has done it: copy, completion, delete; the report knows of no failure."""
    shop.add(1, "up/1.png", b"one")
    shop.add(2, "up/2.png", b"two")
    if method == "POST":
        shop.world.settings = {**AT_ONCE, "inline_bytes": 1}
        shop.world.context = shop.world.worker()
    shop.door.plan("lost_reply", lambda request: request.method == method)
    _go(shop)

    assert len(shop.door.harmed) == (method != "DELETE")  # keys are deleted by POST, many at once
    assert shop.world.states() == {"deleted": 2}
    assert shop.contents() == {"clients/7/assets/1.png": b"one", "clients/7/assets/2.png": b"two"}
    assert [move.attempts for move in shop.world.moves()] == [0, 0]


def test_case_20_a_copy_that_stalls_is_signed_anew_each_time(shop: Shop) -> None:
    """Three times longer than a request may take: each attempt ends in time, none is the same request again, and the asset is moved."""
    shop.add(1, "up/1.png", b"one")
    shop.door.plan("stall", lambda request: request.method == "PUT" and "clients/" in request.target, times=3)
    shop.world.seed()
    seconds = []
    for _ in range(3):
        began = time.monotonic()
        shop.world.do("copy", [1])
        seconds.append(time.monotonic() - began)
        assert shop.world.move(1).state is MoveState.PLANNED
        shop.world.later(AT_ONCE["lease_seconds"] + 1)
    shop.door.planned.clear()
    _go(shop)

    signatures = [re.search(rb"[Ss]ignature=([0-9a-f]+)", request.head) for request in shop.door.harmed]
    assert len({found[1] for found in signatures if found}) == 3
    assert max(seconds) < 2 * REQUEST_SECONDS
    assert (shop.world.states(), shop.world.move(1).attempts) == ({"deleted": 1}, 0)
    assert shop.contents() == {"clients/7/assets/1.png": b"one"}


@pytest.mark.parametrize("when", ["before the switch", "after the switch"])
def test_case_21_a_late_write_is_copied_again_and_not_deleted(shop: Shop, when: str) -> None:
    """The old key is overwritten after our copy and before our delete, whether or not the store honours conditions on deletes."""
    shop.add(1, "up/1.png", b"first")
    shop.world.seed()
    shop.world.do("copy")
    time.sleep(1.1)  # a write within the second of the first one could only be told by its ETag
    if when == "after the switch":
        shop.world.do("rename")
    shop.bucket.put("up/1.png", b"later")
    if when == "before the switch":
        shop.world.do("rename")
        assert shop.world.key(1) == "up/1.png"
    _go(shop)

    assert shop.contents() == {"clients/7/assets/1.png": b"later"}
    assert (shop.world.key(1), shop.world.states()) == ("clients/7/assets/1.png", {"deleted": 1})
