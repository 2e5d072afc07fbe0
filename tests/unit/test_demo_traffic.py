"""The demonstration's reader and writer: what counts as a failed read, and how a service writes."""

from __future__ import annotations

import hashlib
import math
import time
from typing import TYPE_CHECKING

import pytest

from app.demo.service import Asset, Found, Table, Version, upload
from app.demo.traffic import Book, Reader, Writer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

OLD, NEW = "uploads/000001.png", "clients/7/assets/a.png"


class Bucket:
    """The service's bucket in a dictionary; *before* is called before each request."""

    def __init__(self) -> None:
        self.objects: dict[str, tuple[bytes, str]] = {}
        self.before: Callable[[str, str], None] = lambda _name, _key: None

    def put(self, key: str, body: bytes, content_type: str) -> None:
        """Upload."""
        self.before("put", key)
        self.objects[key] = (body, content_type)

    def get(self, key: str) -> Found | None:
        """What is there."""
        self.before("get", key)
        if key not in self.objects:
            return None
        body, content_type = self.objects[key]
        return Found(digest=hashlib.sha256(body).digest(), content_type=content_type)

    def remove(self, key: str) -> None:
        """Delete."""
        self.before("remove", key)
        self.objects.pop(key, None)

    def close(self) -> None:
        """Nothing to close."""


@pytest.fixture
def table(tmp_path: Path) -> Iterator[Table]:
    """The service's table, empty."""
    made = Table(str(tmp_path / "assets.db"))
    made.create()
    yield made
    made.close()


@pytest.fixture
def bucket() -> Bucket:
    """The service's bucket, empty."""
    return Bucket()


@pytest.fixture
def asset(table: Table, bucket: Bucket) -> Asset:
    """An asset at its old key, as the service once uploaded it."""
    made = Asset(id=1, client=7, name="a.png", first_key=OLD)
    upload(bucket, made, b"v1", "image/png", key=OLD)
    table.insert([(1, 7, "a.png", "image/png", OLD)])
    made.settled = True
    return made


@pytest.fixture
def reader(table: Table, bucket: Bucket, asset: Asset) -> Reader:
    """A reader of that asset."""
    return Reader(Book(assets=[asset]), table=table, bucket=bucket, grace_seconds=2, late_seconds=10)


def switch(table: Table) -> None:
    """What the run does to the row."""
    table.select(f"UPDATE client_assets SET object_key = '{NEW}'")


def write_again(bucket: Bucket, asset: Asset, body: bytes, *, key: str, answered_ago: float = 0.0) -> None:
    """The service writes the asset, and had its answer so many seconds ago."""
    upload(bucket, asset, body, "image/png", key=key)
    version = asset.versions.pop()
    asset.versions.append(
        Version(digest=version.digest, content_type=version.content_type, key=key, answered_at=time.monotonic() - answered_ago)
    )


def test_read_is_good_when_the_row_leads_to_the_newest_bytes(reader: Reader, table: Table, bucket: Bucket) -> None:
    """Before and after the switch alike."""
    reader.act()
    bucket.objects[NEW] = bucket.objects[OLD]
    switch(table)
    reader.act()

    assert (reader.count, reader.failed, reader.late) == (2, [], 0)


@pytest.mark.parametrize(
    ("there", "problem"),
    [
        (None, "no object 'uploads/000001.png'"),
        ((b"v2", "image/png"), "other bytes or another content type at 'uploads/000001.png' than were written last"),
        ((b"v1", "text/plain"), "other bytes or another content type at 'uploads/000001.png' than were written last"),
    ],
)
def test_read_fails_when_the_object_is_not_what_was_written(
    reader: Reader, bucket: Bucket, there: tuple[bytes, str] | None, problem: str
) -> None:
    """Nothing, other bytes, or other headers."""
    bucket.objects = {OLD: there} if there else {}
    reader.act()

    assert reader.failed == [f"asset 1 of client 7: {problem}"]


def test_read_fails_when_the_row_is_gone_and_nobody_removed_it(reader: Reader, table: Table) -> None:
    """A row that the run lost."""
    table.delete(1)
    reader.act()

    assert reader.failed == ["asset 1 of client 7: its row is gone"]


def test_read_is_good_when_the_writer_removed_the_asset_between_row_and_object(
    reader: Reader, table: Table, bucket: Bucket, asset: Asset
) -> None:
    """The reader looks at the row once more, and finds it gone as well."""

    def remove(_name: str, _key: str) -> None:
        asset.removed_at = time.monotonic()
        table.delete(1)
        bucket.objects.clear()

    bucket.before = remove
    reader.act()

    assert (reader.count, reader.failed) == (1, [])


def test_read_fails_when_a_removal_is_under_way_but_the_row_is_still_there(reader: Reader, bucket: Bucket, asset: Asset) -> None:
    """Row first, then the object: an object that is gone before its row is a failed read."""

    def begin_to_remove(_name: str, _key: str) -> None:
        asset.removed_at = time.monotonic()
        bucket.objects.clear()

    bucket.before = begin_to_remove
    reader.act()

    assert reader.failed == ["asset 1 of client 7: no object 'uploads/000001.png'"]


def test_read_may_give_either_version_while_a_write_is_under_way(reader: Reader, bucket: Bucket, asset: Asset) -> None:
    """A write that has no answer yet may be there or not."""
    write_again(bucket, asset, b"v2", key=OLD, answered_ago=-math.inf)
    reader.act()
    bucket.objects[OLD] = (b"v1", "image/png")
    reader.act()

    assert (reader.count, reader.failed, reader.late) == (2, [], 0)


@pytest.mark.parametrize(("write", "late"), [((OLD, 3.0), True), ((OLD, 11.0), False), ((NEW, 3.0), False)])
def test_read_may_be_late_only_after_a_write_to_the_old_key_and_for_a_while(
    reader: Reader, bucket: Bucket, asset: Asset, write: tuple[str, float], *, late: bool
) -> None:
    """S1: a write to the old key that overlaps the switch shows at the new key after the next look; one to the new key at once."""
    key, answered_ago = write
    write_again(bucket, asset, b"v2", key=key, answered_ago=answered_ago)
    bucket.objects[NEW] = (b"v1", "image/png")
    switch(reader._table)
    reader.act()

    assert (reader.late, len(reader.failed)) == ((1, 0) if late else (0, 1))


def test_read_is_done_again_when_it_took_longer_than_the_grace(reader: Reader, table: Table, bucket: Bucket) -> None:
    """A1: after the grace a key that was read from a row is good for nothing."""
    reader._grace_seconds = 0.01

    def moved_meanwhile(_name: str, key: str) -> None:
        if key == OLD:
            bucket.objects[NEW] = bucket.objects.pop(OLD)
            switch(table)
            time.sleep(0.02)

    bucket.before = moved_meanwhile
    reader.act()

    assert (reader.count, reader.failed) == (1, [])


def make_writer(table: Table, bucket: Bucket, assets: list[Asset], *, kind: str, monkeypatch: pytest.MonkeyPatch) -> Writer:
    """A writer that only does one kind of write."""
    writer = Writer(Book(assets=assets), table=table, bucket=bucket, grace_seconds=2)
    writer._may_remove = 1
    monkeypatch.setattr(writer._random, "choices", lambda *_args: [kind])
    return writer


def test_writer_replaces_at_the_key_that_the_row_names(table: Table, bucket: Bucket, asset: Asset, monkeypatch: pytest.MonkeyPatch) -> None:
    """New bytes of the same content type, on record."""
    switch(table)
    writer = make_writer(table, bucket, [asset], kind="replaced", monkeypatch=monkeypatch)
    writer.act()
    found = bucket.get(NEW)

    assert found is not None
    assert found.is_version(asset.newest)
    assert (asset.newest.key, len(asset.versions), writer.count) == (NEW, 2, 1)


def test_writer_replaces_once_more_when_it_took_longer_than_the_grace(
    table: Table, bucket: Bucket, asset: Asset, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A1: what was put at a key that was read too long ago is put again at the key that the row names by now."""
    writer = make_writer(table, bucket, [asset], kind="replaced", monkeypatch=monkeypatch)
    writer._grace_seconds = 0.01

    def slow(_name: str, key: str) -> None:
        if key == OLD:
            switch(table)
            time.sleep(0.02)

    bucket.before = slow
    writer.act()

    assert [version.key for version in asset.versions] == [OLD, OLD, NEW]


def test_writer_adds_the_object_before_the_row(table: Table, bucket: Bucket, asset: Asset, monkeypatch: pytest.MonkeyPatch) -> None:
    """At no moment does a row name what is not there."""
    rows_before: list[int] = []
    bucket.before = lambda _name, _key: rows_before.append(len(table.keys()))
    assets = [asset]
    make_writer(table, bucket, assets, kind="added", monkeypatch=monkeypatch).act()
    added = assets[-1]

    assert rows_before == [1]
    assert table.key(added.id) == "clients/7/assets/new-2.txt"
    assert added.settled
    assert "clients/7/assets/new-2.txt" in bucket.objects


def test_writer_removes_the_row_before_the_object(table: Table, bucket: Bucket, asset: Asset, monkeypatch: pytest.MonkeyPatch) -> None:
    """And it removes the object that the row named last."""
    switch(table)
    bucket.objects[NEW] = bucket.objects.pop(OLD)
    rows_before: list[int] = []
    bucket.before = lambda _name, _key: rows_before.append(len(table.keys()))
    make_writer(table, bucket, [asset], kind="removed", monkeypatch=monkeypatch).act()

    assert rows_before == [0]
    assert (asset.removed_key, bucket.objects) == (NEW, {})
    assert asset.removed_at is not None


@pytest.mark.parametrize("state", ["fixed", "resting", "removed"])
def test_writer_leaves_some_assets_alone(table: Table, bucket: Bucket, asset: Asset, state: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Planted ones, those written a moment ago, and removed ones."""
    asset.fixed = state == "fixed"
    asset.written_at = time.monotonic() if state == "resting" else asset.written_at
    asset.removed_at = time.monotonic() if state == "removed" else None
    writer = make_writer(table, bucket, [asset], kind="replaced", monkeypatch=monkeypatch)
    writer.act()

    assert (writer.count, len(asset.versions)) == (0, 1)


def test_writer_removes_few(table: Table, bucket: Bucket, asset: Asset, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where it has removed its share it replaces instead: most assets are to be moved."""
    writer = make_writer(table, bucket, [asset], kind="removed", monkeypatch=monkeypatch)
    writer._may_remove = 0
    writer.act()

    assert writer.done == {"replaced": 1}


def test_loop_tells_of_requests_that_failed_and_goes_on(reader: Reader, bucket: Bucket) -> None:
    """A read that ends in an error is a failed read."""

    def refuse(_name: str, _key: str) -> None:
        raise OSError("connection refused")

    bucket.before = refuse
    reader.start()
    while len(reader.failed) < 2:
        time.sleep(0.01)
    reader.stop()

    assert reader.failed[0] == "OSError: connection refused"
