"""What a plan finds, by class: how many rows, a few examples, what it means and how to mend it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from app.errors import ArchivedError, BadKeyError, DeniedError, EncryptedError, LockedError, ObjectError
from app.states import ParkedReason

EXAMPLES = 5  # of each class


class Kind(StrEnum):
    """The classes; those that park a row have the name that the run's report would give."""

    MISSING_SOURCE = ParkedReason.MISSING_SOURCE
    COLLISION = ParkedReason.COLLISION
    TARGET_EXISTS = ParkedReason.TARGET_EXISTS
    BAD_NAME = ParkedReason.BAD_NAME
    TOO_LONG = ParkedReason.TOO_LONG
    REJECTED = ParkedReason.REJECTED
    ARCHIVED = ParkedReason.ARCHIVED
    ENCRYPTED = ParkedReason.ENCRYPTED
    DENIED = ParkedReason.DENIED
    FAILED = ParkedReason.FAILED
    LOCKED = ParkedReason.LOCKED
    FIDELITY = ParkedReason.FIDELITY
    NOT_KEPT = "not_kept"
    TOO_LARGE = "too_large"
    ETAG = "etag"
    SUFFIXED = "suffixed"
    SHARED = "shared"
    NAMELESS = "nameless"
    MISSING_INDEX = "missing_index"
    IN_PLACE = "in_place"


# A row of these classes would not be moved.
PARKING = frozenset(
    {
        Kind.MISSING_SOURCE,
        Kind.COLLISION,
        Kind.TARGET_EXISTS,
        Kind.BAD_NAME,
        Kind.TOO_LONG,
        Kind.REJECTED,
        Kind.ARCHIVED,
        Kind.ENCRYPTED,
        Kind.DENIED,
        Kind.FAILED,
        Kind.FIDELITY,
    }
)

_REMARKS = frozenset({Kind.IN_PLACE, Kind.ETAG, Kind.NOT_KEPT})

_WORDS: dict[Kind, tuple[str, str]] = {
    Kind.MISSING_SOURCE: ("missing sources: no object has the key that the row names", "upload the objects, or correct the rows"),
    Kind.COLLISION: (
        "collisions: another row before it gets the same new key",
        "choose a template that tells them apart, such as {col.id}, or REKEY_ON_COLLISION=suffix",
    ),
    Kind.TARGET_EXISTS: (
        "foreign targets: an object or another row is at the new key already",
        "see whose it is; an old equal copy is adopted, nothing is overwritten",
    ),
    Kind.BAD_NAME: ("odd names: a value that cannot be part of an object key", "correct the rows"),
    Kind.TOO_LONG: ("too long: the new key or a part of it has more bytes than a store takes", "shorten the names or the template"),
    Kind.REJECTED: ("the key column is too short for the new key", "widen the column"),
    Kind.ARCHIVED: ("archived: the object must be restored before it can be copied", "restore the objects first"),
    Kind.ENCRYPTED: ("encrypted with a customer's key that this tool does not have", "copy them by other means"),
    Kind.DENIED: ("the credentials may not look at the object", "allow s3:GetObject and s3:ListBucket in their policy"),
    Kind.FAILED: ("the store gives no clear answer about the object", "look at the store"),
    Kind.LOCKED: (
        "locked: retention or a legal hold travels with the copy, and the old version stays while it lasts",
        "allow s3:PutObjectRetention and s3:PutObjectLegalHold; count the room twice",
    ),
    Kind.FIDELITY: (
        "fidelity: the copy would lack something that REKEY_FIDELITY keeps (by default, what readers see)",
        "allow the credentials to set it (`rekey doctor` tells why it is lost), or take the rule warn for it",
    ),
    Kind.NOT_KEPT: (
        "not kept: moved without something that readers do not see, or that REKEY_FIDELITY lets go",
        "nothing needs mending unless you want it kept: then take the rule keep, and such objects stay",
    ),
    Kind.TOO_LARGE: ("too large: parts so big that copying one may outlast a request's time-out", "raise REKEY_REQUEST_TIMEOUT_SECONDS"),
    Kind.ETAG: (
        "ETags that may change: an object in parts is copied by one request, or one that was written whole goes by parts",
        "nothing needs mending: caches ask once more; `etag_changed` in `rekey report` says which did change",
    ),
    Kind.SUFFIXED: (
        "suffixed: another asset has the new key, so these get one of their own, with a suffix behind the name",
        "nothing needs mending; a template that tells them apart, such as one with {col.id}, needs no suffixes",
    ),
    Kind.SHARED: (
        "shared objects: several rows name the old object; each gets a copy, and the old one goes last or stays",
        "nothing needs mending; the copies take room of their own",
    ),
    Kind.NAMELESS: ("rows without an id: no page shows them", "give them an id"),
    Kind.MISSING_INDEX: ("missing indexes: each check before a delete reads the whole table", "make the indexes"),
    Kind.IN_PLACE: ("rows already in place: nothing will be done", ""),
}


def kind_of(error: ObjectError) -> Kind:
    """The class of what a store said of an object."""
    kinds: tuple[tuple[type[ObjectError], Kind], ...] = (
        (DeniedError, Kind.DENIED),
        (EncryptedError, Kind.ENCRYPTED),
        (ArchivedError, Kind.ARCHIVED),
        (LockedError, Kind.LOCKED),
        (BadKeyError, Kind.BAD_NAME),
    )
    return next((kind for error_type, kind in kinds if isinstance(error, error_type)), Kind.FAILED)


@dataclass(slots=True)
class Class:
    """One class as far as it was counted."""

    rows: int = 0
    examples: list[dict[str, Any]] = field(default_factory=list)
    looked_at: int | None = None  # counted on so many objects, and extrapolated from them to all


class Found:
    """All classes of one plan; holds a few examples of each and no more."""

    def __init__(self) -> None:
        self._classes: dict[Kind, Class] = {}

    def add(self, kind: Kind, row_id: str | None, detail: str | None = None, *, rows: int = 1, **more: Any) -> None:  # noqa: ANN401 - JSON
        """Count *rows* rows of a class, one of which is *row_id*."""
        known = self._classes.get(kind)
        if known is None:
            known = self._classes[kind] = Class()
        known.rows += rows
        if len(known.examples) < EXAMPLES:
            known.examples.append({"row": row_id, "old_key": None, "new_key": None, "detail": detail, **more})

    def extrapolate(self, kind: Kind, *, add: int, looked_at: int) -> None:
        """Say of a class that was counted on *looked_at* objects only that it will have *add* rows more."""
        known = self._classes[kind]
        known.rows += add
        known.looked_at = looked_at

    def rows(self, kind: Kind) -> int:
        """How many rows a class has."""
        return self._classes[kind].rows if kind in self._classes else 0

    def examples(self) -> Iterator[dict[str, Any]]:
        """All examples, to be completed in place."""
        for known in self._classes.values():
            yield from known.examples

    @property
    def is_clean(self) -> bool:
        """Whether nothing was found that may need mending."""
        return not any(known.rows for kind, known in self._classes.items() if kind not in _REMARKS)

    def as_objects(self) -> list[dict[str, Any]]:
        """The classes that have rows, in the order of the enumeration, for JSON."""
        found = []
        for kind in Kind:
            known = self._classes.get(kind)
            if known is None or not known.rows:
                continue
            text, remedy = _WORDS[kind]
            found.append(
                {
                    "class": str(kind),
                    "rows": known.rows,
                    "estimated": known.looked_at is not None,
                    "looked_at": known.looked_at,
                    "text": text,
                    "remedy": remedy,
                    "examples": known.examples,
                }
            )
        return found
