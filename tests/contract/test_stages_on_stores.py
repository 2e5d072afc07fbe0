"""The stages on every real store: large objects, crashes in the middle of one, versions, locks (cases 11, 13, 22)."""

from __future__ import annotations

import io
import secrets
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from minio import Minio
from minio.commonconfig import GOVERNANCE, Tags
from minio.error import S3Error
from minio.retention import Retention

from app import large_copies
from app.large_copies import joined_etag
from app.ledger.reading import ReportLedger
from app.minio_store import MinioStore
from app.object_store import ObjectAttributes
from app.planning import rules_of
from app.probe import probe
from app.stages import writing
from app.states import MoveState
from app.testing import FixedDeadline
from tests.builders import World
from tests.contract.conftest import MinioApplication, Subject

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.contract.conftest import Server

LEASE = FixedDeadline()
MIB = 1024**2
BODY = bytes(range(256)) * (11 * MIB // 256)
HEADERS = {"content-type": "image/png", "cache-control": "no-store", "content-language": "de", "x-amz-meta-by": "anna"}
REAL = ("minio", "seaweed", "versitygw")
KEEPS_ETAG = {"minio": True, "seaweed": False, "versitygw": True}  # of a source in parts


class KilledError(BaseException):
    """A worker is killed: nothing of it runs any more."""


def _world(tmp_path: Path, subject: Subject, **settings: Any) -> World:  # noqa: ANN401 - any setting
    """A table in an SQLite file and a bucket on a real store; the workers' clock is the test's, the store's its own."""
    template = subject.prefix + "clients/{client_id}/{file_name}"
    plain = {"inline_bytes": MIB, "grace_seconds": 0, "settle_seconds": 0, "template": template} | settings
    world = World(tmp_path, settings=plain)
    rules = rules_of(world.context.settings, subject.store.capabilities)
    world.context = world.worker(store=subject.store, rules=rules)
    return world


@pytest.fixture(autouse=True)
def _by_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Large objects are those above a mebibyte, on stores that copy safely too."""
    monkeypatch.setattr(writing, "SINGLE_COPY_BYTES", MIB)


@pytest.fixture(params=REAL)
def real(request: pytest.FixtureRequest, stores_by_name: Callable[[str], Subject]) -> Subject:
    """A real store, and keys that no other test uses."""
    return stores_by_name(request.param)


@pytest.fixture(scope="module")
def stores_by_name(request: pytest.FixtureRequest) -> Iterator[Callable[[str], Subject]]:
    """Real stores, each made when it is first asked for."""
    made: dict[str, Subject] = {}

    def get(name: str) -> Subject:
        if name not in made:
            made[name] = _subject(name, request.getfixturevalue(name))
        found = made[name]
        return Subject(found.name, found.store, found.application)

    yield get
    for subject in made.values():
        subject.store.close()
        subject.application.client._http.clear()  # type: ignore[union-attr]


def _subject(name: str, server: Server, *, locked: bool = False) -> Subject:
    bucket = f"stages-{secrets.token_hex(4)}"
    client = Minio(server.endpoint.partition("//")[2], server.access_key, server.secret_key, secure=False, region="us-east-1")
    client.make_bucket(bucket, object_lock=locked)
    store = MinioStore(endpoint=server.endpoint, access_key=server.access_key, secret_key=server.secret_key, bucket=bucket, pool_size=8)
    store.capabilities = probe(store)
    return Subject(name, store, MinioApplication(client, bucket))


def _upload_in_parts(subject: Subject, key: str) -> str:
    """An object of two parts, the first a little larger than the least; gives its ETag."""
    cut = 5 * MIB + 7
    attributes = ObjectAttributes(headers=HEADERS | {"x-amz-tagging": "a=1&b=2"})
    upload = subject.store.create_upload(key, attributes, deadline=LEASE)
    etags = [
        subject.store.put_part(upload, key, number, part, deadline=LEASE) for number, part in enumerate((BODY[:cut], BODY[cut:]), start=1)
    ]
    subject.store.complete_upload(upload, key, etags, condition=None, deadline=LEASE)
    return joined_etag(etags)


def test_case_11_object_in_parts_moves_with_all_that_readers_see(real: Subject, tmp_path: Path) -> None:
    """Bytes, headers, metadata and tags as by one request, the ETag where the store's hashes allow it; no upload is left."""
    world = _world(tmp_path, real, copy_concurrency=4)
    etag = _upload_in_parts(real, real.key("up/1.png"))
    world.add(1, real.key("up/1.png"), body=None)
    world.go()
    new_key = real.key("clients/7/1.png")
    read = real.store.read(new_key, max_bytes=len(BODY))

    assert (world.states(), world.key(1)) == ({"deleted": 1}, new_key)
    assert read.body == BODY
    assert {name: read.attributes.headers[name] for name in HEADERS} == HEADERS
    assert sorted(real.store.tags(new_key).split("&")) == ["a=1", "b=2"]
    assert (read.info.etag == etag) is KEEPS_ETAG[real.name]
    assert real.application.uploads(new_key) == []
    assert real.get("up/1.png") is None


def test_upload_of_a_killed_worker_is_aborted_and_theirs_is_not(real: Subject, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two uploads to one key: ours by the ledger's record, and one of the application's."""
    world = _world(tmp_path, real)
    _upload_in_parts(real, real.key("up/1.png"))
    world.add(1, real.key("up/1.png"), body=None)
    new_key = real.key("clients/7/1.png")
    theirs = real.store.create_upload(new_key, ObjectAttributes(), deadline=LEASE)
    world.seed()

    def kill(*_args: object, **_more: object) -> str:
        raise KilledError

    with monkeypatch.context() as patch:
        patch.setattr(large_copies._Parts, "copy", kill)
        with pytest.raises(KilledError):
            world.do("copy")
    assert len(real.application.uploads(new_key)) == 2
    world.later(31)
    world.tick()

    assert [upload == theirs for upload in real.application.uploads(new_key)] == [True]
    world.go()
    assert (world.states(), real.get("clients/7/1.png")) == ({"deleted": 1}, BODY)
    assert len(real.application.uploads(new_key)) == 1
    real.store.abort_upload(theirs, new_key)


@pytest.fixture
def locked(minio: Server) -> Iterator[Subject]:
    """A versioned bucket with object lock; MinIO's is real."""
    made = _subject("minio", minio, locked=True)
    yield made
    made.store.close()
    made.application.client._http.clear()  # type: ignore[union-attr]


def _client(subject: Subject) -> tuple[Minio, str]:
    application = subject.application
    assert isinstance(application, MinioApplication)
    return application.client, application.bucket


def _versions(subject: Subject, key: str) -> list[tuple[str, bool, int]]:
    """(version id, whether it is a marker, size), the current one first."""
    client, bucket = _client(subject)
    found = sorted(client.list_objects(bucket, prefix=key, include_version=True), key=lambda info: str(info.is_latest) != "true")
    return [(str(info.version_id), bool(info.is_delete_marker), int(info.size or 0)) for info in found if info.object_name == key]


def test_delete_in_a_versioned_bucket_frees_nothing_and_says_so(locked: Subject, tmp_path: Path) -> None:
    """The old version stays below a marker; its bytes are reported as held (case 13)."""
    world = _world(tmp_path, locked)
    for number in (1, 2):
        key = locked.key(f"up/{number}.png")
        locked.application.put(key, b"x" * number * 100)
        world.add(number, key, body=None)
    world.go()

    assert world.states() == {"deleted": 2}
    assert [(marker, size) for _, marker, size in _versions(locked, locked.key("up/2.png"))] == [(True, 0), (False, 200)]
    held = ReportLedger(world.engine).held(world.run)
    assert (held.objects, held.bytes) == (2, 300)


def test_late_write_that_a_delete_covers_can_be_brought_back(locked: Subject, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """MinIO deletes whatever is there by then; in a versioned bucket that is a marker over it, and taking the marker away undoes it."""
    world = _world(tmp_path, locked)
    key = locked.key("up/1.png")
    locked.application.put(key, b"v1")
    world.add(1, key, body=None)
    honest = MinioStore.delete

    def late(store: MinioStore, objects: Any, **more: Any) -> Any:  # noqa: ANN401 - as the port's
        if any(info.key == key for info in objects):
            locked.application.put(key, b"too late for every look")
        return honest(store, objects, **more)

    monkeypatch.setattr(MinioStore, "delete", late)
    world.go()
    versions = _versions(locked, key)
    client, bucket = _client(locked)

    assert (world.states(), locked.get("clients/7/1.png"), locked.get("up/1.png")) == ({"deleted": 1}, b"v1", None)
    assert [marker for _, marker, _ in versions] == [True, False, False]
    client.remove_object(bucket, key, version_id=versions[0][0])
    assert locked.get("up/1.png") == b"too late for every look"


@pytest.mark.parametrize("large", [False, True], ids=["whole", "by parts"])
def test_case_13_lock_is_never_bypassed_and_goes_with_the_copy(locked: Subject, tmp_path: Path, *, large: bool) -> None:
    """Retention of a day and a legal hold: the old version cannot be removed, the new object is as protected, the bytes are held."""
    world = _world(tmp_path, locked, inline_bytes=0 if large else MIB)
    client, bucket = _client(locked)
    until = (datetime.now(UTC) + timedelta(days=1)).replace(microsecond=0)
    tags = Tags.new_object_tags()
    tags["a"] = "1"
    key, new_key = locked.key("up/1.png"), locked.key("clients/7/1.png")
    client.put_object(bucket, key, io.BytesIO(b"kept"), 4, tags=tags, retention=Retention(GOVERNANCE, until), legal_hold=True)
    world.add(1, key, body=None)
    world.go()
    versions = _versions(locked, key)

    assert (world.states(), locked.get("clients/7/1.png")) == ({"deleted": 1}, b"kept")
    assert [(marker, size) for _, marker, size in versions] == [(True, 0), (False, 4)]
    with pytest.raises(S3Error, match="WORM"):
        client.remove_object(bucket, key, version_id=versions[1][0])
    assert client.get_object_retention(bucket, new_key).retain_until_date == until
    assert client.is_object_legal_hold_enabled(bucket, new_key)
    assert locked.store.tags(new_key) == "a=1"
    assert ReportLedger(world.engine).held(world.run).bytes == 4


def test_default_retention_of_the_bucket_stops_no_copy(locked: Subject, tmp_path: Path) -> None:
    """Every write gets a lock of the bucket's own; copies go in as uploads do."""
    from minio.objectlockconfig import DAYS, ObjectLockConfig  # noqa: PLC0415

    client, bucket = _client(locked)
    client.set_object_lock_config(bucket, ObjectLockConfig(GOVERNANCE, 1, DAYS))
    for number, inline in ((1, MIB), (2, 0)):
        (tmp_path / str(number)).mkdir()
        world = _world(tmp_path / str(number), locked, inline_bytes=inline)
        key = locked.key(f"up/{number}.png")
        locked.application.put(key, b"default")
        world.add(number, key, body=None)
        world.go()

        assert (world.states(), locked.get(f"clients/7/{number}.png")) == ({"deleted": 1}, b"default")


def test_case_22_deletes_beyond_one_request_and_a_folder_s_own_object(real: Subject, tmp_path: Path) -> None:
    """1,200 old keys in two requests, and `up/folder/`, empty: deleted means absent when it is looked for."""
    world = _world(tmp_path, real, template=real.prefix + "clients/{client_id}/{key}")
    folder = real.key("up/folder/")
    real.store.put(folder, b"", ObjectAttributes(), condition=None, deadline=LEASE)
    for number in range(1200):
        key = real.key(f"up/{number:04}")
        real.store.put(key, b"x", ObjectAttributes(), condition=None, deadline=LEASE)
        world.add(number + 1, key, body=None)
    world.go()

    assert world.states() == {"deleted": 1200}
    left = real.store.list_page(prefix=real.key("up/"), start_after="", delimiter="").objects
    assert [info.key for info in left] == [folder]
    assert all(move.state is MoveState.DELETED for move in world.moves())
