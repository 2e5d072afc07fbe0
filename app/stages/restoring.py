"""A row that names an old object which we have deleted: it came to do so too late for any look (H23)."""

from __future__ import annotations

from app.copying import at_once, copy_through
from app.errors import ConditionFailedError, MissingObjectError
from app.ledger.records import Move, Outcome
from app.object_store import IfAbsent
from app.stages.batch import Batch
from app.stages.keeping import BatchKeeper
from app.stages.outcomes import park
from app.states import KeptReason, MoveState, ParkedReason

_LATE = "a row named the old key while its object was deleted"


def restore(batch: Batch, move: Move) -> Outcome:
    """Put *move*'s bytes back under its old key where that is safe, else report the damage."""
    seen = batch.context.store.capabilities
    # What was deleted is for sure the version that was copied, and nothing that has come there since is overwritten.
    if seen.delete_if_match and seen.puts_back_safely:
        return _put_back(batch, move)
    # An unconditional delete may have taken a new upload: nobody guesses whose bytes are meant.
    damage = f"damage: a row named {move.old_key!r} while it was deleted; the copy is at {move.new_key!r}"
    return park(move, ParkedReason.CONFLICT, damage)


def _put_back(batch: Batch, move: Move) -> Outcome:
    context = batch.context
    try:
        at_once(
            copy_through(
                context.store,
                move.new_key,
                move.old_key,
                condition=IfAbsent(),
                deadline=batch.lease,
                max_bytes=context.settings.inline_bytes,
                budget=context.budget,
                keeper=BatchKeeper(batch, move),
                policy=context.settings.fidelity_policy.lenient(),  # bytes that a row names are worth more than what goes with them
            )
        )
    except (ConditionFailedError, MissingObjectError) as error:
        return park(move, ParkedReason.CONFLICT, f"{_LATE}: {error}")
    return Outcome(move=move._replace(state=MoveState.KEPT, reason=KeptReason.NAMED, detail=f"{_LATE}: put back"))
