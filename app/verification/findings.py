"""What a verification can find: faults, which make the exit status 3, and notes, which do not."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any


class Kind(StrEnum):
    """What is said of a row, an object or a move."""

    MISSING = "missing"
    OTHER_CLIENT = "other_client"
    STRAY_OLD = "stray_old"
    STRAY_NEW = "stray_new"
    MISPLACED = "misplaced"
    DIFFERS = "differs"
    WRONG_SIZE = "wrong_size"
    WRONG_HEADERS = "wrong_headers"
    NOT_DELETED = "not_deleted"
    WRONG_ROW = "wrong_row"
    UNFINISHED = "unfinished"
    UNEXAMINED = "unexamined"
    REFUSED = "refused"
    IN_TRANSIT = "in_transit"
    LEFT_OVER = "left_over"
    YOUNG = "young"
    CHANGED_SINCE = "changed_since"
    ROW_GONE = "row_gone"
    RE_POINTED = "re_pointed"


FAULTS: dict[Kind, str] = {
    Kind.MISSING: "rows whose object is not there",
    Kind.OTHER_CLIENT: "rows that name a key of another client's form",
    Kind.STRAY_OLD: "objects that no row names, under a key of the old scheme",
    Kind.STRAY_NEW: "objects that no row names, under a key of the new scheme",
    Kind.MISPLACED: "objects in the one of two buckets that their key does not mean, so that no row leads to them",
    Kind.DIFFERS: "objects that are neither the copy on record nor written since",
    Kind.WRONG_SIZE: "objects of another size than the copy on record, and not written since",
    Kind.WRONG_HEADERS: "objects without a content type, or copies whose headers or tags are not those of their source",
    Kind.NOT_DELETED: "old objects that the ledger says were deleted",
    Kind.WRONG_ROW: "rows that name another key than their outcome in the ledger says",
    Kind.UNFINISHED: "moves without an outcome, of a run that is over",
    Kind.UNEXAMINED: "rows that the run has not examined, and that would have to be moved",
    Kind.REFUSED: "objects that the store did not let us look at",
}
NOTES: dict[Kind, str] = {
    Kind.IN_TRANSIT: "moves of a live run that are under way, and their objects",
    Kind.LEFT_OVER: "objects that no row names, and that the ledger lists as left behind",
    Kind.YOUNG: "objects that no row names yet, younger than REKEY_SETTLE_SECONDS",
    Kind.CHANGED_SINCE: "objects that the service has written since they were moved",
    Kind.ROW_GONE: "assets whose row is gone since",
    Kind.RE_POINTED: "rows that name another key since",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that was found."""

    kind: Kind
    row_id: str | None = None
    key: str | None = None
    detail: str | None = None

    def as_object(self) -> dict[str, Any]:
        """The finding for JSON, without what is not known."""
        return {name: value for name, value in asdict(self).items() if value is not None}
