"""What the last look at both objects says of a move that is about to be switched (S1, S5)."""

from __future__ import annotations

from dataclasses import replace

from app.errors import MissingObjectError
from app.ledger.records import Move, Outcome
from app.looks import Looks
from app.stages.cleaning import park_before_switch
from app.stages.context import Batch, again, changed_too_often, park, refused
from app.stages.copy_objects import missed
from app.states import MoveState, ParkedReason


def before_switch(batch: Batch, move: Move, looks: Looks) -> Move | Outcome:
    """Whether source and copy are still what they were; the move with its copy's exact time, or what else becomes of it."""
    context = batch.context
    for key in (move.old_key, move.new_key):
        if key in looks.failed:
            return refused(move, looks.failed[key], settings=context.settings)
    source, copy = looks.found[move.old_key], looks.found[move.new_key]
    if copy is None:  # a lifecycle rule or a janitor took it (H22)
        gone = replace(move, copy=None, copy_recorded=False)
        return _copy_again(batch, gone, "the copy was gone before the switch")
    if not move.same_object:  # else there is no copy: whatever the application writes there is the asset
        if not move.is_our_copy(copy):
            return park(move, ParkedReason.TARGET_EXISTS, "another object took the place of our copy")
        if source is None and move.source is not None:  # taken down: a switch would publish it again (H24)
            return missed(batch, move, MissingObjectError(move.old_key))
        if source is not None and (move.source is None or not source.is_same_version(move.source)):
            return _copy_again(batch, move, "the source changed before the switch")
    return replace(move, copy=copy)


def _copy_again(batch: Batch, move: Move, detail: str) -> Outcome:
    if changed_too_often(move, batch.context.settings):
        return park_before_switch(batch, move, ParkedReason.CHANGED_TOO_OFTEN, detail)
    return again(move, settings=batch.context.settings, detail=detail, to=MoveState.PLANNED)
