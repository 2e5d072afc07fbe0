"""Removing our own copy of a move that will not be switched: under the rules of every delete (S4), and only if its write was answered."""

from __future__ import annotations

from app.errors import MissingObjectError, ObjectError, TransientError
from app.journal import may_have
from app.ledger.records import Move, Outcome
from app.looks import MAX_AGE_SECONDS
from app.object_store import ObjectInfo
from app.stages.batch import Batch
from app.stages.naming import who_claims
from app.stages.outcomes import is_perhaps_done, park
from app.states import ParkedReason


def park_before_switch(batch: Batch, move: Move, reason: ParkedReason, detail: str) -> Outcome:
    """Park a move that was not switched; our copy is removed, or listed where it has to stay (H17)."""
    return park(move, reason, "; ".join(filter(None, (detail, remove_copy(batch, move)))))


def remove_copy(batch: Batch, move: Move) -> str | None:
    """Delete the object at *move*'s new key if it is this move's very copy, recorded, and named by no row and no other move.

    Returns:
        None when nothing of ours is left there, else the words for the report.
    """
    if move.same_object:
        return None
    if move.copy is None:
        return _unrecorded(batch, move)
    # Inferred or adopted, it may be somebody else's (H12); once named by the row (H14), whoever read that may still come for it (S1).
    may_go = move.copy_recorded and move.switched_at is None
    left = f"our copy was left at {move.new_key!r}"
    if not may_go:
        return left
    try:
        return _remove(batch, move, left)
    except MissingObjectError:
        return None
    except ObjectError:
        return left


def _unrecorded(batch: Batch, move: Move) -> str | None:
    """Whether a worker may have died between a copy and its record (H12): without the source nothing proves whose the object is."""
    if move.claims <= 1:
        return None
    try:
        _look(batch, move.new_key)
    except MissingObjectError:
        return None
    except ObjectError:
        pass  # it cannot be looked at
    return f"perhaps our copy was left at {move.new_key!r}: a worker died there before it could record what it had done"


def _remove(batch: Batch, move: Move, left: str) -> str | None:
    context = batch.context
    if _is_last(batch, move):
        return left
    claims = who_claims(context, [move], [move.new_key], of_new=True)
    found = _look(batch, move.new_key)
    stale = context.clock.boot() - claims.asked_at > MAX_AGE_SECONDS
    if stale or claims.rows_naming(move.new_key) or claims.blocker(move) is not None or not move.is_our_copy(found):
        return left
    if claims.wanted_too(move):  # another move of a rollback may have found it put back
        return left
    try:
        answer = context.store.delete([found], deadline=batch.lease)[move.new_key]
    except ObjectError as error:  # the request as a whole
        answer = error
    if not is_perhaps_done(answer):
        return left
    return _asked_again(batch, move) if answer is None else _seen_again(batch, move, left)


def _seen_again(batch: Batch, move: Move, left: str) -> str | None:
    """What there is to say where the store answered the removal by an error of its own: it may have carried it out all the same."""
    try:
        if move.is_our_copy(_look(batch, move.new_key)):
            return left
    except MissingObjectError:
        pass
    except (ObjectError, TransientError):  # nobody asks a second time
        said = _asked_again(batch, move) or f"{left}: the store answered its removal by an error of its own"
        return f"perhaps {said}"
    return _asked_again(batch, move)


def _asked_again(batch: Batch, move: Move) -> str | None:
    """What there is to say of a row that came to name the copy while that was removed (H23)."""
    context = batch.context
    if not who_claims(context, [move], [move.new_key]).rows_naming(move.new_key):
        return None
    if context.store.capabilities.delete_if_match and _is_there(batch, move.new_key):
        return None  # what was deleted is for sure our copy: the row has an object of its own
    return f"damage: a row named {move.new_key!r} while our copy there was removed"


def _look(batch: Batch, key: str) -> ObjectInfo:
    """What is at *key*. A present object may answer 404 for a moment (case 16): a copy taken for gone would stay, and be on no list."""
    try:
        return batch.context.store.stat(key)
    except MissingObjectError:
        return batch.context.store.stat(key)


def _is_there(batch: Batch, key: str) -> bool:
    """Whether an object is at *key* for sure. Nobody asks a second time, so that no answer is a no."""
    try:
        _look(batch, key)
    except (ObjectError, TransientError):
        return False
    return True


def _is_last(batch: Batch, move: Move) -> bool:
    """Whether our copy may be all that is left, or will be: a ledger restored from a back-up has forgotten what this run deleted (H15).

    Where the original is still there, its delete may be under way: it was noted before it was sent, of this copy or a later one.
    """
    context = batch.context
    if not context.settings.journal:
        return False
    since = move.copy.last_modified if move.copy else None
    try:
        context.store.stat(move.old_key)
    except MissingObjectError:
        since = None
    run = batch.run
    return may_have(context.store, run=run.id, marked_by=run.journal_mark, row_id=move.row_id, old_key=move.old_key, since=since)
