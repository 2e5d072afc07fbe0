"""What is at a new key already: ours by evidence, equal and nobody's, or a stranger's (H12, S3)."""

from __future__ import annotations

from contextlib import suppress

from app.attributes import missing
from app.copying import Copied
from app.errors import MissingObjectError
from app.folding import are_two
from app.ledger.records import Move, Outcome
from app.looks import Looks
from app.object_store import ReadObject
from app.stages import going_back
from app.stages.batch import Batch
from app.stages.context import Context
from app.stages.outcomes import again, copied_outcome, park
from app.stages.proving import prove
from app.stages.replanning import replan
from app.stages.writing import is_there
from app.states import MoveState, ParkedReason

REFUSED_FOR_NOTHING = 2  # so often a write may be refused as if an object were there, and none is: it was there a moment ago, perhaps


def occupied(batch: Batch, move: Move, sources: Looks | None) -> Outcome:
    """An object is at the new key. It is ours only by evidence (H12); an equal one that nobody names may be adopted (S3)."""
    context = batch.context
    row = context.row_of(move)
    if row is None or row.key != move.old_key:
        return replan(batch, move, row)
    if not is_there(context, move.new_key):
        return _refused_for_nothing(context, move, sources)
    equal = context.read_if_equal(move)
    adopted = _adopted(batch, move, *equal) if equal is not None else None
    return adopted or park(move, ParkedReason.TARGET_EXISTS, "another object is at the new key")


def whole_already(batch: Batch, move: Move) -> Outcome | None:
    """Our copy would lack something that must be kept; one that lacks nothing may be there, made by somebody with more rights."""
    with suppress(MissingObjectError):
        equal = batch.context.read_if_equal(move) if is_there(batch.context, move.new_key) else None
        adopted = _adopted(batch, move, *equal) if equal is not None else None
        return adopted if adopted is not None and adopted.move.state is MoveState.COPIED else None
    return None


def _adopted(batch: Batch, move: Move, old: ReadObject, new: ReadObject) -> Outcome | None:
    """The equal object at the new key as *move*'s copy, if it is one by its history; None: a stranger's."""
    context, source, there = batch.context, old.info, new.info
    if not are_two(context.store, source, there):
        return park(move, ParkedReason.TARGET_EXISTS, "what is at the new key may be the old object itself, under another spelling")
    copied = Copied(source=source, copy=there, lost=missing(old, new))
    by_earlier_claim = move.claims > 1 and move.claimed_store_time is not None and there.last_modified >= move.claimed_store_time
    if by_earlier_claim or context.store.store_time() - there.last_modified > context.settings.settle_seconds:
        prove(batch, move, copied)
        return copied_outcome(move, copied, recorded=False)
    shared = going_back.put_back_already(batch, move, there)
    if isinstance(shared, Outcome):
        return shared
    return copied_outcome(move, copied, recorded=False) if shared else None


def _refused_for_nothing(context: Context, move: Move, sources: Looks | None) -> Outcome:
    """Our former copy went away, or it was the source that changed meanwhile; or the store has something there that is no object."""
    if move.copy is None and move.changes >= REFUSED_FOR_NOTHING and _is_as_it_was(context, move, sources):
        detail = "the store refuses the new key as taken and shows no object there: a folder of that name, perhaps"
        return park(move, ParkedReason.TARGET_EXISTS, detail)
    detail = "source or copy changed while it was copied"
    return again(move, settings=context.settings, detail=detail, to=MoveState.PLANNED, copy=None, copy_recorded=False)


def _is_as_it_was(context: Context, move: Move, sources: Looks | None) -> bool:
    """Whether the source is what was looked at for the copy, so that it was not what the store's refusal was about."""
    if sources is None:  # the worker read it itself, and the store was asked about the new key alone
        return True
    seen = sources.found.get(move.old_key)
    return seen is not None and context.store.stat(move.old_key).is_same_version(seen)
