"""A report in the bucket: whole or not there, never over another object."""

from __future__ import annotations

from itertools import pairwise

import pytest

from app.errors import StoreUnavailableError, UsageError
from app.reporting import upload
from app.reporting.outputs import to_bucket
from app.reporting.upload import Upload, report_key
from app.testing import InMemoryStore, ManualClock

KEY = ".rekey/reports/r1/moves.csv"


@pytest.fixture
def store() -> InMemoryStore:
    """An empty bucket."""
    return InMemoryStore(clock=ManualClock())


def start(store: InMemoryStore) -> Upload:
    """An upload that never waits."""
    return Upload(store, KEY, content_type="text/csv", sleep=lambda _seconds: None)


def test_small_report_is_one_object(store: InMemoryStore) -> None:
    """A report that fits in a part needs no multipart upload."""
    with to_bucket(start(store)) as writer:
        writer.write(b"a,b\r\n")
        writer.write(b"1,2\r\n")

    assert store.app_get(KEY) == b"a,b\r\n1,2\r\n"
    assert [name for name, *_ in store.calls if name == "create_upload"] == []


def test_large_report_is_sent_in_parts_that_grow(store: InMemoryStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """10,000 parts is all that S3 takes."""
    monkeypatch.setattr(upload, "PART_BYTES", 100)
    monkeypatch.setattr(upload, "PARTS_A_SIZE", 2)
    body = bytes(range(256)) * 5
    with to_bucket(start(store)) as writer:
        for first in range(0, len(body), 70):
            writer.write(body[first : first + 70])

    assert store.app_get(KEY) == body
    assert len([name for name, *_ in store.calls if name == "put_part"]) == 7  # 100 100 200 200 300 300 80


def test_object_that_is_there_is_refused_before_the_work(store: InMemoryStore) -> None:
    """Another report, or whatever it is, stays."""
    store.app_put(KEY, b"older")

    with pytest.raises(UsageError, match="there is an object"):
        start(store)
    assert store.app_get(KEY) == b"older"


@pytest.mark.parametrize("part_bytes", [100, 10_000])
def test_object_that_comes_meanwhile_is_not_replaced(store: InMemoryStore, monkeypatch: pytest.MonkeyPatch, part_bytes: int) -> None:
    """The store itself refuses the write (If-None-Match), and no parts are left."""
    monkeypatch.setattr(upload, "PART_BYTES", part_bytes)

    def write() -> None:
        with to_bucket(start(store)) as writer:
            writer.write(b"x" * 250)
            store.app_put(KEY, b"theirs")

    with pytest.raises(UsageError, match="has come meanwhile"):
        write()

    assert store.app_get(KEY) == b"theirs"
    assert not store._uploads


def test_report_that_is_cut_short_leaves_nothing(store: InMemoryStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither an object nor parts that cost money."""
    monkeypatch.setattr(upload, "PART_BYTES", 100)

    def write() -> None:
        with to_bucket(start(store)) as writer:
            writer.write(b"x" * 250)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write()

    assert store.list_page(prefix="", start_after="").objects == []
    assert not store._uploads


def test_part_is_sent_again_after_an_outage(store: InMemoryStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """An hour's report does not end with one lost request."""
    monkeypatch.setattr(upload, "PART_BYTES", 100)
    answers = iter([StoreUnavailableError("away"), StoreUnavailableError("away"), None, None, None])
    put_part = store.put_part

    def sometimes(*args: object, **more: object) -> str:
        failure = next(answers)
        if failure is not None:
            raise failure
        return put_part(*args, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(store, "put_part", sometimes)
    with to_bucket(start(store)) as writer:
        writer.write(b"x" * 250)

    assert store.app_get(KEY) == b"x" * 250


@pytest.mark.parametrize("name", ["", "/", "a//b", "..", "a/../b", "a\nb", "x" * 256, "y/" * 600 + "z", "\udc80"])
def test_name_that_a_store_cannot_keep_is_refused(name: str) -> None:
    """Before anything is read."""
    with pytest.raises(UsageError, match="--to-bucket"):
        report_key("r1", name)


def test_parts_hold_the_report_of_a_billion_assets() -> None:
    """10,000 parts of growing size."""
    sizes = [upload.PART_BYTES * (1 + number // upload.PARTS_A_SIZE) for number in range(10_000)]

    assert sum(sizes) > 10**9 * 400
    assert all(before <= after for before, after in pairwise(sizes))
    assert max(sizes) <= 80 * 1024**2
