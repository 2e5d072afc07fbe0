"""A row that is not as it was planned: planned again in place, one generation on, in the same ledger row (H9)."""

from __future__ import annotations

from app.assets import AssetRow
from app.ledger.records import Move, Outcome
from app.stages.batch import Batch
from app.stages.cleaning import park_before_switch, remove_copy
from app.stages.outcomes import again, changed_too_often, clean, park
from app.states import MoveState, ParkedReason


def replan(batch: Batch, move: Move, row: AssetRow | None) -> Outcome:
    """What a changed row makes of a move before its switch.

    Gone, or in need of no move: superseded. The same new key: copied anew over our own copy. Another new key: our copy is removed first.
    """
    if row is not None and row.key == move.new_key and move.state is MoveState.COPIED:
        # The transaction of the switch takes note of it, with all that a switch sets in motion.
        return again(move, settings=batch.context.settings, detail="somebody else switched the row meanwhile", to=MoveState.COPIED)
    plan = batch.context.rules.plan(row) if row is not None else None
    if plan is not None and not plan.in_place and changed_too_often(move, batch.context.settings):
        return park_before_switch(batch, move, ParkedReason.CHANGED_TOO_OFTEN, "the row changed whenever it was to be switched")
    if plan is not None and plan.reason is None and not plan.in_place and move.new_key in {plan.new_key, plan.own_key}:
        return Outcome(move=_next_generation(move, plan.old_key, plan.old_hash, plan.client))
    if row is not None and move.new_key and row.key == move.new_key:  # a move without a new key is not the one of a row without a key
        return Outcome(move=move._replace(state=MoveState.SUPERSEDED, detail="the row names its new key already"))
    left = remove_copy(batch, move)
    if plan is None or plan.in_place:
        why = "the row is gone" if plan is None else "the row names another key that needs no move"
        superseded = move._replace(state=MoveState.SUPERSEDED, detail=clean("; ".join(filter(None, (why, left)))))
        return Outcome(move=superseded)
    anew = _next_generation(move, plan.old_key, plan.old_hash, plan.client)._replace(
        new_key=plan.new_key or move.new_key,
        new_hash=plan.new_hash,
        copy=None,
        copy_recorded=False,
        switched_at=None,
        grace_from=None,
        detail=left,
    )
    return park(anew, plan.reason, plan.detail or "", at=MoveState.PLANNED) if plan.reason else Outcome(move=anew)


def with_own_key(batch: Batch, move: Move) -> Outcome | None:
    """Plan *move*, whose new key another row names, for the key with a suffix; None where it has none, or wants that already."""
    context = batch.context
    row = context.row_of(move)
    if row is None or row.key != move.old_key:
        return replan(batch, move, row)
    plan = context.rules.plan(row)
    if plan.own_key is None or plan.own_hash is None or move.new_key == plan.own_key or changed_too_often(move, context.settings):
        return None
    left = remove_copy(batch, move)
    fresh = _next_generation(move, plan.old_key, plan.old_hash, plan.client)
    return Outcome(move=fresh._replace(new_key=plan.own_key, new_hash=plan.own_hash, copy=None, copy_recorded=False, detail=left))


def _next_generation(move: Move, old_key: str, old_hash: bytes, client: str | None) -> Move:
    return move._replace(
        state=MoveState.PLANNED,
        generation=move.generation + 1,
        changes=move.changes + 1,
        old_key=old_key,
        old_hash=old_hash,
        client=client,
        source=None,
        claims=0,
        claimed_store_time=None,
        missed_store_time=None,
        looks=0,
        attempts=0,
        waiting=False,
        follows=False,
        detail=None,
    )
