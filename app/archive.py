"""Moves that have left the ledger: parts of a run's ledger as objects in its bucket, gzip JSON Lines (docs/decisions.md, "A window").

A part is written once and never changed; which parts count is known to the ledger alone (app.ledger.archiving), so that what an attempt
left that came no further is nobody's part. A head names bucket, table, run and range; then a line a move, with all of its columns.
"""

from __future__ import annotations

import json
import zlib
from base64 import b64encode
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from hashlib import md5
from typing import Any

from app.errors import ConditionFailedError, PermanentError
from app.key_values import RESERVED_PREFIX
from app.object_store import Deadline, IfAbsent, ObjectAttributes, ObjectStore

ARCHIVE_PREFIX = f"{RESERVED_PREFIX}ledger/"
FORMAT = 1
MAX_BYTES = 64 * 1024**2  # packed; a part has some 5000 moves
_GZIP = 31  # zlib's word for gzip's header and check sum
_LEVEL = 6
_BYTES = "\x00hex:"  # what a value begins with that is bytes: no text of a database holds a NUL


class ArchiveError(PermanentError):
    """A part of the archive is not there, or is not what was written."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """What a part is about: all moves of the run that were taken out of the ledger of those after *after*, up to *last*."""

    bucket: str
    table: str
    run: str
    after: int
    last: int


Row = Mapping[str, Any]  # of rekey_moves, by column; what is NULL is left out


def key_of(run: str, session: str, number: int) -> str:
    """The key of part *number* of *run*, as the attempt *session* wrote it."""
    return f"{ARCHIVE_PREFIX}{run}/{number:09d}-{session}.jsonl.gz"


def pack(head: Head, rows: Sequence[Row]) -> bytes:
    """The bytes of a part."""
    lines = [json.dumps({"format": FORMAT} | asdict(head), separators=(",", ":"))]
    lines += [json.dumps(_plain(row), separators=(",", ":")) for row in rows]
    packer = zlib.compressobj(_LEVEL, wbits=_GZIP)
    return packer.compress("\n".join([*lines, ""]).encode()) + packer.flush()


def unpack(body: bytes) -> tuple[Head, list[dict[str, Any]]]:
    """What *body* says.

    Raises:
        ArchiveError: It is no part, or not a whole one.
    """
    try:
        unpacker = zlib.decompressobj(wbits=_GZIP)
        text = unpacker.decompress(body) + unpacker.flush()
        if not unpacker.eof:
            raise ValueError("it is cut short")  # noqa: TRY301 - told with the others
        first, *lines = [json.loads(line) for line in text.decode().splitlines()]
        if first.pop("format") != FORMAT:
            raise ValueError("another version of this program wrote it")  # noqa: TRY301 - as above
        return Head(**first), [_values(line) for line in lines]
    except (zlib.error, ValueError, TypeError, KeyError, AttributeError) as error:
        raise ArchiveError(f"this is no part of a ledger: {error}") from error


def write(store: ObjectStore, key: str, body: bytes, *, deadline: Deadline) -> None:
    """Write a part and read it back.

    Raises:
        ArchiveError: What is there now is something else.
        ObjectError, TransientError: The store did not take it, or does not give it back.
    """
    # A bucket whose objects are locked by default asks for the digest.
    digest = b64encode(md5(body, usedforsecurity=False).digest()).decode()
    attributes = ObjectAttributes(headers={"content-type": "application/gzip", "content-md5": digest})
    condition = IfAbsent() if store.capabilities.put_if_absent else None
    with suppress(ConditionFailedError):  # an earlier request of ours may have come through late: what is there is compared
        store.put(key, body, attributes, condition=condition, deadline=deadline)
    if store.read(key, max_bytes=MAX_BYTES).body != body:
        raise ArchiveError(f"{key!r} is not what was written there: the ledger keeps its moves")


def read(store: ObjectStore, key: str) -> tuple[Head, list[dict[str, Any]]]:
    """A part that counts.

    Raises:
        ArchiveError: It is not what was written.
        ObjectError, TransientError: The store does not give it.
    """
    body = store.read(key, max_bytes=MAX_BYTES).body
    if body is None:
        raise ArchiveError(f"{key!r} is no part of a ledger: it has more than {MAX_BYTES} bytes")
    try:
        return unpack(body)
    except ArchiveError as error:
        raise ArchiveError(f"{key!r}: {error}") from error


def _plain(row: Row) -> dict[str, Any]:
    return {name: _BYTES + value.hex() if isinstance(value, bytes) else value for name, value in row.items() if value is not None}


def _values(line: dict[str, Any]) -> dict[str, Any]:
    return {
        name: bytes.fromhex(value[len(_BYTES) :]) if isinstance(value, str) and value.startswith(_BYTES) else value
        for name, value in line.items()
    }
