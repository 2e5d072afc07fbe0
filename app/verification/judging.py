"""What one row, its move and its objects say together. Pure: asked once of what was read, and again of what is there now."""

from __future__ import annotations

from dataclasses import dataclass

from app.ledger.records import Move
from app.object_keys import Equivalence
from app.object_store import ObjectInfo
from app.row_ids import shown
from app.states import OPEN_STATES, MoveState
from app.verification.findings import FAULTS, Finding, Kind

_S = MoveState
_MOVED = frozenset({_S.DELETED, _S.KEPT, _S.IN_PLACE})
_FINAL_UNMOVED = frozenset({_S.CANCELLED, _S.ROLLED_BACK})


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """One move and what is there: the row's key (*there* tells a row that is gone from one that names nothing) and both objects."""

    move: Move
    there: bool
    key: str | None
    old: ObjectInfo | None
    new: ObjectInfo | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What the facts come to; *left*: the object at the new key is our copy, and its row does not name it."""

    findings: tuple[Finding, ...]
    left: str | None = None

    @property
    def agrees(self) -> bool:
        """Whether table and bucket are as the outcome says."""
        return all(finding.kind not in FAULTS for finding in self.findings)


def judge(facts: Facts, *, equivalence: Equivalence, live: bool) -> Verdict:
    """Whether table and bucket are as the move's outcome says. Objects that are missing are the rows' business, not the moves'."""
    move = facts.move
    if move.state in OPEN_STATES:
        kind = Kind.IN_TRANSIT if live else Kind.UNFINISHED
        return Verdict(findings=(Finding(kind=kind, row_id=move.row_id, key=move.old_key, detail=str(move.state)),))
    moved = move.state in _MOVED or (move.state is _S.PARKED and move.parked_from is _S.RENAMED)
    found = [_row(facts, equivalence, moved=moved), _copy(facts) if moved else None, _old(facts) if move.state is _S.DELETED else None]
    left = None
    if not facts.there or facts.key != move.new_key:
        ours = facts.new is not None and not move.same_object and move.is_our_copy(facts.new)
        left = f"the copy of row {shown(move.row_id)}, {move.state}" if ours else None
    return Verdict(findings=tuple(finding for finding in found if finding), left=left)


def _row(facts: Facts, equivalence: Equivalence, *, moved: bool) -> Finding | None:
    move, key = facts.move, facts.key
    if not facts.there:
        return None if move.state is _S.SUPERSEDED else _about(Kind.ROW_GONE, move, move.new_key if moved else move.old_key)
    names_new = key == move.new_key
    names_old = key is not None and equivalence.same(key, move.old_key)
    wanted = move.new_key if moved else move.old_key
    unplanned = move.state is _S.PARKED and not move.new_key  # a key that could not be planned: the ledger has it in another spelling
    if unplanned or (names_new if moved else names_old or move.state is _S.SUPERSEDED):
        return None
    wrong = (names_old and not move.same_object) if moved else (names_new and move.state in _FINAL_UNMOVED)
    return _about(Kind.WRONG_ROW if wrong else Kind.RE_POINTED, move, key, f"{move.state}: the row should name {wanted!r}")


def _copy(facts: Facts) -> Finding | None:
    """The object at the new key against the copy on record: ETag and size, unless it was written since."""
    move, new = facts.move, facts.new
    if new is None or move.copy is None or facts.key != move.new_key or move.is_our_copy(new):
        return None
    if new.last_modified >= move.copy.last_modified:  # in the same second too: our copy was looked at just before the switch
        return _about(Kind.CHANGED_SINCE, move, new.key)
    if new.size != move.copy.size:
        return _about(Kind.WRONG_SIZE, move, new.key, f"{new.size} bytes, the copy had {move.copy.size}")
    return _about(Kind.DIFFERS, move, new.key, f"ETag {new.etag}, the copy had {move.copy.etag}")


def _old(facts: Facts) -> Finding | None:
    """The old object after its delete: another one under its key is none of ours."""
    move, old = facts.move, facts.old
    if old is None or move.same_object or move.source is None or not old.is_same_version(move.source):
        return None
    return _about(Kind.NOT_DELETED, move, move.old_key)


def _about(kind: Kind, move: Move, key: str | None, detail: str | None = None) -> Finding:
    return Finding(kind=kind, row_id=move.row_id, key=key, detail=detail)
