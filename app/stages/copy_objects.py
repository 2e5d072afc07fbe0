"""The copy stage: give each object a proved copy at its new key, overwriting nothing foreign (S3).

Needs: a planned move. Promises: ``copied``, with the versions read and written on record. Undone by: removing the copy.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace

from app.assets import AssetRow
from app.attributes import missing
from app.copying import Copied
from app.database import transaction
from app.errors import ConditionFailedError, FidelityError, MissingObjectError
from app.fidelity import needs_head
from app.folding import are_two
from app.ledger.records import Move, Outcome
from app.looks import Looks
from app.object_store import ReadObject
from app.spacing import is_spaced
from app.stages import going_back
from app.stages.ahead import ahead, look_at, read_ahead
from app.stages.batch import Batch
from app.stages.cleaning import park_before_switch
from app.stages.context import Context
from app.stages.naming import Claims, who_claims
from app.stages.outcomes import again, failed, nothing_written, park
from app.stages.proving import disproved, prove
from app.stages.replanning import replan, with_own_key
from app.stages.together import Steps, Together
from app.stages.writing import is_there, is_vouched_for, looks_first, perhaps_not_ours, write
from app.states import MoveState, ParkedReason, RunKind

LOOKED_AT = 50  # moves whose objects are looked at for one chunk of copies
WAIT_SECONDS = 2.0  # for the old object of another move to go; doubling, to LONGEST_WAIT_SECONDS
LONGEST_WAIT_SECONDS = 15.0
REFUSED_FOR_NOTHING = 2  # so often a write may be refused as if an object were there, and none is: it was there a moment ago, perhaps
LARGE_TOGETHER = 4 * 1024**2  # bytes of objects that are under way together: a store may lock an object whose reader lets it wait
MISSED_LOOKS = 3  # a present object may answer 404 while drives are out (case 16): it is missing only after checks spread in time


@dataclass(frozen=True, slots=True)
class CopyObjects:
    """Copies a batch of planned moves."""

    chunk: int = 200  # so many requests, some of them at the same time, rarely outlast the task

    def act(self, batch: Batch) -> None:
        """Copy the next chunk; where the store copies by itself, no more than is copied while the looks before it are new enough."""
        moves = batch.left[: LOOKED_AT if _looks_before(batch) else self.chunk]
        context = batch.context
        claims = who_claims(context, moves, [move.new_key for move in moves], of_old=False)
        if any(move.claims > 1 for move in moves):
            batch.completing = context.uploads.completing(batch.run)
        sources = _looks(batch, moves)
        try:
            with Together(batch) as together:
                _copy(batch, moves, together, claims=claims, sources=sources)
        finally:
            context.store.read_ahead(())
        if sources is not None:
            sources.complain()


def _copy(batch: Batch, moves: Sequence[Move], together: Together, *, claims: Claims, sources: Looks | None) -> None:
    """Copy *moves*, some of them at the same time, the next ones' objects being read while those are written."""
    left = list(moves)
    while left:
        batch.shrink(max(1, LARGE_TOGETHER // max(1, together.largest)))
        size = 1 if is_spaced() else batch.requests
        if sources is None and size > 1:
            size = max(1, read_ahead(batch.context, left[:size]))
        now, left = left[:size], left[size:]
        for move in now:
            if not batch.holds(move):
                continue  # given back, since another one takes long
            if batch.time_is_up or (sources is not None and not sources.fresh(move.old_key)):
                return  # the runner gives the rest back, or comes again with new looks
            batch.flush_sometimes()
            together.begin(move, copy_one(batch, move, claims=claims, sources=sources))
        with ahead(batch, left[:size] if sources is None else ()):
            together.finish()


def _looks_before(batch: Batch) -> bool:
    return batch.run.kind is RunKind.ROLLBACK or looks_first(batch.context)


def _looks(batch: Batch, moves: Sequence[Move]) -> Looks | None:
    """What has to be known of the objects before the copy: of a rollback, or on the operator's word, what is at both keys."""
    context = batch.context
    if not _looks_before(batch):
        return None
    by_store = looks_first(context)
    both = batch.run.kind is RunKind.ROLLBACK or is_vouched_for(context)
    keys = [key for move in moves for key in ((move.old_key, move.new_key) if both and move.new_key else (move.old_key,))]
    heads_first = by_store and needs_head(context.store.capabilities.fidelity, context.settings.fidelity_policy)
    attributes = [move.old_key for move in moves] if heads_first else ()
    stage = batch.result.stage
    return look_at(context, stage, keys, attributes=attributes, own=batch.requests)


def copy_one(batch: Batch, move: Move, *, claims: Claims, sources: Looks | None) -> Steps:
    """Copy one object, or say why not; yields while its write is under way."""
    if move.waiting:
        move = move._replace(waiting=False)  # unless it still has to
    try:
        return (yield from _attempt(batch, move, claims, sources))
    except ConditionFailedError:
        try:
            return _occupied(batch, move, sources)
        except MissingObjectError as error:
            return _lacking(batch, move, error)
    except MissingObjectError as error:
        return _lacking(batch, move, error)
    except FidelityError:
        there = _whole_already(batch, move)
        if there is None:
            raise
        return there


def _attempt(batch: Batch, move: Move, claims: Claims, sources: Looks | None) -> Steps:
    context = batch.context
    if not move.new_key:  # it was parked for a name that gave no key, and sent on again
        return replan(batch, move, _row_of(context, move))
    if move.same_object:
        return _same_object(context, move)
    not_now = _not_now(batch, move, claims) or perhaps_not_ours(batch, move)
    if not_now:
        return not_now
    if batch.run.kind is RunKind.ROLLBACK and sources is not None:
        untouched = going_back.as_it_was(move, sources)
        if untouched:
            return _copied(move, Copied(source=untouched[0], copy=untouched[1]), recorded=False)
        move = going_back.with_what_is_there(batch, move, sources)
        sources = sources if looks_first(context) else None
    if (move.run_no, move.id) in batch.completing and _may_be_completed(context, move):
        raise ConditionFailedError(move.new_key, "an earlier claim has completed a copy and could not record it")
    copied = yield from write(batch, move, sources)
    return disproved(batch, move, copied) or _copied(move, copied, recorded=True)


def _may_be_completed(context: Context, move: Move) -> bool:
    """Whether what is at the new key has the ETag that the ledger expects of an upload of this move: not copied for nothing (H12)."""
    etags = {etag for _, etag in context.uploads.joined(move)}
    try:
        return context.store.stat(move.new_key).etag in etags
    except MissingObjectError:
        return False


def _not_now(batch: Batch, move: Move, claims: Claims) -> Outcome | None:
    """A row or a live move that names the new key counts as an object there (S3)."""
    if claims.blocker(move):
        return _wait(move)
    named = going_back.strangers(batch, move, claims.named_by_others(move, move.new_key))
    if named and not batch.run.seed_done and named[0].row_id is not None:
        return _wait(move)  # that row's own move may be planned yet: then its object goes first (H19)
    if named:
        return with_own_key(batch, move) or park(
            move, ParkedReason.TARGET_EXISTS, f"row {named[0].row_id or 'of a table in REFERENCES'} names the new key"
        )
    return None


def _lacking(batch: Batch, move: Move, error: MissingObjectError) -> Outcome:
    """An object that was needed is not there: the source, or what was just written and went away before it could be proved."""
    if error.object_key == move.old_key:
        return missed(batch, move, error)
    if not is_there(batch.context, move.new_key):
        move = move._replace(copy=None, copy_recorded=False)
    return again(move, settings=batch.context.settings, detail=str(error), to=MoveState.PLANNED)


def _copied(move: Move, copied: Copied, *, recorded: bool) -> Outcome:
    done = move._replace(
        state=MoveState.COPIED,
        source=copied.source,
        copy=copied.copy if copied.copy.key == move.new_key else replace(copied.copy, key=move.new_key),
        copy_recorded=recorded,
        claims=0,
        attempts=0,
        missed_store_time=None,
        looks=0,
        waiting=False,
        detail=None,
    )
    may_be_noted = move.changes > 0 or move.claims > 1 or move.copy is not None  # what an earlier copy had lost
    return Outcome(move=done, hinted=True, lost=copied.lost if copied.lost or may_be_noted else None)


def _same_object(context: Context, move: Move) -> Outcome:
    """Both keys are one object: nothing to copy; at most the row's text is corrected by the rename stage."""
    found = context.store.stat(move.old_key)
    if move.old_key == move.new_key:
        return Outcome(move=move._replace(state=MoveState.IN_PLACE, source=found, copy=found))
    return _copied(move, Copied(source=found, copy=found), recorded=False)


def _wait(move: Move) -> Outcome:
    looks = move.looks + 1
    detail = "the new key is the old key of an asset that is still to be moved"
    waiting = nothing_written(move)._replace(waiting=True, looks=looks, detail=detail)
    return Outcome(move=waiting, due_in=min(WAIT_SECONDS * 2 ** min(looks - 1, 5), LONGEST_WAIT_SECONDS))


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


def _occupied(batch: Batch, move: Move, sources: Looks | None) -> Outcome:
    """An object is at the new key. It is ours only by evidence (H12); an equal one that nobody names may be adopted (S3)."""
    context = batch.context
    row = _row_of(context, move)
    if row is None or row.key != move.old_key:
        return replan(batch, move, row)
    if not is_there(context, move.new_key):
        return _refused_for_nothing(context, move, sources)
    equal = context.read_if_equal(move)
    adopted = _adopted(batch, move, *equal) if equal is not None else None
    return adopted or park(move, ParkedReason.TARGET_EXISTS, "another object is at the new key")


def _whole_already(batch: Batch, move: Move) -> Outcome | None:
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
        return _copied(move, copied, recorded=False)
    shared = going_back.put_back_already(batch, move, there)
    if isinstance(shared, Outcome):
        return shared
    return _copied(move, copied, recorded=False) if shared else None


def missed(batch: Batch, move: Move, error: MissingObjectError) -> Outcome:
    """The source is not there: healed from an earlier run's record, looked for again, or parked.

    A row may be written up to SETTLE_SECONDS before its object (A3), and a present object may answer 404 for a moment (case 16).
    """
    context = batch.context
    row = _row_of(context, move)
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
            return _copied(move, Copied(source=None, copy=held), recorded=False)
        if is_there(context, move.old_key):
            detail = f"the store answers HEAD of {move.old_key!r} and gives no such object: a folder of that name, perhaps"
            return failed(move, detail, settings=context.settings)
        return park_before_switch(batch, move, ParkedReason.MISSING_SOURCE, f"no object {error.object_key!r}")
    looks = move.looks + 1
    wait = min(2.0 ** min(looks - 1, 6), max(1.0, context.settings.settle_seconds / MISSED_LOOKS))
    looked = nothing_written(move)._replace(missed_store_time=since, looks=looks, detail=f"no object {error.object_key!r}")
    return Outcome(move=looked, due_in=wait)


def _row_of(context: Context, move: Move) -> AssetRow | None:
    with transaction(context.moves.engine, read_only=True) as connection:
        return context.assets.rows(connection, [move.row_id]).get(move.row_id)


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
            return _copied(move, Copied(source=None, copy=there), recorded=False)  # the rename stage sees by it that there is no source
    return None
