"""What a look at switched moves saw: their objects, their rows, and who else lays claim to them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from app.assets import AssetRow
from app.database import read_now, transaction
from app.ledger.moves import Other
from app.ledger.records import Move, Run
from app.looks import MAX_AGE_SECONDS, Looks
from app.object_store import ObjectInfo
from app.stages.ahead import look_at
from app.stages.batch import Batch
from app.stages.naming import Claims, who_claims


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """Everything that was seen, just now, of the objects and rows of some moves."""

    claims: Claims
    rows: dict[str, AssetRow]
    looks: Looks
    now: int  # the database's clock, microseconds
    store_time: int  # the store's clock, seconds, never ahead of it
    run: Run  # as it is now

    def good_until(self, moves: Sequence[Move]) -> float:
        """Until when by the boot clock a request about *moves* may be signed on the strength of this (S4)."""
        looked = (self.looks.sent_at.get(key, float("-inf")) for move in moves for key in (move.old_key, move.new_key))
        return min(self.claims.asked_at, *looked) + MAX_AGE_SECONDS


def seen_now(batch: Batch, moves: Sequence[Move]) -> View:
    """Ask rows, ledger and store about *moves*; none of the answers is used once it is MAX_AGE_SECONDS old."""
    context = batch.context
    keys = [key for move in moves for key in (move.old_key, move.new_key)]
    claims = who_claims(context, moves, keys)
    looks = look_at(context, batch.result.stage, keys)
    # The rows after the objects: a service that removes an asset takes out the row first, so a copy that is gone while its row is there
    # was not removed with its asset, and may be written again (H22).
    with transaction(context.moves.engine, read_only=True) as connection:
        rows = context.assets.rows(connection, sorted({move.row_id for move in moves}))
        now = read_now(connection)
    return View(
        claims=claims,
        rows=rows,
        looks=looks,
        now=now,
        store_time=context.store.store_time(),
        run=context.runs.find(batch.run.id) or batch.run,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What was seen of one move."""

    move: Move
    row: AssetRow | None
    old: ObjectInfo | None
    new: ObjectInfo | None
    strangers: Sequence[Other]
