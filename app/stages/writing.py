"""The writes of the copy stage: which way one object takes to its new key, under which condition (S3)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from app import fidelity
from app.attributes import is_retyped, load_of_copy
from app.copying import SINGLE_COPY_BYTES, Copied, Steps, copy_by_store, copy_through
from app.errors import ConditionFailedError, MissingObjectError
from app.fidelity import Way, ways_of
from app.ledger.records import Move, Outcome
from app.looks import Looks
from app.object_store import Condition, IfAbsent, IfMatch, ObjectInfo
from app.stages.batch import Batch
from app.stages.context import Context
from app.stages.going_back import is_siblings
from app.stages.keeping import BatchKeeper
from app.stages.outcomes import nothing_written

if TYPE_CHECKING:
    from app.stages.snowballs import Rolling


def looks_first(context: Context) -> bool:
    """Whether the store copies by itself, so that the version to be copied must be known beforehand (copy-source-if-match)."""
    return Way.COPY in ways_of(context.store.capabilities, copy_mode=context.settings.copy_mode)


def is_vouched_for(context: Context) -> bool:
    """Whether, on some way, nothing but the operator's word keeps others from the new keys: what lies there is looked for beforehand."""
    return fidelity.is_vouched_for(context.store.capabilities, copy_mode=context.settings.copy_mode)


def perhaps_not_ours(batch: Batch, move: Move) -> Outcome | None:
    """Whether *move* must wait: an inferred copy may be an equal upload whose row is to come (A3, H12).

    Until that would be there, nothing goes over it, and no row of ours is switched to it: what is written there, by whomever, is not ours.
    """
    if move.copy is None or move.copy_recorded or move.same_object:
        return None
    left = batch.context.settings.settle_seconds - (batch.context.store.store_time() - move.copy.last_modified)
    if left < 0 or is_siblings(batch, move, move.copy):
        return None
    detail = "whether a row comes to name what is at the new key is waited for: the reply to our copy was lost"
    return Outcome(move=nothing_written(move)._replace(detail=detail), due_in=left + 1.0)


def write(batch: Batch, move: Move, sources: Looks | None, rolling: Rolling | None) -> Steps:
    """Write *move*'s copy; *sources*: what was looked at, where the store copies by itself. Yields while a request is under way."""
    context = batch.context
    # A re-copy goes over the copy that this very move wrote, and over nothing else.
    condition: Condition = IfMatch(move.copy.etag) if move.copy else IfAbsent()
    if sources is not None and (move.copy is None or context.store.capabilities.copy_if_match):
        if rolling is not None and rolling.takes(move):
            found = yield from rolling.write(move)
            if isinstance(found, Copied):
                return found
            sources.read[move.old_key], sources.found[move.old_key] = found, found.info
        source = _looked_at(sources, move.old_key)
        if is_vouched_for(context) and is_taken(context, move, sources):
            raise ConditionFailedError(move.new_key, "an object is there already")
        seen = context.store.capabilities
        honoured = seen.copy_if_match if move.copy else seen.copy_if_absent
        by_store = condition if honoured else None  # not sent where it would be ignored, or not known
        steps = _copy_by_store(batch, move, source, sources, condition=by_store)
        if steps is not None:
            return (yield from steps)
    steps = copy_through(
        context.store,
        move.old_key,
        move.new_key,
        condition=condition,
        deadline=batch.lease,
        max_bytes=context.settings.inline_bytes,
        budget=context.budget,
        keeper=BatchKeeper(batch, move),
        policy=context.settings.fidelity_policy,
    )
    return (yield from steps)


def _copy_by_store(batch: Batch, move: Move, source: ObjectInfo, sources: Looks, *, condition: Condition | None) -> Steps | None:
    """CopyObject, unless the object is too large for one request, or arrives less damaged another way."""
    context = batch.context
    if source.size > SINGLE_COPY_BYTES or is_retyped(context.store, move.old_key, move.new_key):
        return None  # by the worker the type is written down as readers saw it; the store would guess another one from the new key
    otherwise = Way.PUT if source.size <= context.settings.inline_bytes else Way.PARTS
    seen = sources.read.get(move.old_key)
    found = load_of_copy(context.store, source, seen=seen, otherwise=otherwise, policy=context.settings.fidelity_policy)
    if found is None:
        return None
    return copy_by_store(context.store, found[0], move.new_key, condition=condition, deadline=batch.lease, load=found[1])


def _looked_at(looks: Looks, key: str) -> ObjectInfo:
    if key in looks.failed:
        raise looks.failed[key]
    found = looks.found[key]
    if found is None:
        raise MissingObjectError(key)
    return found


def is_taken(context: Context, move: Move, looks: Looks) -> bool:
    """Whether an object that is not *move*'s own copy was at the new key when it was looked at, not long ago."""
    key = move.new_key
    try:
        there = _looked_at(looks, key) if looks.fresh(key) else context.store.stat(key)
    except MissingObjectError:
        return False
    return not move.is_our_copy(there)


def is_there(context: Context, key: str) -> bool:
    """Whether an object has the key."""
    try:
        context.store.stat(key)
    except MissingObjectError:
        return False
    return True
