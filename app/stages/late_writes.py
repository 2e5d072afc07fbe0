"""What was written to the old key after the switch: copied to the new key again where it is certainly the row's, else left (S2, H1)."""

from __future__ import annotations

from dataclasses import replace

from app.copying import copy_by_parts
from app.ledger.records import Move, Outcome
from app.object_store import Condition, IfAbsent, IfMatch, ObjectInfo
from app.stages.batch import Batch
from app.stages.keeping import BatchKeeper
from app.stages.outcomes import changed_too_often, park
from app.stages.proving import prove
from app.stages.views import Seen, View
from app.states import ParkedReason


def late_write(batch: Batch, view: View, seen: Seen, old: ObjectInfo) -> Outcome:
    """The old object is not the version that was copied: copied again under every condition of S2, else both stay (H1)."""
    move, new = seen.move, seen.new
    settle = batch.context.settings.settle_seconds
    whose = _not_the_rows(seen, old, settle=settle)
    if whose:
        return park(move, ParkedReason.CONFLICT, f"the old object changed{whose}")
    if _is_another_rows(view, move):
        return park(move, ParkedReason.CONFLICT, "the old object changed after the switch, and another row names the new key")
    if new is not None and not move.is_our_copy(new):
        return _both_changed(batch, move)
    overlapped = move.switch_store_time is not None and old.last_modified < move.switch_store_time
    age = view.store_time - old.last_modified
    if not overlapped and age <= settle:
        return Outcome(move=move._replace(looks=move.looks + 1), due_in=float(settle - age + 1))
    if new is not None and not batch.context.store.capabilities.complete_if_match:
        return park(move, ParkedReason.CONFLICT, "the old object changed after the switch, and this store has no safe way to copy it again")
    return write_over(batch, move, old, IfMatch(new.etag) if new else IfAbsent(), "a late write to the old key was copied again")


def _not_the_rows(seen: Seen, old: ObjectInfo, *, settle: int) -> str | None:
    """What shows that the changed old object is not what the row's asset has become."""
    move, new = seen.move, seen.new
    if move.source is None or old.last_modified < move.source.last_modified:
        return ", but not to a later version"
    if seen.row is None or seen.row.key != move.new_key:
        return " after the switch, and the row names neither key"
    since = max(move.switch_store_time or 0, move.copy.last_modified if move.copy else 0)
    if new is not None and move.is_our_copy(new) and old.last_modified - since > 2 * move.grace_seconds + settle:
        return " so long after the switch that it may be another asset's"  # who had read the key from the row is done with it (A1, H1b)
    return None


def _is_another_rows(view: View, move: Move) -> bool:
    """Whether what is at the new key may be another asset's too; what a table in REFERENCES names there it has from *move*'s own row."""
    return any(not naming.is_reference for naming in view.claims.named_by_others(move, move.new_key))


def _both_changed(batch: Batch, move: Move) -> Outcome:
    """Two versions, unless they are equal: then it was our own late copy, whose reply was lost (H12), or takes nothing from anybody."""
    equal = batch.context.read_if_equal(move)
    if equal is not None:
        fresh = move._replace(source=equal[0].info, copy=equal[1].info, copy_recorded=False, looks=0, intent_at=None)
        return Outcome(move=fresh, due_in=until_next_look(batch, fresh, float(move.grace_seconds)))
    return park(move, ParkedReason.CONFLICT, "old and new object both changed after the switch")


def write_over(batch: Batch, move: Move, old: ObjectInfo, condition: Condition, detail: str) -> Outcome:
    """Write the old object to the new key, which a row names: by parts, so that no stalling body locks it for readers (M5)."""
    context = batch.context
    if changed_too_often(move, context.settings):
        return park(move, ParkedReason.CHANGED_TOO_OFTEN, "the old object is written again and again after the switch")
    read = context.store.read(old.key, max_bytes=0)
    if not read.info.is_same_version(old):
        return Outcome(move=move._replace(looks=move.looks + 1), due_in=1.0)  # it changed once more while we looked
    copied = copy_by_parts(
        context.store,
        read,
        move.new_key,
        condition=condition,
        deadline=batch.lease,
        keeper=BatchKeeper(batch, move),
        policy=context.settings.fidelity_policy,
    )
    prove(batch, move, copied)
    fresh = move._replace(
        source=copied.source,
        copy=replace(copied.copy, key=move.new_key),
        copy_recorded=True,
        changes=move.changes + 1,
        looks=0,
        intent_at=None,  # no delete of this version was meant yet, nor is it in the journal
        detail=detail,
    )
    return Outcome(move=fresh, due_in=until_next_look(batch, fresh, float(move.grace_seconds)), lost=copied.lost)


def until_next_look(batch: Batch, move: Move, left: float) -> float:
    """LOOK_SECONDS after the switch, then at doubling intervals, and at the end of the grace (S1)."""
    return max(0.0, min(left, batch.context.settings.look_seconds * 2.0 ** min(move.looks, 20)))
