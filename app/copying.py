"""How one object gets to its new key: the request that the store makes safe, and the proof that it arrived (S3).

Three ways: CopyObject under conditions, where the probe saw both honoured; GET and a conditional PUT up to INLINE_BYTES (MinIO ignores
conditions on CopyObject: M3, M4); parts copied by the store and a conditional Complete above that, and wherever a row names the
target (a conditional PUT whose body stalls locks the key for readers: M5).
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Collection, Generator
from contextlib import suppress
from dataclasses import dataclass

from app.attributes import Load, comparable, load_of
from app.byte_budget import Budget
from app.errors import ProofError, RekeyError, UnansweredError
from app.fidelity import Way
from app.fidelity_rules import Attribute, Policy
from app.large_copies import PART_BYTES, Keeper, copy_parts, joined_etag, ranges_of
from app.object_store import UNPACKED, Condition, Deadline, ObjectInfo, ObjectStore, ReadObject

SINGLE_COPY_BYTES = 256 * 1024**2  # above this the store copies part by part, so that no request outlasts its time-out
SMALL_BYTES = 16 * 1024  # read by the worker, such an object costs what a HEAD of it does (docs/benchmarks.md)
SNOWBALL_OBJECTS = 50  # small ones in one request, at most
MOSTLY_SMALL = 0.9  # of the objects, above which small ones go together
EMPTY_MD5 = "d41d8cd98f00b204e9800998ecf8427e"
# Such an ETag is an MD5 of the content, or of the MD5s of its parts, or an encrypted store's random number.
_HASH = re.compile("([0-9a-f]{32})(-[0-9]+)?").fullmatch


@dataclass(frozen=True, slots=True, kw_only=True)
class Copied:
    """A proved copy: the version read and the version written. *source* is None where an earlier run had moved it away already."""

    source: ObjectInfo | None
    copy: ObjectInfo
    lost: frozenset[Attribute] = frozenset()  # what the source has and the copy has not
    through: bool = False  # a worker has read the bytes and written them: they were on two ways that the store knows nothing of

    @property
    def has_same_hash(self) -> bool:
        """Whether the ETags prove equal bytes; those of encrypted objects may differ for the same ones."""
        return self.source is not None and _same_hash(self.source, self.copy)


Steps = Generator[None, None, Copied]  # yields while a write is under way, whose answer it takes when it goes on


def at_once(steps: Steps) -> Copied:
    """Let *steps* go on to their end, with nothing else meanwhile."""
    while True:
        try:
            next(steps)
        except StopIteration as done:
            copied: Copied = done.value
            return copied


def copy_through(
    store: ObjectStore,
    key: str,
    new_key: str,
    *,
    condition: Condition,
    deadline: Deadline,
    max_bytes: int,
    budget: Budget,
    keeper: Keeper,
    policy: Policy,
) -> Steps:
    """GET and conditional PUT, or by parts above *max_bytes*. The bytes written are of exactly one version: the one read.

    Raises:
        ConditionFailedError, MissingObjectError, FidelityError, ProofError and what ``app.object_store`` says.
    """
    with budget.share() as admit:
        read = store.read(key, max_bytes=max_bytes, admit=admit)
        refuse_folder(read.info)
        if read.body is not None and UNPACKED not in read.attributes.headers:
            load = load_of(store, read, new_key, Way.PUT, policy)
            writing = store.begin_put(new_key, read.body, load.attributes, condition=condition, deadline=deadline)
            yield
            written = writing.result()
            return Copied(source=read.info, copy=proved(store, read.info, written), lost=load.lost, through=True)
    return copy_by_parts(store, read, new_key, condition=condition, deadline=deadline, keeper=keeper, policy=policy)


def refuse_folder(source: ObjectInfo) -> None:
    """Raise ProofError if the store has only kept a folder where the key ends in a slash: it gives no bytes, and not the ETag of none."""
    if source.size == 0 and source.key.endswith("/") and source.etag != EMPTY_MD5:
        raise ProofError(source.key, "the store gives no bytes for it, but the ETag of some: it keeps a folder there, and no object")


def copy_by_parts(
    store: ObjectStore, read: ReadObject, new_key: str, *, condition: Condition, deadline: Deadline, keeper: Keeper, policy: Policy
) -> Copied:
    """A multipart upload whose parts the store copies from exactly the version *read*; its completion carries the condition.

    An upload that is not completed is aborted; *keeper* knows of it for as long as it may be there.
    """
    load = load_of(store, read, new_key, Way.PARTS, policy)
    ranges = ranges_of(store, read.info, part_bytes=PART_BYTES, keeper=keeper)
    upload = store.create_upload(new_key, load.attributes, deadline=deadline)
    try:
        keeper.begun(new_key, upload)
        if ranges:
            etags = copy_parts(store, read.info, new_key, upload, ranges, deadline=deadline, keeper=keeper)
        else:
            etags = [store.put_part(upload, new_key, 1, b"", deadline=deadline)]
        keeper.completing(upload, read.info, joined_etag(etags))
        etag = store.complete_upload(upload, new_key, etags, condition=condition, deadline=deadline)
    except RekeyError as error:
        # What ended the upload decides what becomes of the move: an unanswered completion must not pass for a store that was away (S7).
        with suppress(RekeyError):
            store.abort_upload(upload, new_key)
            if not isinstance(error, UnansweredError):  # else it may live on, and is aborted once more when the lease is over
                keeper.aborted(upload)
        raise
    keeper.completed(upload)
    found = store.stat(new_key)
    if found.etag != etag:
        raise ProofError(new_key, "another object stands there than the one that was written")
    return Copied(source=read.info, copy=sized(read.info, found), lost=load.lost)


def copy_by_store(
    store: ObjectStore, source: ObjectInfo, new_key: str, *, condition: Condition | None, deadline: Deadline, load: Load
) -> Steps:
    """CopyObject of exactly *source*; *condition* None only on the operator's word that nobody else writes there."""
    writing = store.begin_copy(source, new_key, condition=condition, deadline=deadline, headers=load.attributes.headers)
    yield
    written = writing.result()
    return Copied(source=source, copy=proved(store, source, written), lost=load.lost)


def proved(store: ObjectStore, source: ObjectInfo, written: ObjectInfo) -> ObjectInfo:
    """The copy, if the store's answer proves it: the same content hash, else its ETag and size by a HEAD.

    Raises:
        ProofError: It is something else (case 8).
    """
    if written.etag == source.etag and _HASH(source.etag):
        return written
    found = store.stat(written.key)
    if found.etag != written.etag:
        raise ProofError(written.key, "another object stands there than the one that was written")
    return sized(source, found)


def sized(source: ObjectInfo, copy: ObjectInfo) -> ObjectInfo:
    """*copy*, if it has the size of *source*.

    Raises:
        ProofError: It has not.
    """
    if copy.size != source.size:
        raise ProofError(copy.key, f"{copy.size} bytes arrived of {source.size}")
    return copy


def is_equal(
    store: ObjectStore,
    one: str,
    other: str,
    *,
    max_bytes: int,
    budget: Budget,
    policy: Policy,
    joined: Collection[tuple[str, str]] = (),
) -> tuple[ReadObject, ReadObject] | None:
    """Read an object and what may be its copy, and compare bytes, headers and tags.

    What *policy* lets go need not be equal. Above *max_bytes* ETags and sizes stand for the bytes, if they are hashes; *joined* are pairs
    of ETags, of a source and of the copy that was made of it by parts.

    Returns:
        Both as read, or None where they differ or cannot be compared.
    """
    with budget.share() as admit:  # the second body counts against the same share: two shares could wait for each other for ever
        first = store.read(one, max_bytes=max_bytes, admit=admit)
        second = store.read(other, max_bytes=max_bytes, admit=admit)
        if first.info.size != second.info.size or comparable(store, first, policy) != comparable(store, second, policy):
            return None
        if first.body is not None and second.body is not None:
            return (first, second) if first.body == second.body else None
        proved_by_hash = _same_hash(first.info, second.info) or (first.info.etag, second.info.etag) in joined
        return (first, second) if proved_by_hash else None


def _same_hash(one: ObjectInfo, other: ObjectInfo) -> bool:
    """Whether the ETags prove equal bytes: the same hash, or that of one of them as the only part of the other."""
    if _HASH(one.etag) is None:
        return False
    return one.etag == other.etag or _in_one_part(one.etag) == other.etag or _in_one_part(other.etag) == one.etag


def _in_one_part(etag: str) -> str | None:
    """The ETag of an upload in one part that has *etag* by itself."""
    found = _HASH(etag)
    if found is None or found[2]:
        return None
    return hashlib.md5(bytes.fromhex(etag), usedforsecurity=False).hexdigest() + "-1"
