"""What becomes of one switched move at a look: deletable, looked after for longer, healed, kept or in conflict (S1, S2, S4)."""

from __future__ import annotations

from collections.abc import Sequence

from app.assets import AssetRow
from app.database import MICROSECONDS
from app.errors import FidelityError
from app.ledger.moves import Other
from app.ledger.records import Move, Outcome
from app.object_store import IfAbsent, ObjectInfo
from app.stages.batch import Batch
from app.stages.context import GONE_SECONDS
from app.stages.late_writes import late_write, until_next_look, write_over
from app.stages.outcomes import again, park
from app.stages.restoring import restore
from app.stages.views import Seen, View
from app.states import KeptReason, MoveState, ParkedReason, RunState

CANCELLED = "the run was cancelled after the switch: `rekey release` lets the old object go"
SHARED_WAIT_SECONDS = 2.0  # for another asset on the same old object to be switched; doubling
LONGEST_SHARED_WAIT = 60.0
COPY_MISSED = "the copy was missed, and cannot be written again with all that the object has: looked for again"
BOTH_MISSED = "neither the old nor the new object is there: looked for again"


def look_after(batch: Batch, view: View, move: Move, *, strangers: Sequence[Other]) -> Outcome | ObjectInfo:
    """Decide one move; an ObjectInfo is the old object, to be deleted now.

    *strangers* are other live moves on the same old object that are not decided together with this one.
    """
    if move.same_object:
        return kept(move, KeptReason.NAMED, "both keys are one object")
    for key in (move.old_key, move.new_key):
        if key in view.looks.failed:
            raise view.looks.failed[key]
    if move.switched_at is None or move.grace_from is None:  # the worker died between the commit and the stamp: the grace begins now (H16)
        due_in = until_next_look(batch, move, float(move.grace_seconds))
        return Outcome(move=move, stamp=frozenset({"switched_at", "grace_from"}), due_in=due_in)
    old = view.looks.found[move.old_key]
    if old is not None and move.missed_store_time is not None:
        move = move._replace(missed_store_time=None, detail=None if move.detail == BOTH_MISSED else move.detail)
    if move.detail == COPY_MISSED and view.looks.found[move.new_key] is not None:
        move = move._replace(detail=None)
    seen = Seen(move=move, row=view.rows.get(move.row_id), old=old, new=view.looks.found[move.new_key], strangers=strangers)
    if old is None:
        return _old_is_gone(batch, view, seen)
    return (
        _named(batch, view, seen)
        or _changed(batch, view, seen, old)
        or _cancelled(batch, view, move)
        or _left(batch, move)
        or _grace(batch, view, move)
        or _deletable(view, seen, old)
    )


def _named(batch: Batch, view: View, seen: Seen) -> Outcome | None:
    """The old object is somebody's: this row's again, another move's, another row's."""
    move = seen.move
    if seen.row is not None and seen.old is not None and batch.context.rules.equivalence.same(str(seen.row.key), move.old_key):
        return _saved_back(batch, move, seen.old)
    if view.claims.owner(move) is not None:
        return kept(move, KeptReason.NAMED, "the object at the old key is the copy of another asset")
    named = bool(view.claims.named_by_others(move, move.old_key))
    if _is_cancelled(view):
        return kept(move, KeptReason.NAMED, "a row still names the old object") if named else None
    if view.claims.is_crowded(move):
        return _crowded(view, move._replace(sighted=move.sighted or named))
    if seen.strangers:
        return _shared(batch, move._replace(sighted=move.sighted or named), seen.strangers)
    return _sighted(view, move) if named else None


def _is_cancelled(view: View) -> bool:
    return view.run.state is RunState.CANCELLED


def _cancelled(batch: Batch, view: View, move: Move) -> Outcome | None:
    """The run was cancelled: the old object stays. Not before a look that sees each write which overlapped the switch (S1)."""
    if not _is_cancelled(view):
        return None
    until_look = batch.context.settings.look_seconds - (view.now - (move.switched_at or view.now)) / MICROSECONDS
    return Outcome(move=move, due_in=until_look) if until_look > 0 else kept(move, KeptReason.CANCELLED, CANCELLED)


def _changed(batch: Batch, view: View, seen: Seen, old: ObjectInfo) -> Outcome | None:
    """The old object is not what was copied, or the copy is gone while the old object is there."""
    move = seen.move
    if move.source is None or not old.is_same_version(move.source):
        return late_write(batch, view, seen, old)
    if seen.new is None and seen.row is not None and seen.row.key == move.new_key:
        return _written_again(batch, move, old)
    return None


def _written_again(batch: Batch, move: Move, old: ObjectInfo) -> Outcome:
    """The copy is gone (H22); or it answered 404 for a moment (case 16): what parts cannot keep is parked at a second look only."""
    try:
        return write_over(batch, move, old, IfAbsent(), "the copy was gone: written again")
    except FidelityError:
        if move.detail == COPY_MISSED:
            raise
        return Outcome(move=move._replace(detail=COPY_MISSED), due_in=GONE_SECONDS)


def _old_is_gone(batch: Batch, view: View, seen: Seen) -> Outcome:
    move, row, new = seen.move, seen.row, seen.new
    named = new is None and row is not None and row.key in {move.new_key, move.old_key}
    since = move.missed_store_time if move.missed_store_time is not None else view.store_time
    if named and move.detail != BOTH_MISSED:  # the copy is missed only now, and may be there as well (case 16)
        move, since = move._replace(detail=BOTH_MISSED), view.store_time
    elif not named and move.detail == BOTH_MISSED:
        move = move._replace(detail=None)
    if view.store_time - since < GONE_SECONDS:  # also where we meant to delete it: that request may have come to nothing
        return Outcome(move=move._replace(missed_store_time=since), due_in=GONE_SECONDS / 2)
    if named:
        return park(move, ParkedReason.CONFLICT, "damage: neither the old nor the new object is there")
    if row is not None and row.key == move.old_key:  # saved back over the switch, and the old object is gone: switch once more (H14)
        return again(
            move, settings=batch.context.settings, detail="the old key was saved over the switch", to=MoveState.COPIED, source=None
        )
    if move.intent_at and view.claims.named_by_others(move, move.old_key):
        return restore(batch, move)
    vanished = None if move.intent_at else "vanished: the old object was gone before we deleted it"
    detail = "; ".join(filter(None, (vanished, left_over(move, row) if new else None)))
    return Outcome(move=move._replace(state=MoveState.DELETED, detail=detail or None))


def left_over(move: Move, row: AssetRow | None) -> str | None:
    """What the report says of our copy where the row names it no more (H24)."""
    if row is not None and row.key == move.new_key:
        return None
    return f"the row {'is gone' if row is None else 'names another key'}: our copy was left at {move.new_key!r}"


def _saved_back(batch: Batch, move: Move, old: ObjectInfo) -> Outcome:
    """The application saved the row it had loaded before the switch (H14)."""
    unchanged = move.source is not None and old.is_same_version(move.source)
    to = MoveState.COPIED if unchanged else MoveState.PLANNED
    return again(move, settings=batch.context.settings, detail="the old key was saved over the switch", to=to, looks=0)


def kept(move: Move, reason: KeptReason, why: str) -> Outcome:
    """The asset is moved, and its old object stays."""
    return Outcome(move=move._replace(state=MoveState.KEPT, reason=reason, detail=why))


def _sighted(view: View, move: Move) -> Outcome:
    """A row names the old object: its grace begins anew at each sighting, and at its end the object stays (H29)."""
    if _grace_left(view, move) <= 0:
        return kept(move, KeptReason.NAMED, "a row still names the old object")
    sighted = move._replace(looks=move.looks + 1, sighted=True)
    return Outcome(move=sighted, stamp=frozenset({"grace_from"}), due_in=float(move.grace_seconds))


def _left(batch: Batch, move: Move) -> Outcome | None:
    """The row that named the old object at the last look does so no more: its readers get a whole grace, from now on (S1, H29)."""
    if not move.sighted:
        return None
    alone = move._replace(sighted=False, looks=0)
    return Outcome(move=alone, stamp=frozenset({"grace_from"}), due_in=until_next_look(batch, alone, float(move.grace_seconds)))


def _shared(batch: Batch, move: Move, strangers: Sequence[Other]) -> Outcome:
    """Another live move is on the same old object: the last of them deletes it (H29)."""
    if all(other.state is MoveState.PARKED for other in strangers):
        return kept(move, KeptReason.NAMED, "an asset that was parked shares the old object")
    if all(other.run_no != batch.run.no for other in strangers):
        return kept(move, KeptReason.NAMED, "a run on another table moves the same object")
    return Outcome(
        move=move._replace(looks=move.looks + 1), due_in=min(SHARED_WAIT_SECONDS * 2.0 ** min(move.looks, 10), LONGEST_SHARED_WAIT)
    )


def _crowded(view: View, move: Move) -> Outcome:
    """Very many assets share the old object: each ends when its own grace is over, and the last of them delete it together."""
    left = _grace_left(view, move)
    if left > 0:
        return Outcome(move=move._replace(looks=move.looks + 1), due_in=left)
    return kept(move, KeptReason.NAMED, "many assets share the old object: the last of them to be moved delete it")


def _grace_left(view: View, move: Move) -> float:
    """Seconds until O may go: a grace by the database's clock since switch or last sighting, by the store's since switch or copy (H16)."""
    by_database = move.grace_seconds - (view.now - (move.grace_from or 0)) / MICROSECONDS
    by_store = by_database
    if move.grace_seconds and move.copy:
        by_store = move.grace_seconds - (view.store_time - max(move.copy.last_modified, move.switch_store_time or 0))
    held = (view.run.deletes_held_until - view.now) / MICROSECONDS
    return max(by_database, float(by_store), held)


def _grace(batch: Batch, view: View, move: Move) -> Outcome | None:
    left = _grace_left(view, move)
    if left <= 0:
        return None
    return Outcome(move=move._replace(looks=move.looks + 1), due_in=until_next_look(batch, move, left))


def _deletable(view: View, seen: Seen, old: ObjectInfo) -> Outcome | ObjectInfo:
    """The last questions before O goes: is what the row needs at N for sure (S4, H5, H11)?"""
    move, row, new = seen.move, seen.row, seen.new
    if new is not None and move.is_our_copy(new):
        return old
    if row is None or row.key != move.new_key:
        if not view.claims.named_by_others(move, move.new_key):
            # Nobody lacks the bytes, but no copy proves that the old object may go (S4); it is listed, and holds up nothing.
            gone = "removed" if new is None else "overwritten"
            what = "removed" if row is None else "re-pointed"
            return kept(move, KeptReason.UNPROVED, f"after the switch the row was {what}, and our copy {gone}")
        return park(move, ParkedReason.CONFLICT, "our copy is not at the new key any more, and another row names that")
    if new is None or view.claims.named_by_others(move, move.new_key):
        return park(move, ParkedReason.CONFLICT, "the object at the new key is not our copy, and another row names it")
    return old
