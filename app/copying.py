"""How one object gets to its new key: the request that the store makes safe, and the proof that it arrived (S3).

Three ways: CopyObject under conditions, where the probe saw both honoured; GET and a conditional PUT up to INLINE_BYTES (MinIO ignores
conditions on CopyObject: M3, M4); parts copied by the store and a conditional Complete above that, and wherever a row names the
target (a conditional PUT whose body stalls locks the key for readers: M5).
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace

from app.byte_budget import ByteBudget
from app.errors import ProofError, RekeyError
from app.object_store import MAX_PARTS, Condition, Deadline, ObjectAttributes, ObjectInfo, ObjectStore, ReadObject

PART_BYTES = 64 * 1024**2  # a part is copied within a request's time-out even by a store that manages 10 MB/s
SINGLE_COPY_BYTES = 256 * 1024**2  # above this the store copies part by part, so that no request outlasts its time-out
_MD5 = re.compile("[0-9a-f]{32}").fullmatch  # such an ETag is an MD5 of the content, or an encrypted store's random number


@dataclass(frozen=True, slots=True, kw_only=True)
class Copied:
    """A proved copy: the version read and the version written. *source* is None where an earlier run had moved it away already."""

    source: ObjectInfo | None
    copy: ObjectInfo


def attributes_to_send(store: ObjectStore, read: ReadObject) -> ObjectAttributes:
    """What a write must carry so that readers see the object as it was, tags included."""
    if not read.attributes.tag_count:
        return read.attributes
    return replace(read.attributes, headers=dict(read.attributes.headers) | {"x-amz-tagging": store.tags(read.info.key)})


def copy_through(
    store: ObjectStore,
    key: str,
    new_key: str,
    *,
    condition: Condition,
    deadline: Deadline,
    max_bytes: int,
    budget: ByteBudget,
    keep: Callable[[], None],
) -> Copied:
    """GET and conditional PUT, or by parts above *max_bytes*. The bytes written are of exactly one version: the one read.

    Raises:
        ConditionFailedError, MissingObjectError, ProofError and what ``app.object_store`` says.
    """
    with budget.share() as admit:
        read = store.read(key, max_bytes=max_bytes, admit=admit)
        if read.body is not None:
            written = store.put(new_key, read.body, attributes_to_send(store, read), condition=condition, deadline=deadline)
            return Copied(source=read.info, copy=proved(store, read.info, written))
    return copy_by_parts(store, read, new_key, condition=condition, deadline=deadline, keep=keep)


def copy_by_parts(
    store: ObjectStore, read: ReadObject, new_key: str, *, condition: Condition, deadline: Deadline, keep: Callable[[], None]
) -> Copied:
    """A multipart upload whose parts the store copies from exactly the version *read*; its completion carries the condition.

    *keep* is called before each part: it renews the lease, or raises to stop. An upload that is not completed is aborted.
    """
    upload = store.create_upload(new_key, attributes_to_send(store, read), deadline=deadline)
    try:
        etags = _parts(store, read.info, new_key, upload, deadline=deadline, keep=keep)
        store.complete_upload(upload, new_key, etags, condition=condition, deadline=deadline)
    except RekeyError:
        # What ended the upload decides what becomes of the move: an unanswered completion must not pass for a store that was away (S7).
        with suppress(RekeyError):
            store.abort_upload(upload, new_key)
        raise
    return Copied(source=read.info, copy=sized(read.info, store.stat(new_key)))


def _parts(store: ObjectStore, source: ObjectInfo, new_key: str, upload: str, *, deadline: Deadline, keep: Callable[[], None]) -> list[str]:
    if source.size == 0:
        return [store.put_part(upload, new_key, 1, b"", deadline=deadline)]
    part_bytes = max(PART_BYTES, -(-source.size // MAX_PARTS))
    etags = []
    for number, first in enumerate(range(0, source.size, part_bytes), start=1):
        keep()
        last = min(first + part_bytes, source.size) - 1
        etags.append(store.copy_part(upload, new_key, number, source, first=first, last=last, deadline=deadline))
    return etags


def copy_by_store(store: ObjectStore, source: ObjectInfo, new_key: str, *, condition: Condition | None, deadline: Deadline) -> Copied:
    """CopyObject of exactly *source*; *condition* None only on the operator's word that nobody else writes there."""
    return Copied(source=source, copy=proved(store, source, store.copy(source, new_key, condition=condition, deadline=deadline)))


def proved(store: ObjectStore, source: ObjectInfo, written: ObjectInfo) -> ObjectInfo:
    """The copy, if the store's answer proves it: the same content hash, else its size by a HEAD.

    Raises:
        ProofError: It is something else (case 8).
    """
    if written.etag == source.etag:
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


def is_equal(store: ObjectStore, one: str, other: str, *, max_bytes: int, budget: ByteBudget) -> tuple[ReadObject, ReadObject] | None:
    """Read an object and what may be its copy, and compare bytes, headers and tags.

    Above *max_bytes* ETags and sizes stand for the bytes, if they are hashes.

    Returns:
        Both as read, or None where they differ or cannot be compared.
    """
    with budget.share() as admit:  # the second body counts against the same share: two shares could wait for each other for ever
        first = store.read(one, max_bytes=max_bytes, admit=admit)
        second = store.read(other, max_bytes=max_bytes, admit=admit)
        if first.info.size != second.info.size or attributes_to_send(store, first) != attributes_to_send(store, second):
            return None
        if first.body is not None and second.body is not None:
            return (first, second) if first.body == second.body else None
        return (first, second) if _same_hash(first.info, second.info) else None


def _same_hash(one: ObjectInfo, other: ObjectInfo) -> bool:
    """Whether the ETags prove equal bytes: the same MD5, or *other* is a copy of *one* by parts that took a single part."""
    if not _MD5(one.etag):
        return False
    in_one_part = hashlib.md5(bytes.fromhex(one.etag), usedforsecurity=False).hexdigest() + "-1"
    return other.etag in {one.etag, in_one_part}
