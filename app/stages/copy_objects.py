"""The copy stage: give each object a proved copy at its new key, overwriting nothing foreign (S3).

Needs: a planned move. Promises: ``copied``, with the versions read and written on record. Undone by: removing the copy.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from contextlib import nullcontext
from dataclasses import dataclass

from app.copying import Copied
from app.errors import ConditionFailedError, FidelityError, MissingObjectError
from app.fidelity import needs_head
from app.ledger.records import Move, Outcome
from app.looks import Looks
from app.spacing import is_spaced
from app.stages import going_back
from app.stages.adopting import occupied, whole_already
from app.stages.ahead import A_TASK, ahead, look_at, more, read_ahead
from app.stages.batch import Batch
from app.stages.context import Context
from app.stages.missing_sources import lacking
from app.stages.naming import Claims, who_claims
from app.stages.outcomes import copied_outcome, nothing_written, park
from app.stages.proving import disproved
from app.stages.replanning import replan, with_own_key
from app.stages.snowballs import Rolling, goes_in, rolls, see_sizes
from app.stages.together import Steps, Together
from app.stages.writing import is_vouched_for, looks_first, perhaps_not_ours, write
from app.states import MoveState, ParkedReason, RunKind

LOOKED_AT = 50  # moves whose objects are looked at for one chunk of copies
WAIT_SECONDS = 2.0  # for the old object of another move to go; doubling, to LONGEST_WAIT_SECONDS
LONGEST_WAIT_SECONDS = 15.0
LARGE_TOGETHER = 4 * 1024**2  # bytes of objects that are under way together: a store may lock an object whose reader lets it wait


@dataclass(frozen=True, slots=True)
class CopyObjects:
    """Copies a batch of planned moves."""

    chunk: int = 200  # so many requests, some of them at the same time, rarely outlast the task

    def act(self, batch: Batch) -> None:
        """Copy the next chunk; where the store copies by itself, no more than is copied while the looks before it are new enough."""
        together_too = rolls(batch)
        moves = batch.left[: LOOKED_AT if _looks_before(batch) and not together_too else self.chunk]
        rolled = frozenset((move.run_no, move.id) for move in moves if together_too and goes_in(move))
        context = batch.context
        claims = who_claims(context, moves, [move.new_key for move in moves], of_old=False)
        if any(move.claims > 1 for move in moves):
            batch.completing = context.uploads.completing(batch.run)
        sources = _looks(batch, moves, rolled=rolled)
        rolling = Rolling(batch, rolled, sources) if together_too and sources is not None else None
        try:
            with Together(batch) as together:
                _copy(batch, moves, together, claims=claims, sources=sources, rolling=rolling)
        finally:
            context.store.read_ahead(())
        if sources is not None:
            sources.complain()


def _copy(
    batch: Batch, moves: Sequence[Move], together: Together, *, claims: Claims, sources: Looks | None, rolling: Rolling | None
) -> None:
    """Copy *moves*, some of them at the same time, the next ones' objects being read while those are written."""
    left = list(moves)
    reads = _is_read if sources is None else rolling.takes if rolling is not None else None
    while left:
        if rolling is not None and not batch.context.small.is_most:
            return  # the runner comes again, with looks that tell what is large
        batch.shrink(max(1, LARGE_TOGETHER // max(1, together.largest)))
        size = 1 if is_spaced() else batch.requests
        wanted = rolling.room if rolling is not None else size
        with more(batch, min(wanted, len(left)) - A_TASK * size) as lent:
            if rolling is not None:
                size = min(wanted, A_TASK * size + lent)  # no write goes on beside the reads
            if reads is not None and size > 1:
                size = max(1, read_ahead(batch.context, left[:size], reads=reads))
            now, left = left[:size], left[size:]
            for move in now:
                if not batch.holds(move):
                    continue  # given back, since another one takes long
                if batch.time_is_up or (sources is not None and not sources.fresh(_relied_on(move, rolling))):
                    return  # the runner gives the rest back, or comes again with new looks
                batch.flush_sometimes()
                together.begin(move, copy_one(batch, move, claims=claims, sources=sources, rolling=rolling))
        if rolling is not None and left and together.under_way == rolling.gathered:
            continue  # nothing is sent yet
        with ahead(batch, left[:size], reads=reads) if reads is not None else nullcontext():
            together.finish()


def _is_read(move: Move) -> bool:
    """Whether the object of *move* is read by the worker, where the worker copies."""
    return bool(move.new_key) and not move.same_object


def _relied_on(move: Move, rolling: Rolling | None) -> str:
    """The key whose look the copy of *move* relies on: what the worker reads by itself is as it is read."""
    return move.new_key if rolling is not None and rolling.takes(move) else move.old_key


def _looks_before(batch: Batch) -> bool:
    return batch.run.kind is RunKind.ROLLBACK or looks_first(batch.context)


def _looks(batch: Batch, moves: Sequence[Move], *, rolled: Collection[tuple[int, int]]) -> Looks | None:
    """What has to be known of the objects before the copy: of a rollback, or on the operator's word, what is at both keys.

    *rolled*: those that may go by snowball are read, so that only what is at their new keys is looked at.
    """
    context = batch.context
    if not _looks_before(batch):
        return None
    by_store = looks_first(context)
    both = batch.run.kind is RunKind.ROLLBACK or is_vouched_for(context)
    looked_at = [move for move in moves if (move.run_no, move.id) not in rolled]
    keys: list[str] = []
    for move in moves:
        if (move.run_no, move.id) not in rolled:
            keys.append(move.old_key)
        if both and move.new_key:
            keys.append(move.new_key)
    heads_first = by_store and needs_head(context.store.capabilities.fidelity, context.settings.fidelity_policy)
    attributes = [move.old_key for move in looked_at] if heads_first else ()
    stage = batch.result.stage
    sources = look_at(context, stage, keys, attributes=attributes, own=batch.requests)
    see_sizes(context, sources, looked_at)
    return sources


def copy_one(batch: Batch, move: Move, *, claims: Claims, sources: Looks | None, rolling: Rolling | None = None) -> Steps:
    """Copy one object, or say why not; yields while its write is under way."""
    if move.waiting:
        move = move._replace(waiting=False)  # unless it still has to
    try:
        return (yield from _attempt(batch, move, claims, sources, rolling))
    except ConditionFailedError:
        try:
            return occupied(batch, move, sources)
        except MissingObjectError as error:
            return lacking(batch, move, error)
    except MissingObjectError as error:
        return lacking(batch, move, error)
    except FidelityError:
        there = whole_already(batch, move)
        if there is None:
            raise
        return there


def _attempt(batch: Batch, move: Move, claims: Claims, sources: Looks | None, rolling: Rolling | None) -> Steps:
    context = batch.context
    if not move.new_key:  # it was parked for a name that gave no key, and sent on again
        return replan(batch, move, context.row_of(move))
    if move.same_object:
        return _same_object(context, move)
    goes_back = sources if batch.run.kind is RunKind.ROLLBACK else None
    untouched = None if goes_back is None else going_back.as_it_was(move, goes_back)
    not_now = _not_now(batch, move, claims, writes=untouched is None) or perhaps_not_ours(batch, move)
    if not_now:
        return not_now
    if goes_back is not None:
        if untouched:
            return copied_outcome(move, Copied(source=untouched[0], copy=untouched[1]), recorded=False)
        move = going_back.with_what_is_there(batch, move, goes_back)
        sources = sources if looks_first(context) else None
    if (move.run_no, move.id) in batch.completing and _may_be_completed(context, move):
        raise ConditionFailedError(move.new_key, "an earlier claim has completed a copy and could not record it")
    copied = yield from write(batch, move, sources, rolling)
    return disproved(batch, move, copied) or copied_outcome(move, copied, recorded=True)


def _may_be_completed(context: Context, move: Move) -> bool:
    """Whether what is at the new key has the ETag that the ledger expects of an upload of this move: not copied for nothing (H12)."""
    etags = {etag for _, etag in context.uploads.joined(move)}
    try:
        return context.store.stat(move.new_key).etag in etags
    except MissingObjectError:
        return False


def _not_now(batch: Batch, move: Move, claims: Claims, *, writes: bool) -> Outcome | None:
    """A row or a live move that names the new key counts as an object there (S3); a reference to what is there in any case does not."""
    if claims.blocker(move):
        return _wait(move)
    others = [naming for naming in claims.named_by_others(move, move.new_key) if writes or not naming.is_reference]
    named = going_back.strangers(batch, move, others)
    if named and not batch.run.seed_done and named[0].row_id is not None:
        return _wait(move)  # that row's own move may be planned yet: then its object goes first (H19)
    if named:
        return with_own_key(batch, move) or park(
            move, ParkedReason.TARGET_EXISTS, f"row {named[0].row_id or 'of a table in REFERENCES'} names the new key"
        )
    return None


def _same_object(context: Context, move: Move) -> Outcome:
    """Both keys are one object: nothing to copy; at most the row's text is corrected by the rename stage."""
    found = context.store.stat(move.old_key)
    if move.old_key == move.new_key:
        return Outcome(move=move._replace(state=MoveState.IN_PLACE, source=found, copy=found))
    return copied_outcome(move, Copied(source=found, copy=found), recorded=False)


def _wait(move: Move) -> Outcome:
    looks = move.looks + 1
    detail = "the new key is the old key of an asset that is still to be moved"
    waiting = nothing_written(move)._replace(waiting=True, looks=looks, detail=detail)
    return Outcome(move=waiting, due_in=min(WAIT_SECONDS * 2 ** min(looks - 1, 5), LONGEST_WAIT_SECONDS))
