"""The journal: what each batch of deletes was about to delete and where the bytes are now, kept in the bucket itself (H15).

One small object a batch, JSON Lines: a head that names bucket, table and run, then a line for each move. A database that is restored from
an older back-up has forgotten why its rows name deleted keys; the bucket has not, and ``rekey verify --repair`` reads it there.
"""

from __future__ import annotations

import hashlib
import json
import secrets
from base64 import b64encode
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

from app.errors import ConditionFailedError, MissingObjectError, ObjectError, PermanentError
from app.key_values import RESERVED_PREFIX
from app.object_store import MAX_LISTED, Deadline, IfAbsent, ObjectAttributes, ObjectInfo, ObjectStore

JOURNAL_PREFIX = f"{RESERVED_PREFIX}journal/"
MARK_PREFIX = f"{RESERVED_PREFIX}complete/"
_MARK = b"As long as this object is here, a run of asset-rekey has noted all of its deletes below .rekey/journal/.\n"
FORMAT = 1
MAX_BYTES = 16 * 1024**2  # a batch is 1000 moves at most, and a move's line some kilobytes
_ENCODER = json.JSONEncoder(separators=(",", ":"))
MOST_READ = 200  # objects of the journal that one question is worth
_CONTENT_TYPE = "application/jsonl"


class JournalError(PermanentError):
    """An object of the journal cannot be read as one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """What a journal object is about."""

    bucket: str
    table: str
    run: str
    noted_at: str  # UTC by the store's clock, ISO 8601


@dataclass(frozen=True, slots=True, kw_only=True)
class Version:
    """What tells one version of an object from another."""

    etag: str
    size: int
    store_time: int
    version_id: str | None = None

    @classmethod
    def of(cls, info: ObjectInfo) -> Version:
        """The version that *info* describes."""
        return cls(etag=info.etag, size=info.size, store_time=info.last_modified, version_id=info.version_id)

    def has_content_of(self, found: ObjectInfo) -> bool:
        """Whether *found* holds the same bytes, as far as ETag and size tell."""
        return (self.etag, self.size) == (found.etag, found.size)


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One move whose old object was about to be deleted; *copy* is what was at the new key just then."""

    row_id: str
    client: str | None
    old_key: str
    new_key: str
    source: Version
    copy: Version


def write(store: ObjectStore, head: Head, entries: Sequence[Entry], *, deadline: Deadline) -> str:
    """Write one object of the journal and give its key. The same entries have the same name: a repetition writes nothing.

    Raises:
        ObjectError, TransientError: The store did not take it.
    """
    lines = [_ENCODER.encode(_line(entry)) for entry in entries]
    name = hashlib.sha256("\n".join([head.bucket, head.table, *lines]).encode()).hexdigest()[:32]
    key = f"{_prefix(head.run, max(entry.copy.store_time for entry in entries))}-{name}.jsonl"
    body = "\n".join([json.dumps({"format": FORMAT} | asdict(head), separators=(",", ":")), *lines, ""]).encode()
    # A bucket whose objects are locked by default asks for the digest.
    digest = b64encode(hashlib.md5(body, usedforsecurity=False).digest()).decode()
    attributes = ObjectAttributes(headers={"content-type": _CONTENT_TYPE, "content-md5": digest})
    condition = IfAbsent() if store.capabilities.put_if_absent else None
    try:
        store.put(key, body, attributes, condition=condition, deadline=deadline)
    except ConditionFailedError:  # noted already, by an attempt that came no further
        return key
    return key


def _prefix(run: str, store_time: int) -> str:
    """What a journal object's key begins with if the newest of the copies that it names is of *store_time*."""
    return f"{JOURNAL_PREFIX}{run}/{datetime.fromtimestamp(store_time, UTC).strftime('%Y%m%dT%H%M%SZ')}"


def keys(store: ObjectStore, *, after: str = "", run: str = "") -> Iterator[str]:
    """The keys of the journal's objects, of one *run* or all, beyond *after*, page by page from start-after (M1)."""
    prefix = f"{JOURNAL_PREFIX}{run}/" if run else JOURNAL_PREFIX
    while True:
        page = store.list_page(prefix=prefix, start_after=after, delimiter="", limit=MAX_LISTED)
        yield from (info.key for info in page.objects)
        if not page.truncated or not page.objects or page.objects[-1].key == after:
            return
        after = page.objects[-1].key


def read(store: ObjectStore, key: str) -> tuple[Head, list[Entry]]:
    """One object of the journal.

    Raises:
        JournalError: It is not what this version of the product writes.
    """
    body = store.read(key, max_bytes=MAX_BYTES).body
    if body is None:
        raise JournalError(f"{key!r} is no object of the journal: it has more than {MAX_BYTES} bytes")
    try:
        first, *rest = [json.loads(line) for line in body.decode().splitlines()]
        if first.pop("format") != FORMAT:
            raise JournalError(f"{key!r} was written by another version of this program")
        return Head(**first), list(_entries(rest))
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise JournalError(f"{key!r} is no object of the journal: {error}") from error


def new_mark() -> str:
    """The key of a mark that stands in the bucket as long as a run's journal has all of its deletes."""
    return f"{MARK_PREFIX}{secrets.token_hex(16)}"


def put_mark(store: ObjectStore, key: str, *, deadline: Deadline) -> None:
    """Make the mark, before the run has a move; without it the journal counts as one that may lack something.

    Raises:
        ObjectError, TransientError: The store did not take it.
    """
    store.put(key, _MARK, ObjectAttributes(headers={"content-type": "text/plain"}), condition=None, deadline=deadline)


def unmark(store: ObjectStore, key: str, *, deadline: Deadline) -> bool:
    """Take the mark away, which a full store lets us do where it takes no note; False where it may still stand.

    Raises:
        TransientError: The store did not answer.
    """
    try:
        return store.delete([_mark_there(store, key)], deadline=deadline)[key] is None
    except MissingObjectError:
        return True
    except ObjectError:
        return False


def _mark_there(store: ObjectStore, key: str) -> ObjectInfo:
    """The mark. A present object may answer 404 for a moment (case 16), and one that is taken for gone would go on saying "whole"."""
    try:
        return store.stat(key)
    except MissingObjectError:
        return store.stat(key)


def may_have(store: ObjectStore, *, run: str, marked_by: str | None, row_id: str, old_key: str, since: int | None = None) -> bool:
    """Whether *run* may have deleted *old_key* for row *row_id*, or be about to: false only where its journal does not say so.

    *since*: only what was noted of copies of that store time and later. *marked_by*: the mark of a run that has one; without it in the
    bucket the journal may lack something.
    """
    try:
        if marked_by is not None:
            store.stat(marked_by)
        for number, key in enumerate(keys(store, run=run, after="" if since is None else _prefix(run, since))):
            if number >= MOST_READ:
                return True
            _, entries = read(store, key)
            if any(entry.row_id == row_id and entry.old_key == old_key for entry in entries):
                return True
    except (JournalError, ObjectError):
        return True
    return False


def _entries(lines: Iterable[dict[str, Any]]) -> Iterator[Entry]:
    for line in lines:
        versions = {side: Version(**line.pop(side)) for side in ("source", "copy")}
        yield Entry(source=versions["source"], copy=versions["copy"], **{"client": None} | line)


def _line(entry: Entry) -> dict[str, Any]:
    """An entry for JSON, without what is not known. By hand: dataclasses.asdict copies everything, and this is done for every asset."""
    line = {
        "row_id": entry.row_id,
        "client": entry.client,
        "old_key": entry.old_key,
        "new_key": entry.new_key,
        "source": _version(entry.source),
        "copy": _version(entry.copy),
    }
    if entry.client is None:
        del line["client"]
    return line


def _version(version: Version) -> dict[str, Any]:
    line: dict[str, Any] = {"etag": version.etag, "size": version.size, "store_time": version.store_time}
    return line if version.version_id is None else line | {"version_id": version.version_id}
