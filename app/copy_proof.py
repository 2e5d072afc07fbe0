"""Proof of a copy beyond its ETag and size: that it can be read, or that its bytes are those of its source (case 8).

Read side by side, a block at a time, so that the size of an object takes time and no memory.
"""

from __future__ import annotations

from typing import Protocol

from app.byte_budget import Budget
from app.copying import Copied
from app.errors import ConditionFailedError, MissingObjectError, ProofError
from app.object_store import ObjectInfo, ObjectStore

BLOCK_BYTES = 4 * 1024**2  # two are held at once; ten seconds are enough for one on a slow link


class Keeps(Protocol):
    """What a long comparison goes on under."""

    def keep(self) -> None:
        """Stop if asked to, and renew the lease in time."""


def see_readable(store: ObjectStore, copy: ObjectInfo) -> None:
    """A GET of the copy, without its body.

    Raises:
        DeniedError and the like: It is there, and nobody with these credentials can read it.
        ProofError: Something else stands there.
    """
    found = store.read(copy.key, max_bytes=0).info
    if (found.etag, found.size) != (copy.etag, copy.size):
        raise ProofError(copy.key, "a GET shows another object than the one that was written")


def compare_bytes(store: ObjectStore, copied: Copied, *, keeper: Keeps, budget: Budget) -> None:
    """Read source and copy, each pinned to its version, and compare them.

    A source that has changed meanwhile ends it: the look before the switch finds that too, and it is copied again.

    Raises:
        ProofError: They differ, or the copy has changed.
        MissingObjectError, DeniedError and the like: It cannot be read.
    """
    see_readable(store, copied.copy)
    if copied.source is None:
        return
    for first in range(0, copied.source.size, BLOCK_BYTES):
        keeper.keep()
        last = min(first + BLOCK_BYTES, copied.source.size) - 1
        with budget.share() as admit:
            try:
                theirs = store.read_range(copied.source, first=first, last=last, admit=admit)
            except (ConditionFailedError, MissingObjectError):
                return
            try:
                ours = store.read_range(copied.copy, first=first, last=last, admit=admit)
            except ConditionFailedError as error:
                raise ProofError(copied.copy.key, "it was changed while it was compared with its source") from error
            if theirs != ours:
                raise ProofError(copied.copy.key, f"its bytes are not those of its source, between byte {first} and {last}")
