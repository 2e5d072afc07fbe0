"""What the last look at both objects says of a move that is about to be switched (S1, S5)."""

from __future__ import annotations

from app.errors import MissingObjectError
from app.ledger.records import Move, Outcome
from app.looks import Looks
from app.object_store import ObjectInfo
from app.stages.batch import Batch
from app.stages.cleaning import park_before_switch
from app.stages.context import GONE_SECONDS
from app.stages.missing_sources import missed
from app.stages.outcomes import again, changed_too_often, park
from app.stages.writing import perhaps_not_ours
from app.states import MoveState, ParkedReason


def before_switch(batch: Batch, move: Move, looks: Looks) -> Move | Outcome:
    """Whether source and copy are still what they were; the move with its copy's exact time, or what else becomes of it."""
    for key in (move.old_key, move.new_key):
        if key in looks.failed:
            return batch.refused(move, looks.failed[key])
    source, copy = looks.found[move.old_key], _found(batch, move, looks)
    if copy is None:
        return _lost_copy(batch, move)
    if not move.same_object:  # else there is no copy: whatever the application writes there is the asset
        if not move.is_our_copy(copy):
            return park(move, ParkedReason.TARGET_EXISTS, "another object took the place of our copy")
        if not is_as_copied(move, source) and not _is_switched(batch, move):
            if source is None:  # taken down: a switch would publish it again (H24)
                return missed(batch, move, MissingObjectError(move.old_key))
            return _copy_again(batch, move, "the source changed before the switch")
    return perhaps_not_ours(batch, move) or move._replace(copy=copy)  # a row switched to another asset's object would share its fate


def is_as_copied(move: Move, source: ObjectInfo | None) -> bool:
    """Whether what is at the old key is what was copied, or nothing was to be copied from there and nothing is."""
    if source is None or move.source is None:
        return source is move.source
    return source.is_same_version(move.source)


def _is_switched(batch: Batch, move: Move) -> bool:
    """Whether the row names the new key already: whoever switched it may have removed the old object, or used its key again, as well."""
    row = batch.context.row_of(move)
    return row is not None and row.key == move.new_key


def _found(batch: Batch, move: Move, looks: Looks) -> ObjectInfo | None:
    """What is at the new key; asked for once more where that is not our copy, so that one wrong answer decides nothing (case 10)."""
    seen = looks.found[move.new_key]
    if seen is not None and (move.same_object or move.is_our_copy(seen)):
        return seen
    try:
        return batch.context.store.stat(move.new_key)
    except MissingObjectError:
        return None


def _lost_copy(batch: Batch, move: Move) -> Outcome:
    """The copy is gone, by a lifecycle rule or a janitor (H22), if looks some time apart miss it: copied again, with nothing to go over.

    One that is there after all would be a stranger to a move that has forgotten it (case 16).
    """
    now = batch.context.store.store_time()
    since = (
        move.missed_store_time if move.missed_store_time is not None and not move.looks else now
    )  # else it was the source that was missed
    if now - since < GONE_SECONDS:
        missing = move._replace(missed_store_time=since, looks=0, detail=f"no object {move.new_key!r}")
        return Outcome(move=missing, due_in=GONE_SECONDS / 2)
    gone = move._replace(copy=None, copy_recorded=False, missed_store_time=None)
    return _copy_again(batch, gone, "the copy was gone before the switch")


def _copy_again(batch: Batch, move: Move, detail: str) -> Outcome:
    if changed_too_often(move, batch.context.settings):
        return park_before_switch(batch, move, ParkedReason.CHANGED_TOO_OFTEN, detail)
    return again(move, settings=batch.context.settings, detail=detail, to=MoveState.PLANNED)
