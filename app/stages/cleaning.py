"""Removing our own copy of a move that will not be switched: under the rules of every delete (S4), and only if its write was answered."""

from __future__ import annotations

from app.errors import MissingObjectError, ObjectError
from app.ledger.records import Move
from app.stages.context import LOOK_AGE_SECONDS, Batch
from app.stages.naming import who_claims


def remove_copy(batch: Batch, move: Move) -> str | None:
    """Delete the object at *move*'s new key if it is this move's very copy, recorded, and named by no row and no other move.

    Returns:
        None when nothing of ours is left there, else the words for the report.
    """
    context = batch.context
    if move.copy is None or move.same_object:
        return None
    left = f"our copy was left at {move.new_key!r}"
    if not move.copy_recorded:
        return left  # inferred or adopted: it may be somebody else's (H12)
    claims = who_claims(context, [move], [move.new_key])
    named = claims.rows_naming(move.new_key) or claims.blocker(move) is not None
    try:
        found = context.store.stat(move.new_key)
        stale = context.clock.boot() - claims.asked_at > LOOK_AGE_SECONDS
        if named or stale or not move.is_our_copy(found):
            return left
        return left if context.store.delete([found], deadline=batch.lease)[move.new_key] else None
    except MissingObjectError:
        return None
    except ObjectError:
        return left
