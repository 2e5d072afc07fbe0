"""What becomes of a move whose object is not there (A3, H14, case 16)."""

from __future__ import annotations

from app.copying import Copied
from app.database import transaction
from app.errors import MissingObjectError
from app.ledger.records import Move, Outcome
from app.stages import going_back
from app.stages.batch import Batch
from app.stages.cleaning import park_before_switch
from app.stages.context import Context
from app.stages.outcomes import again, copied_outcome, failed, nothing_written
from app.stages.replanning import replan
from app.stages.writing import is_there
from app.states import MoveState, ParkedReason, RunKind

MISSED_LOOKS = 3  # a present object may answer 404 while drives are out (case 16): it is missing only after checks spread in time


def lacking(batch: Batch, move: Move, error: MissingObjectError) -> Outcome:
    """An object that was needed is not there: the source, or what was just written and went away before it could be proved."""
    if error.object_key == move.old_key:
        return missed(batch, move, error)
    if not is_there(batch.context, move.new_key):
        move = move._replace(copy=None, copy_recorded=False)
    return again(move, settings=batch.context.settings, detail=str(error), to=MoveState.PLANNED)


def missed(batch: Batch, move: Move, error: MissingObjectError) -> Outcome:
    """The source is not there: healed from an earlier run's record, looked for again, or parked.

    A row may be written up to SETTLE_SECONDS before its object (A3), and a present object may answer 404 for a moment (case 16).
    """
    context = batch.context
    row = context.row_of(move)
    if row is None or row.key != move.old_key:
        return replan(batch, move, row)
    healed = _healed(context, move)
    if healed:
        return healed
    now = context.store.store_time()
    since = move.missed_store_time if move.missed_store_time is not None and move.looks else now  # else it was the copy that was missed
    if move.looks + 1 >= MISSED_LOOKS and now - since >= context.settings.settle_seconds:
        held = going_back.still_held(context.store, move) if batch.run.kind is RunKind.ROLLBACK else None
        if held is not None:
            return copied_outcome(move, Copied(source=None, copy=held), recorded=False)
        if is_there(context, move.old_key):
            detail = f"the store answers HEAD of {move.old_key!r} and gives no such object: a folder of that name, perhaps"
            return failed(move, detail, settings=context.settings)
        return park_before_switch(batch, move, ParkedReason.MISSING_SOURCE, f"no object {error.object_key!r}")
    looks = move.looks + 1
    wait = min(2.0 ** min(looks - 1, 6), max(1.0, context.settings.settle_seconds / MISSED_LOOKS))
    looked = nothing_written(move)._replace(missed_store_time=since, looks=looks, detail=f"no object {error.object_key!r}")
    return Outcome(move=looked, due_in=wait)


def _healed(context: Context, move: Move) -> Outcome | None:
    """An earlier run moved this row's object and the row was set back since (H14): the bytes are at the new key, so name that."""
    with transaction(context.moves.engine, read_only=True) as connection:
        earlier = context.moves.earlier(connection, move)
    for past in earlier:
        if past.copy is None or past.new_hash != move.new_hash or past.state not in {MoveState.RENAMED, MoveState.DELETED, MoveState.KEPT}:
            continue
        try:
            there = context.store.stat(move.new_key)
        except MissingObjectError:
            return None
        if (there.etag, there.size) == (past.copy.etag, past.copy.size):
            return copied_outcome(
                move, Copied(source=None, copy=there), recorded=False
            )  # the rename stage sees by it that there is no source
    return None
