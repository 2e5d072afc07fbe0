"""Copies by parts: how an object is cut, several parts at a time, faults of one part, and what is on record meanwhile (case 11)."""

from __future__ import annotations

import threading
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from app import copying, large_copies
from app.byte_budget import ByteBudget
from app.copying import copy_by_parts, is_equal
from app.errors import ConditionFailedError, MissingObjectError, ProofError, StoreUnavailableError, UnansweredError
from app.fidelity_rules import Policy
from app.large_copies import joined_etag, ranges_of
from app.object_store import IfAbsent, ObjectAttributes, ObjectInfo
from app.testing import Behaviour, Fault, FixedDeadline, InMemoryStore
from app.testing.versions import etag_of
from tests.keepers import PlainKeeper

if TYPE_CHECKING:
    from collections.abc import Sequence

    from app.copying import Copied

LEASE = FixedDeadline()
POLICY = Policy()
BODY = bytes(range(40))


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Parts of four bytes, no least size, no waiting."""
    monkeypatch.setattr(copying, "PART_BYTES", 4)
    monkeypatch.setattr(large_copies, "MIN_PART_BYTES", 1)
    monkeypatch.setattr(large_copies, "LONGEST_PART_BYTES", 30)
    monkeypatch.setattr("app.backoff.delay", lambda *_args, **_more: 0.0)


@pytest.fixture
def store() -> InMemoryStore:
    """A store with one object, written whole."""
    made = InMemoryStore()
    made.app_put("old", BODY, {"content-type": "image/png"}, tags="a=1")
    return made


def _copy(store: InMemoryStore, keeper: PlainKeeper | None = None) -> Copied:
    read = store.read("old", max_bytes=0)
    return copy_by_parts(store, read, "new", condition=IfAbsent(), deadline=LEASE, keeper=keeper or PlainKeeper(), policy=POLICY)


def _upload(store: InMemoryStore, sizes: Sequence[int]) -> ObjectInfo:
    """Upload ``old`` in parts of these sizes."""
    attributes = ObjectAttributes(headers={"content-type": "image/png", "x-amz-tagging": "a=1"})
    upload = store.create_upload("old", attributes, deadline=LEASE)
    etags, first = [], 0
    for number, size in enumerate(sizes, start=1):
        etags.append(store.put_part(upload, "old", number, BODY[first : first + size], deadline=LEASE))
        first += size
    store.complete_upload(upload, "old", etags, condition=None, deadline=LEASE)
    return store.stat("old")


@pytest.mark.parametrize("sizes", [[40], [16, 16, 8], [20, 20], [1] * 40, [13, 13, 14], [5, 10, 25], [30, 1, 9]])
def test_parts_of_the_source_are_kept_so_that_the_etag_stays(
    store: InMemoryStore, sizes: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever its uploader cut: the copy's ETag is the source's, and so a proof of its content."""
    monkeypatch.setattr(large_copies, "LONGEST_PART_BYTES", 40)
    source = _upload(store, sizes)
    copied = _copy(store, PlainKeeper(spare=4))

    assert source.etag.endswith(f"-{len(sizes)}")
    assert (copied.copy.etag, store.app_get("new")) == (source.etag, BODY)
    assert store.versions("new")[-1].parts == tuple(sizes)


def test_equal_parts_cost_two_questions(store: InMemoryStore) -> None:
    """First and last tell of the ten in between."""
    source = _upload(store, [4] * 10)
    store.calls.clear()

    assert len(ranges_of(store, source, part_bytes=7, keeper=PlainKeeper())) == 10
    assert [name for name, _ in store.calls] == ["part_size"] * 2


@pytest.mark.parametrize(
    ("least", "longest"), [(5, 30), (1, 12)], ids=["a part that is too small for S3", "a part that takes too long to copy"]
)
def test_layout_that_no_copy_can_have_is_not_kept(store: InMemoryStore, least: int, longest: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """The object arrives all the same, under another ETag."""
    source = _upload(store, [4, 16, 20])
    monkeypatch.setattr(large_copies, "MIN_PART_BYTES", least)
    monkeypatch.setattr(large_copies, "LONGEST_PART_BYTES", longest)
    copied = _copy(store)

    assert copied.copy.etag != source.etag
    assert store.app_get("new") == BODY


def test_store_that_does_not_tell_of_parts_gets_equal_ones() -> None:
    """Not every store answers HEAD with partNumber."""
    store = InMemoryStore(Behaviour(tells_parts=False))
    _upload(store, [20, 20])
    _copy(store)

    assert store.versions("new")[-1].parts == (4,) * 10


def test_store_whose_copied_parts_have_no_hash_gives_another_etag() -> None:
    """SeaweedFS hashes its chunks instead; the object arrives all the same."""
    store = InMemoryStore(Behaviour(hashes_copied_parts=False))
    source = _upload(store, [20, 20])
    copied = _copy(store)

    assert store.versions("new")[-1].parts == (20, 20)
    assert (copied.copy.etag == source.etag, store.app_get("new")) == (False, BODY)


@pytest.mark.parametrize("etag", ["0" * 32, "version-2", "0" * 32 + "-0", "0" * 32 + "-10001"])
def test_etag_that_tells_of_no_parts_asks_nothing(store: InMemoryStore, etag: str) -> None:
    """Only the form that S3 gives to a multipart object is believed."""
    source = replace(store.stat("old"), etag=etag)
    store.calls.clear()

    assert len(ranges_of(store, source, part_bytes=4, keeper=PlainKeeper())) == 10
    assert store.calls == []


def test_parts_go_side_by_side_as_far_as_places_are_lent(store: InMemoryStore) -> None:
    """One under the caller's own right, three more that were lent; all places come back."""
    together = threading.Barrier(4)

    def meet(name: str, _key: str) -> None:
        if name == "copy_part" and not together.broken:
            together.wait(timeout=10)

    store.on_call = meet
    keeper = PlainKeeper(spare=3)
    store.app_put("old", BODY[:32])  # eight parts: twice four at once
    _copy(store, keeper)

    assert store.app_get("new") == BODY[:32]
    assert (keeper.most_lent, keeper.lent, keeper.open) == (3, 0, {})
    assert not together.broken


@pytest.mark.parametrize("fault", [Fault.slow_down(), Fault.lose_reply()], ids=["refused", "unanswered"])
def test_part_that_failed_for_a_moment_is_copied_alone(store: InMemoryStore, fault: Fault) -> None:
    """One 503 in ten parts does not throw nine away."""
    store.faults.add(fault, on="copy_part", skip=3, times=2)
    _copy(store, PlainKeeper(spare=2))

    assert store.app_get("new") == BODY
    assert len([name for name, _ in store.calls if name == "copy_part"]) == 12
    assert "abort_upload" not in dict(store.calls)


def test_part_that_fails_again_and_again_ends_the_upload(store: InMemoryStore) -> None:
    """It is aborted when no request for it is under way any more, and every lent place is back."""
    keeper = PlainKeeper(spare=4)
    store.faults.add(Fault.slow_down(), on="copy_part", skip=2, times=None)
    with pytest.raises(StoreUnavailableError):
        _copy(store, keeper)

    assert (store.unfinished_uploads(), keeper.open, keeper.lent) == ([], {}, 0)
    assert store.calls[-1] == ("abort_upload", "new")
    assert sorted(store.contents()) == ["old"]


def test_upload_whose_part_got_no_answer_stays_on_record(store: InMemoryStore) -> None:
    """A part under way may outlive the abort: it is aborted again when the lease is over."""
    keeper = PlainKeeper()
    store.faults.add(Fault.delay(), on="copy_part", times=None)
    with pytest.raises(UnansweredError):
        _copy(store, keeper)

    assert list(keeper.open.values()) == ["new"]


def test_upload_that_cannot_be_aborted_stays_on_record(store: InMemoryStore) -> None:
    """And so does not get lost."""
    keeper = PlainKeeper()
    store.app_put("new", b"theirs")
    store.faults.add(Fault.slow_down(), on="abort_upload")
    with pytest.raises(ConditionFailedError):
        _copy(store, keeper)

    assert list(keeper.open.values()) == ["new"]
    assert store.app_get("new") == b"theirs"


def test_what_the_object_will_be_is_on_record_before_it_is_completed(store: InMemoryStore) -> None:
    """So that a completion whose answer got lost is known by its ETag (H12)."""
    keeper = PlainKeeper(spare=1)
    store.faults.add(Fault.lose_reply(), on="complete_upload")
    with pytest.raises(UnansweredError):
        _copy(store, keeper)
    source, etag = keeper.expected[0]

    assert (source, etag) == (etag_of(BODY), store.stat("new").etag)
    ask = {"max_bytes": 3, "budget": ByteBudget(), "policy": POLICY}
    assert is_equal(store, "old", "new", **ask) is None
    assert is_equal(store, "old", "new", **ask, joined={(source, etag)}) is not None
    store.app_put("old", b"something else" + BODY[14:], {"content-type": "image/png"}, tags="a=1")
    assert is_equal(store, "old", "new", **ask, joined={(source, etag)}) is None


def test_parts_without_hashes_promise_no_etag() -> None:
    """An encrypted store's part ETags are random numbers, or something else."""
    assert joined_etag(["0" * 32, "version-7"]) == ""
    assert joined_etag([etag_of(b"a"), etag_of(b"b")]) == "96e024ba2074fe77e8e965ba43a704be-2"


def test_object_that_came_between_completion_and_look_is_not_taken_for_the_copy(store: InMemoryStore) -> None:
    """Of the same size, but another ETag: it is somebody else's, and would be cleaned up as ours."""

    def overwrite(name: str, key: str) -> None:
        if (name, key) == ("stat", "new"):
            store.app_put("new", b"x" * len(BODY))

    store.on_call = overwrite
    with pytest.raises(ProofError, match="another object"):
        _copy(store)


def test_completion_that_is_only_claimed_is_not_believed() -> None:
    """A lifecycle rule took the upload, an upload of theirs has the key by now, and the store says that all is well."""
    store = InMemoryStore(Behaviour(completes_again=True))
    store.app_put("old", BODY)

    def take(name: str, key: str) -> None:
        if name == "complete_upload":
            store._uploads.clear()
            store.app_put(key, b"x" * len(BODY))

    store.on_call = take
    with pytest.raises(ProofError, match="another object"):
        _copy(store)
    assert store.app_get("new") == b"x" * len(BODY)


def test_source_of_a_versioned_bucket_is_pinned_by_its_version() -> None:
    """Overwritten after the first part, it is still the version that was read that arrives, whole."""
    store = InMemoryStore(Behaviour(versioning=True))
    store.app_put("old", BODY)
    parts = iter(range(100))

    def change(name: str, _key: str) -> None:
        if name == "copy_part" and next(parts) == 1:
            store.app_put("old", b"newer" * 8)

    store.on_call = change
    copied = _copy(store)

    assert store.app_get("new") == BODY
    assert copied.source is not None
    assert copied.source.version_id == store.versions("old")[0].version_id


def test_version_that_is_gone_for_good_is_missing() -> None:
    """Purged by its id: no other version is taken for it."""
    store = InMemoryStore(Behaviour(versioning=True))
    store.app_put("old", BODY)
    read = store.read("old", max_bytes=0)
    gone = replace(read, info=replace(read.info, version_id="v99"))
    with pytest.raises(MissingObjectError):
        copy_by_parts(store, gone, "new", condition=IfAbsent(), deadline=LEASE, keeper=PlainKeeper(), policy=POLICY)

    assert store.unfinished_uploads() == []
