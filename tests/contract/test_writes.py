"""The port's writes: PUT, CopyObject and multipart uploads, with and without conditions."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from app.byte_budget import ByteBudget
from app.copying import at_once, copy_by_parts, copy_through
from app.errors import (
    ConditionFailedError,
    ExpiredRequestError,
    FidelityError,
    LeaseLostError,
    MissingObjectError,
    ObjectError,
    StoreRequestError,
    UnansweredError,
)
from app.fidelity import Fate, Way, fate_of
from app.fidelity_rules import Attribute, Policy
from app.large_copies import joined_etag
from app.object_store import UNPACKED, Condition, IfAbsent, IfMatch, ObjectAttributes, ObjectInfo, Packed, Writing
from app.s3_snowball import pack
from app.testing import FixedDeadline, InMemoryStore
from tests.keepers import PlainKeeper

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from tests.contract.conftest import Subject

    Write = Callable[[Subject, str, Condition | None], ObjectInfo]

NOTHING = ObjectAttributes()
HEADERS = {"content-type": "image/png", "cache-control": "no-store", "x-amz-meta-a": "b"}
OTHER = "0" * 32
POLICY = Policy()
NEW = b"new bytes"


def _put(subject: Subject, name: str, condition: Condition | None) -> ObjectInfo:
    return subject.store.put(subject.key(name), NEW, NOTHING, condition=condition, deadline=subject.lease)


def _source(subject: Subject) -> ObjectInfo:
    try:
        return subject.store.stat(subject.key("source-of-copies"))
    except MissingObjectError:
        return subject.put("source-of-copies", NEW)


def _copy(subject: Subject, name: str, condition: Condition | None) -> ObjectInfo:
    source = _source(subject)
    return subject.store.copy(source, subject.key(name), condition=condition, deadline=subject.lease)


def _upload(subject: Subject, name: str, condition: Condition | None) -> ObjectInfo:
    source, key = _source(subject), subject.key(name)
    upload = subject.store.create_upload(key, NOTHING, deadline=subject.lease)
    part = subject.store.copy_part(upload, key, 1, source, first=0, last=len(NEW) - 1, deadline=subject.lease)
    try:
        etag = subject.store.complete_upload(upload, key, [part], condition=condition, deadline=subject.lease)
    except ConditionFailedError:
        subject.store.abort_upload(upload, key)
        raise
    assert subject.store.stat(key).etag == etag
    return subject.store.stat(key)


WRITES = {"put": _put, "copy": _copy, "complete": _upload}
every_write = pytest.mark.parametrize("kind", WRITES)


def _honours(subject: Subject, kind: str, condition: str) -> bool:
    return bool(getattr(subject.capabilities, f"{kind}_if_{condition}"))


@every_write
def test_write_gives_the_version_written(subject: Subject, kind: str) -> None:
    """ETag and size are the object's, and the time is no earlier than its own."""
    written = WRITES[kind](subject, "a", None)
    found = subject.store.stat(subject.key("a"))

    assert (written.key, written.etag, written.size) == (found.key, found.etag, found.size)
    assert found.last_modified <= written.last_modified <= found.last_modified + 5
    assert subject.get("a") == NEW


@every_write
def test_write_if_absent_goes_through_where_nothing_is(subject: Subject, kind: str) -> None:
    """The usual case of a copy to a new key."""
    WRITES[kind](subject, "free", IfAbsent())

    assert subject.get("free") == NEW


@every_write
def test_write_if_absent_keeps_what_is_there(subject: Subject, kind: str) -> None:
    """Nothing foreign is overwritten (S3); a store that ignores the condition overwrites, which is why it is probed."""
    subject.application.put(subject.key("taken"), b"theirs")
    if not _honours(subject, kind, "absent"):
        WRITES[kind](subject, "taken", IfAbsent())
        assert subject.get("taken") == NEW
        return

    with pytest.raises(ConditionFailedError):
        WRITES[kind](subject, "taken", IfAbsent())
    assert subject.get("taken") == b"theirs"


@every_write
def test_write_if_match_goes_over_that_version(subject: Subject, kind: str) -> None:
    """A re-copy over our own copy."""
    ours = subject.put("ours", b"ours")
    WRITES[kind](subject, "ours", IfMatch(ours.etag))

    assert subject.get("ours") == NEW


@every_write
@pytest.mark.parametrize("there", [b"theirs", None])
def test_write_if_match_keeps_another_version(subject: Subject, kind: str, there: bytes | None) -> None:
    """Another version, or none, refuses it; a store that ignores the condition overwrites."""
    if there is not None:
        subject.application.put(subject.key("other"), there)
    if not _honours(subject, kind, "match"):
        WRITES[kind](subject, "other", IfMatch(OTHER))
        assert subject.get("other") == NEW
        return

    with pytest.raises(ConditionFailedError):
        WRITES[kind](subject, "other", IfMatch(OTHER))
    assert subject.get("other") == there


MANY_RACES = 200


@every_write
def test_racing_conditional_writes_have_one_winner(subject: Subject, kind: str) -> None:
    """Of many writers to a free key exactly one gets through (M3).

    Not so for CompleteMultipartUpload on SeaweedFS, which looks first and writes then: all that look at once win.
    """
    if subject.name.startswith("memory"):
        pytest.skip("a scheduler runs one caller at a time there")
    if not _honours(subject, kind, "absent"):
        pytest.skip("the condition is ignored")
    flawed = (subject.name, kind) == ("seaweed", "complete")
    writers, keys = 8, MANY_RACES if flawed else 5

    def attempt(name: str) -> bool:
        try:
            WRITES[kind](subject, name, IfAbsent())
        except ConditionFailedError:
            return False
        return True

    with ThreadPoolExecutor(writers) as pool:
        winners: list[int] = []
        while len(winners) < keys and max(winners, default=1) == 1:  # on a busy machine few of them look at once
            winners.append(sum(pool.map(attempt, [f"race-{len(winners)}"] * writers)))

    if flawed:
        assert min(winners) >= 1
        assert max(winners) > 1
    else:
        assert winners == [1] * keys


def test_copy_is_of_exactly_the_version_seen(subject: Subject) -> None:
    """A source that was overwritten since is not copied."""
    seen = subject.put("source", b"seen")
    subject.application.put(subject.key("source"), b"newer")

    with pytest.raises(ConditionFailedError):
        subject.store.copy(seen, subject.key("copy"), condition=None, deadline=subject.lease)
    assert subject.get("copy") is None


def test_copy_of_nothing_is_missing(subject: Subject) -> None:
    """404 names the source, whatever is asked of the target."""
    gone = ObjectInfo(key=subject.key("gone"), etag=OTHER, size=1, last_modified=1)
    for condition in (None, IfAbsent()):
        with pytest.raises(MissingObjectError) as refusal:
            subject.store.copy(gone, subject.key("copy"), condition=condition, deadline=subject.lease)
        assert refusal.value.object_key == gone.key
    assert subject.get("copy") is None


def test_copy_keeps_what_readers_see(subject: Subject) -> None:
    """Headers, metadata and tags; Expires where the store keeps it (M4)."""
    subject.application.put(subject.key("a"), b"x", HEADERS, tags={"k": "v"})
    read = subject.store.read(subject.key("a"), max_bytes=1)
    headers = dict(read.attributes.headers) | {"expires": "Thu, 01 Jan 2099 00:00:00 GMT", "x-amz-tagging": "k=v"}
    subject.store.put(subject.key("a"), b"x", ObjectAttributes(headers=headers), condition=None, deadline=subject.lease)
    source = subject.store.read(subject.key("a"), max_bytes=1)
    subject.store.copy(source.info, subject.key("b"), condition=None, deadline=subject.lease)
    copied = subject.store.read(subject.key("b"), max_bytes=1)
    kept = fate_of(subject.capabilities.fidelity, Way.COPY, Attribute.EXPIRES) is Fate.KEPT

    assert "expires" in source.attributes.headers
    assert copied.attributes.tag_count == 1
    assert copied.attributes.headers == {name: value for name, value in source.attributes.headers.items() if kept or name != "expires"}


def test_upload_joins_ranges_of_the_source(subject: Subject) -> None:
    """Parts are inclusive byte ranges; headers and tags come with the start."""
    body = bytes(range(256)) * 4096 * 6  # 6 MiB: each part but the last has 5 MiB at least
    source, key = subject.put("large", body), subject.key("joined")
    middle = 5 * 1024 * 1024
    upload = subject.store.create_upload(key, ObjectAttributes(headers=HEADERS | {"x-amz-tagging": "k=v"}), deadline=subject.lease)
    etags = [
        subject.store.copy_part(upload, key, number, source, first=first, last=last, deadline=subject.lease)
        for number, (first, last) in enumerate([(0, middle - 1), (middle, len(body) - 1)], start=1)
    ]
    etag = subject.store.complete_upload(upload, key, etags, condition=IfAbsent(), deadline=subject.lease)
    read = subject.store.read(key, max_bytes=len(body))

    assert read.body == body
    assert (read.info.etag, read.info.size) == (etag, len(body))
    assert read.attributes == ObjectAttributes(headers=HEADERS, tag_count=1)
    assert etag.endswith("-2")


def test_upload_of_no_bytes(subject: Subject) -> None:
    """An empty object has no range to copy; an empty part makes it."""
    key = subject.key("empty")
    upload = subject.store.create_upload(key, NOTHING, deadline=subject.lease)
    part = subject.store.put_part(upload, key, 1, b"", deadline=subject.lease)
    subject.store.complete_upload(upload, key, [part], condition=IfAbsent(), deadline=subject.lease)

    assert subject.store.stat(key).size == 0


def test_part_is_copied_of_exactly_the_version_seen(subject: Subject) -> None:
    """A source overwritten after the first part never becomes a mixture (CASES 11)."""
    seen, key = subject.put("source", b"a" * 100), subject.key("mixed")
    upload = subject.store.create_upload(key, NOTHING, deadline=subject.lease)
    subject.store.copy_part(upload, key, 1, seen, first=0, last=49, deadline=subject.lease)
    subject.application.put(subject.key("source"), b"b" * 100)

    with pytest.raises(ConditionFailedError):
        subject.store.copy_part(upload, key, 2, seen, first=50, last=99, deadline=subject.lease)
    subject.store.abort_upload(upload, key)
    assert subject.get("mixed") is None


def test_upload_is_still_there_after_a_failed_condition(subject: Subject) -> None:
    """It can be completed under another condition, or aborted; an aborted one is gone, and aborting again is no error."""
    subject.application.put(subject.key("taken"), b"theirs")
    key = subject.key("taken")
    upload = subject.store.create_upload(key, NOTHING, deadline=subject.lease)
    part = subject.store.put_part(upload, key, 1, NEW, deadline=subject.lease)
    with pytest.raises(ConditionFailedError):
        subject.store.complete_upload(upload, key, [part], condition=IfAbsent(), deadline=subject.lease)
    theirs = subject.store.stat(key)
    subject.store.complete_upload(upload, key, [part], condition=IfMatch(theirs.etag), deadline=subject.lease)

    assert subject.get("taken") == NEW
    upload = subject.store.create_upload(key, NOTHING, deadline=subject.lease)
    subject.store.abort_upload(upload, key)
    subject.store.abort_upload(upload, key)
    subject.application.put(key, b"theirs again")
    if subject.name.endswith("versitygw"):  # which takes it for completed before, whatever is there by now: so a copy looks at the ETag
        claimed = subject.store.complete_upload(upload, key, [part], condition=IfAbsent(), deadline=subject.lease)
        assert claimed != subject.store.stat(key).etag
    else:
        with pytest.raises(StoreRequestError):
            subject.store.complete_upload(upload, key, [part], condition=None, deadline=subject.lease)
    assert subject.get("taken") == b"theirs again"


@pytest.mark.parametrize("remaining", [0.9, 0.0, -1.0])
def test_write_under_a_lost_lease_is_not_sent(subject: Subject, remaining: float) -> None:
    """Nothing changes at the store (S7)."""
    info, lease = subject.put("a", b"old"), FixedDeadline(remaining)
    key = info.key
    upload = subject.store.create_upload(key, NOTHING, deadline=subject.lease)
    writes: list[Callable[[], object]] = [
        lambda: subject.store.put(key, b"new", NOTHING, condition=None, deadline=lease),
        lambda: subject.store.copy(info, subject.key("b"), condition=None, deadline=lease),
        lambda: subject.store.create_upload(key, NOTHING, deadline=lease),
        lambda: subject.store.put_part(upload, key, 1, b"new", deadline=lease),
        lambda: subject.store.copy_part(upload, key, 1, info, first=0, last=2, deadline=lease),
        lambda: subject.store.complete_upload(upload, key, [OTHER], condition=None, deadline=lease),
        lambda: subject.store.delete([info], deadline=lease),
    ]
    for write in writes:
        with pytest.raises(LeaseLostError):
            write()
    subject.store.abort_upload(upload, key)

    assert (subject.get("a"), subject.get("b")) == (b"old", None)


def test_request_dies_at_the_store_with_its_signature(subject: Subject) -> None:
    """A PUT and a DeleteObjects that come after their end are refused and change nothing (M2)."""
    info = subject.put("a", b"old")
    with pytest.raises(ExpiredRequestError):
        subject.store.put_expired(info.key, b"late")
    with pytest.raises(ExpiredRequestError):
        subject.store.delete_expired(info)

    assert subject.get("a") == b"old"


def test_leading_slash_is_the_same_object_where_it_was_seen_to_be(subject: Subject) -> None:
    """What the probe says of spellings holds for reads, writes, copies and deletes alike (H6, M6)."""
    subject.put("a", b"old")
    other = "/" + subject.key("a")
    if not subject.capabilities.folds_leading_slash:
        with pytest.raises(ObjectError):
            subject.store.stat(other)
        return
    subject.store.put(other, b"new", NOTHING, condition=None, deadline=subject.lease)
    info = subject.store.stat(other)
    upload = subject.store.create_upload(subject.key("parts"), NOTHING, deadline=subject.lease)
    part = subject.store.copy_part(upload, subject.key("parts"), 1, info, first=0, last=2, deadline=subject.lease)
    subject.store.complete_upload(upload, subject.key("parts"), [part], condition=None, deadline=subject.lease)
    subject.store.copy(info, subject.key("whole"), condition=None, deadline=subject.lease)

    assert subject.get("a") == subject.get("parts") == subject.get("whole") == b"new"
    assert subject.store.delete([info], deadline=subject.lease) == {other: None}
    assert subject.get("a") is None


def test_parts_of_an_object_are_told(subject: Subject) -> None:
    """So that a copy can have the same, and with them the same ETag (CASES 11)."""
    body = bytes(range(256)) * 4096 * 11
    key, cut = subject.key("in-parts"), 5 * 1024 * 1024 + 7
    upload = subject.store.create_upload(key, NOTHING, deadline=subject.lease)
    sizes = [cut, len(body) - cut]
    etags = [
        subject.store.put_part(upload, key, 1, body[:cut], deadline=subject.lease),
        subject.store.put_part(upload, key, 2, body[cut:], deadline=subject.lease),
    ]
    subject.store.complete_upload(upload, key, etags, condition=None, deadline=subject.lease)
    info = subject.store.stat(key)

    assert info.etag == joined_etag(etags)
    assert [subject.store.part_size(info, number) for number in (1, 2)] == sizes
    assert subject.store.part_size(info, 3) is None
    subject.application.put(key, b"other")
    with pytest.raises(ConditionFailedError):
        subject.store.part_size(info, 1)
    subject.application.delete(key)
    with pytest.raises(MissingObjectError):
        subject.store.part_size(info, 1)


def test_copy_by_parts_arrives_with_the_etag_of_a_source_in_parts(subject: Subject) -> None:
    """And with its headers and tags, as by a single request; no upload is left."""
    body = bytes(range(256)) * 4096 * 11
    key, target, cut = subject.key("in-parts"), subject.key("copied-by-parts"), 5 * 1024 * 1024 + 7
    upload = subject.store.create_upload(key, ObjectAttributes(headers=HEADERS | {"x-amz-tagging": "k=v"}), deadline=subject.lease)
    etags = [
        subject.store.put_part(upload, key, number, part, deadline=subject.lease)
        for number, part in enumerate((body[:cut], body[cut:]), start=1)
    ]
    subject.store.complete_upload(upload, key, etags, condition=None, deadline=subject.lease)
    source = subject.store.read(key, max_bytes=0)
    keeper = PlainKeeper(spare=2)
    copied = copy_by_parts(subject.port, source, target, condition=IfAbsent(), deadline=subject.lease, keeper=keeper, policy=POLICY)
    there = subject.store.read(target, max_bytes=len(body))

    assert (there.body, there.attributes) == (body, source.attributes)
    assert copied.copy.etag == there.info.etag
    assert (there.info.etag == source.info.etag) is (not subject.name.endswith("seaweed"))  # whose parts have no MD5 where it copied them
    assert keeper.open == {}
    assert subject.application.uploads(target) == []
    with pytest.raises(ConditionFailedError):
        copy_by_parts(subject.port, source, target, condition=IfAbsent(), deadline=subject.lease, keeper=keeper, policy=POLICY)
    assert subject.application.uploads(target) == []


def test_copy_is_of_the_version_asked_for(versioned: Subject) -> None:
    """Though a newer one is there; whole or by parts (the version copied is pinned)."""
    old = versioned.put("source", b"old")
    versioned.application.put(versioned.key("source"), b"newer")
    versioned.store.copy(old, versioned.key("copy"), condition=None, deadline=versioned.lease)
    upload = versioned.store.create_upload(versioned.key("parts"), NOTHING, deadline=versioned.lease)
    part = versioned.store.copy_part(upload, versioned.key("parts"), 1, old, first=0, last=2, deadline=versioned.lease)
    versioned.store.complete_upload(upload, versioned.key("parts"), [part], condition=None, deadline=versioned.lease)

    assert old.version_id is not None
    assert (versioned.get("copy"), versioned.get("parts"), versioned.get("source")) == (b"old", b"old", b"newer")


@pytest.mark.parametrize("kind", ["put", "copy"])
def test_writes_that_are_begun_together_each_have_their_own_answer(subject: Subject, kind: str) -> None:
    """In whatever order they are taken; what is refused is refused alone, and nobody else waits for an answer that is not taken."""
    source = _source(subject)

    def begin(name: str) -> Writing:
        key = subject.key(name)
        if kind == "put":
            return subject.port.begin_put(key, NEW + name.encode(), NOTHING, condition=IfAbsent(), deadline=subject.lease)
        return subject.port.begin_copy(source, key, condition=IfAbsent(), deadline=subject.lease)

    subject.put("taken", b"theirs")
    begun = {name: begin(name) for name in ("one", "taken", "two")}
    expected = {name: NEW + name.encode() if kind == "put" else NEW for name in ("one", "two")}
    end = time.monotonic() + 20
    while {name: subject.get(name) for name in expected} != expected and time.monotonic() < end:
        time.sleep(0.05)
    seen = {name: subject.get(name) for name in expected}

    assert seen == expected
    for name in ("two", "one"):
        written, found = begun[name].result(), subject.store.stat(subject.key(name))
        assert (written.key, written.etag, written.size) == (found.key, found.etag, found.size)
    if _honours(subject, kind, "absent"):
        with pytest.raises(ConditionFailedError):
            begun["taken"].result()
        assert subject.get("taken") == b"theirs"
    else:
        assert begun["taken"].result().key == subject.key("taken")


@pytest.mark.parametrize("kind", ["put", "copy"])
def test_write_that_the_lease_leaves_no_time_for_is_not_begun(subject: Subject, kind: str) -> None:
    """The store hears nothing of it."""
    source, late = _source(subject), FixedDeadline(0.5)
    begin = {
        "put": lambda: subject.port.begin_put(subject.key("late"), NEW, NOTHING, condition=IfAbsent(), deadline=late),
        "copy": lambda: subject.port.begin_copy(source, subject.key("late"), condition=IfAbsent(), deadline=late),
    }
    with pytest.raises(LeaseLostError):
        begin[kind]()

    assert subject.get("late") is None


PACKED = {"content-type": "image/png", "expires": "Thu, 01 Dec 2044 16:00:00 GMT", "x-amz-meta-by": "us = we"}
NAMES = ("one", "caf\u00e9 2/three", 150 * "n")


def _snowball(subject: Subject, names: Sequence[str], *, lease: FixedDeadline | None = None) -> Sequence[ObjectInfo]:
    if not subject.capabilities.takes_snowballs:
        pytest.skip("takes no snowballs: none is sent to it")
    packed = [Packed(subject.key(name), name.encode(), PACKED) for name in names]
    return subject.port.put_snowball(subject.key("snowball.tar"), packed, deadline=lease or subject.lease)


def test_snowball_becomes_its_objects(subject: Subject) -> None:
    """Each as if it had been put alone, over whatever was there, and nothing else."""
    subject.application.put(subject.key("one"), b"before")
    written = _snowball(subject, NAMES)
    found = [subject.store.read(subject.key(name), max_bytes=1000) for name in NAMES]

    assert [read.body for read in found] == [name.encode() for name in NAMES]
    assert [dict(read.attributes.headers) for read in found] == [PACKED] * 3
    for said, read in zip(written, found, strict=True):
        assert (said.key, said.etag, said.size) == (read.info.key, read.info.etag, read.info.size)
        assert read.info.last_modified <= said.last_modified <= read.info.last_modified + 5
    assert subject.application.get(subject.key("snowball.tar")) is None


def test_snowball_of_which_one_object_is_refused_says_so(subject: Subject) -> None:
    """The others may have been written, or not, and some be under way: the answer tells of none."""
    with pytest.raises(UnansweredError):
        _snowball(subject, ("good", 300 * "s"))


def test_snowball_is_not_sent_when_its_lease_is_over(subject: Subject) -> None:
    """As no write is."""
    with pytest.raises(LeaseLostError):
        _snowball(subject, ("late",), lease=FixedDeadline(0.5))
    assert subject.get("late") is None


def test_object_whose_put_would_be_taken_apart_is_copied_as_it_is(subject: Subject) -> None:
    """Parts and copies keep such metadata; a PUT that said it again would be carried out on others' keys."""
    if isinstance(subject.store, InMemoryStore):
        pytest.skip("nothing is taken apart there")
    key, new = subject.key("tar"), subject.key("moved")
    tar = pack([Packed(subject.key("victim"), b"evil", {"content-type": "a/b"})])
    said = {UNPACKED: "true", "content-type": "application/x-tar"}
    upload = subject.store.create_upload(key, ObjectAttributes(headers=said), deadline=subject.lease)
    etag = subject.store.put_part(upload, key, 1, tar, deadline=subject.lease)
    subject.store.complete_upload(upload, key, [etag], condition=None, deadline=subject.lease)
    at_once(
        copy_through(
            subject.store,
            key,
            new,
            condition=IfAbsent(),
            deadline=subject.lease,
            max_bytes=1_000_000,
            budget=ByteBudget(),
            keeper=PlainKeeper(),
            policy=POLICY,
        )
    )

    assert subject.get("victim") is None
    assert subject.get("moved") == tar
    assert subject.store.head(new).attributes.headers[UNPACKED] == "true"
    with pytest.raises(FidelityError):
        subject.store.put(new, tar, ObjectAttributes(headers=said), condition=None, deadline=subject.lease)


def test_metadata_that_begins_as_minio_s_own_comes_along(subject: Subject) -> None:
    """A store that keeps it shows it, and has it after GET and PUT."""
    said = {"content-type": "a/b", "x-minio-meta-by": "us"}
    subject.store.put(subject.key("own"), NEW, ObjectAttributes(headers=said), condition=None, deadline=subject.lease)
    shown = subject.store.read(subject.key("own"), max_bytes=100)
    subject.store.put(subject.key("again"), NEW, shown.attributes, condition=IfAbsent(), deadline=subject.lease)

    assert subject.store.head(subject.key("again")).attributes == shown.attributes
    assert shown.attributes.headers.get("x-minio-meta-by") == (None if subject.name in {"seaweed", "versitygw"} else "us")
