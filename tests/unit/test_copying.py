"""How one object gets to its new key: the right request, its proof, and what is equal (S3, case 8, 11)."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import pytest

from app import copying, large_copies
from app.attributes import Load
from app.byte_budget import ByteBudget
from app.copying import at_once, copy_by_parts, copy_by_store, copy_through, is_equal, proved
from app.errors import ConditionFailedError, MissingObjectError, ProofError, StoreUnavailableError, UnansweredError
from app.fidelity_rules import Policy
from app.object_store import IfAbsent, IfMatch, ObjectInfo
from app.stages.runner import StoppedError
from app.testing import Fault, FixedDeadline, InMemoryStore
from tests.keepers import PlainKeeper

if TYPE_CHECKING:
    from app.copying import Copied
    from app.object_store import Condition

LEASE = FixedDeadline()
POLICY = Policy()
ABSENT = IfAbsent()


@pytest.fixture
def store() -> InMemoryStore:
    """A store with one object."""
    made = InMemoryStore()
    made.app_put("old", b"0123456789", {"content-type": "image/png"}, tags="a=1")
    return made


@pytest.fixture
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Parts of four bytes."""
    monkeypatch.setattr(copying, "PART_BYTES", 4)


def _through(
    store: InMemoryStore,
    *,
    condition: Condition = ABSENT,
    max_bytes: int = 100,
    keeper: PlainKeeper | None = None,
) -> Copied:
    return at_once(
        copy_through(
            store,
            "old",
            "new",
            condition=condition,
            deadline=LEASE,
            max_bytes=max_bytes,
            budget=ByteBudget(),
            keeper=keeper or PlainKeeper(),
            policy=POLICY,
        )
    )


@pytest.mark.parametrize("max_bytes", [100, 3], ids=["put", "parts"])
@pytest.mark.usefixtures("small_parts")
def test_copy_has_bytes_headers_and_tags(store: InMemoryStore, max_bytes: int) -> None:
    """Small by GET and PUT, large by parts: a reader sees the same."""
    copied = _through(store, max_bytes=max_bytes)
    there = store.versions("new")[-1]

    assert (there.body, there.headers["content-type"], there.tags) == (b"0123456789", "image/png", "a=1")
    assert copied.source is not None
    assert (copied.source.etag, copied.copy.etag, copied.copy.size) == (store.versions("old")[-1].etag, there.etag, 10)
    assert ("put" in dict(store.calls)) is (max_bytes == 100)


@pytest.mark.parametrize("max_bytes", [100, 3], ids=["put", "parts"])
@pytest.mark.usefixtures("small_parts")
def test_taken_key_is_never_written(store: InMemoryStore, max_bytes: int) -> None:
    """The store refuses, and nothing is left behind."""
    store.app_put("new", b"theirs")
    with pytest.raises(ConditionFailedError):
        _through(store, max_bytes=max_bytes)

    assert store.app_get("new") == b"theirs"
    assert store.unfinished_uploads() == []


@pytest.mark.parametrize("max_bytes", [100, 3], ids=["put", "parts"])
@pytest.mark.usefixtures("small_parts")
def test_own_copy_is_replaced_only_while_it_is_there(store: InMemoryStore, max_bytes: int) -> None:
    """By its ETag."""
    own = store.app_put("new", b"our first")
    assert _through(store, condition=IfMatch(own.etag), max_bytes=max_bytes).copy.size == 10
    with pytest.raises(ConditionFailedError):
        _through(store, condition=IfMatch(own.etag), max_bytes=max_bytes)


@pytest.mark.usefixtures("small_parts")
def test_source_that_changes_between_two_parts_gives_no_mixture(store: InMemoryStore) -> None:
    """Each part is of exactly the version that was read (case 11)."""
    parts = iter(range(100))

    def change(name: str, _key: str) -> None:
        if name == "copy_part" and next(parts) == 1:
            store.app_put("old", b"abcdefghij")

    store.on_call = change
    with pytest.raises(ConditionFailedError):
        _through(store, max_bytes=3)

    assert sorted(store.contents()) == ["old"]
    assert store.unfinished_uploads() == []


@pytest.mark.usefixtures("small_parts")
def test_large_copy_that_is_stopped_leaves_no_upload(store: InMemoryStore) -> None:
    """The lease is renewed, or the work stopped, between two parts."""
    asked: list[int] = []

    def keep() -> None:
        asked.append(1)
        if len(asked) == 2:
            raise StoppedError("the worker stops")

    with pytest.raises(StoppedError):
        _through(store, max_bytes=3, keeper=PlainKeeper(on_keep=keep))

    assert (len(asked), store.unfinished_uploads(), sorted(store.contents())) == (2, [], ["old"])


def test_failed_abort_hides_no_error(store: InMemoryStore) -> None:
    """What ended the upload is what counts."""
    read = store.read("old", max_bytes=0)
    store.faults.add(Fault.slow_down(), on="abort_upload", times=2)
    store.faults.add(Fault.delay(), on="complete_upload")
    with pytest.raises(UnansweredError):  # it may still be carried out, whatever the abort says (S7)
        copy_by_parts(store, read, "new", condition=IfAbsent(), deadline=LEASE, keeper=PlainKeeper(), policy=POLICY)
    store.app_put("new", b"theirs")
    with pytest.raises(ConditionFailedError):
        copy_by_parts(store, read, "new", condition=IfAbsent(), deadline=LEASE, keeper=PlainKeeper(), policy=POLICY)


def test_empty_object_has_one_empty_part(store: InMemoryStore) -> None:
    """There is no byte range to copy."""
    store.app_put("old", b"")
    read = store.read("old", max_bytes=0)
    copied = copy_by_parts(store, read, "new", condition=IfAbsent(), deadline=LEASE, keeper=PlainKeeper(), policy=POLICY)

    assert (copied.copy.size, store.app_get("new")) == (0, b"")


def test_number_of_parts_is_bounded(monkeypatch: pytest.MonkeyPatch, store: InMemoryStore) -> None:
    """S3 takes 10,000 parts: larger objects have larger ones."""
    monkeypatch.setattr(copying, "PART_BYTES", 1)
    monkeypatch.setattr(large_copies, "MAX_PARTS", 3)
    _through(store, max_bytes=3)

    assert [key for name, key in store.calls if name == "copy_part"] == ["new"] * 3
    assert store.app_get("new") == b"0123456789"


def test_store_copies_exactly_the_version_looked_at(store: InMemoryStore) -> None:
    """copy-source-if-match."""
    source = store.stat("old")
    assert at_once(copy_by_store(store, source, "new", condition=IfAbsent(), deadline=LEASE, load=Load())).source == source
    store.app_put("old", b"changed")
    with pytest.raises(ConditionFailedError):
        at_once(copy_by_store(store, source, "other", condition=IfAbsent(), deadline=LEASE, load=Load()))


def _info(**values: object) -> ObjectInfo:
    return dataclasses.replace(ObjectInfo(key="old", etag="a" * 32, size=10, last_modified=1), **values)  # type: ignore[arg-type]


def test_same_content_hash_is_proof_enough(store: InMemoryStore) -> None:
    """No further request."""
    assert proved(store, _info(), _info(key="new")) == _info(key="new")
    assert store.calls == []


def test_other_hash_needs_the_size_of_what_stands_there(store: InMemoryStore) -> None:
    """A multipart source, or a proxy that stored something else (case 8, 11)."""
    written = store.app_put("new", b"0123456789")
    assert proved(store, _info(etag="b-2"), written).size == 10
    with pytest.raises(ProofError, match="10 bytes arrived of 11"):
        proved(store, _info(etag="b-2", size=11), written)
    store.app_put("new", b"another one")
    with pytest.raises(ProofError, match="another object"):
        proved(store, _info(etag="b-2"), written)
    store.app_delete("new")
    with pytest.raises(MissingObjectError):
        proved(store, _info(etag="b-2"), written)


def _equal(store: InMemoryStore, *, max_bytes: int) -> bool:
    return is_equal(store, "old", "new", max_bytes=max_bytes, budget=ByteBudget(), policy=POLICY) is not None


@pytest.mark.parametrize("max_bytes", [100, 3], ids=["bytes", "hashes"])
def test_equal_is_bytes_headers_and_tags(store: InMemoryStore, max_bytes: int) -> None:
    """Any difference that a reader could see counts (H12)."""
    same = {"content-type": "image/png"}
    store.app_put("new", b"0123456789", same, tags="a=1")
    assert _equal(store, max_bytes=max_bytes)
    for body, headers, tags in (
        (b"012345678X", same, "a=1"),
        (b"012345678", same, "a=1"),
        (b"0123456789", {"content-type": "image/gif"}, "a=1"),
        (b"0123456789", same, "a=2"),
        (b"0123456789", same, ""),
    ):
        store.app_put("new", body, headers, tags=tags)
        assert not _equal(store, max_bytes=max_bytes)


def test_copy_by_parts_is_recognised_by_the_hash_of_its_one_part(store: InMemoryStore) -> None:
    """Above the limit no bytes are compared: the ETag of a copy in one part follows from that of its source."""
    read = store.read("old", max_bytes=0)
    copy_by_parts(store, read, "new", condition=IfAbsent(), deadline=LEASE, keeper=PlainKeeper(), policy=POLICY)
    assert store.versions("new")[-1].etag.endswith("-1")

    assert _equal(store, max_bytes=3)


@pytest.mark.usefixtures("small_parts")
def test_copy_in_several_parts_is_not_taken_on_trust(store: InMemoryStore) -> None:
    """Its ETag proves nothing."""
    _through(store, max_bytes=3)

    assert not _equal(store, max_bytes=3)
    assert _equal(store, max_bytes=100)


def test_etag_that_is_no_hash_proves_nothing(store: InMemoryStore) -> None:
    """Some stores number their versions."""
    for key in ("old", "new"):
        store.app_put(key, b"0123456789")
        store._bucket.replace_current(key, dataclasses.replace(store.versions(key)[-1], etag="version-17-of-this-object-in-store"))

    assert not _equal(store, max_bytes=3)
    assert _equal(store, max_bytes=100)


def test_bodies_on_their_way_are_within_the_budget(store: InMemoryStore) -> None:
    """Both bodies of a comparison count against one share, and all of it is given back."""
    budget = ByteBudget(limit=10)
    store.app_put("new", b"0123456789", {"content-type": "image/png"}, tags="a=1")
    assert is_equal(store, "old", "new", max_bytes=100, budget=budget, policy=POLICY) is not None
    more = {"condition": IfAbsent(), "deadline": LEASE, "max_bytes": 100, "budget": budget, "keeper": PlainKeeper(), "policy": POLICY}
    at_once(copy_through(store, "old", "third", **more))
    store.faults.add(Fault.slow_down(), on="put")
    with pytest.raises(StoreUnavailableError):
        at_once(copy_through(store, "old", "fourth", **more))

    assert budget.held == 0
