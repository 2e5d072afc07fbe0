"""Outcomes of moves, and questions about them. Every change is guarded by the lease's token (S7)."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, Engine, Integer, and_, bindparam, case, literal, or_, select, update

from app.database import MICROSECONDS, database_now, transaction
from app.ledger.leases import LeaseLedger, Other
from app.ledger.records import Lease, Move, Outcome, Run
from app.schema import moves
from app.states import OPEN_STATES, MoveState, can_go

_PLAIN = [name for name in Move.__slots__ if name not in {"run_no", "id", "row_id", "source", "copy", "suspect", "deaths"}]
_STAMPED = ("switched_at", "grace_from", "intent_at")
_SIDES = [f"{side}_{part}" for side in ("source", "copy") for part in ("etag", "size", "store_time", "version")]

_OPEN = sorted(OPEN_STATES)
__all__ = ["LARGE_FAMILY", "MoveLedger", "Other", "check_arrow"]
LARGE_FAMILY = 500  # moves that share one old object: more are not held and decided together
FAMILIES = 10_000


def _record_statement() -> Any:  # noqa: ANN401 - an Update with its bound names
    now = database_now()
    keep = bindparam("v_keep", type_=Integer) == literal(1)
    due_at = now + bindparam("v_due_us")
    values: dict[str, Any] = {name: bindparam(f"v_{name}") for name in [*_PLAIN, *_SIDES]}
    for name in _STAMPED:
        values[name] = case(
            (bindparam(f"v_stamp_{name}", type_=Integer) == literal(1), now), else_=bindparam(f"v_{name}", type_=moves.c[name].type)
        )
    values |= {
        "live_hash": bindparam("v_live_hash"),
        "stage": bindparam("v_stage"),
        "hints": bindparam("v_hints"),
        "suspect": bindparam("v_suspect"),
        "lease_token": case((keep, moves.c.lease_token), else_=None),
        "lease_until": case((keep, moves.c.lease_until), else_=0),
        "lease_kept": keep,
        "due_at": case((keep, moves.c.lease_until), else_=due_at),
        "not_before": now + bindparam("v_wait_us"),
        "updated_at": now,
    }
    return (
        update(moves)
        .where(moves.c.run_no == bindparam("w_run_no"), moves.c.id == bindparam("w_id"), moves.c.lease_token == bindparam("w_token"))
        .values(values)
    )


_RECORD = _record_statement()


class MoveLedger(LeaseLedger):
    """The rows of rekey_moves."""

    def __init__(self, engine: Engine, *, hint_seconds: float, first_stages: Mapping[MoveState, str]) -> None:
        """Keep the engine; nothing is asked yet. *first_stages*: the stage that a move in an open state is due for."""
        super().__init__(engine, hint_seconds=hint_seconds)
        self._first_stages = first_stages

    def record(self, lease: Lease, outcomes: Sequence[Outcome], *, connection: Connection | None = None) -> set[tuple[int, int]]:
        """Write outcomes for moves that *lease* still holds, all in one statement.

        Returns:
            (run number, move id) of those written; a move that is missing was lost to somebody else, and its outcome is void.
        """
        if not outcomes:
            return set()
        if connection is None:
            with transaction(self.engine) as own:
                return self.record(lease, outcomes, connection=own)
        held = self.held(connection, lease, [outcome.move for outcome in outcomes])
        rows = [self._values(lease, outcome) for outcome in outcomes if (outcome.move.run_no, outcome.move.id) in held]
        if rows:
            connection.execute(_RECORD, rows)
        return set(held)

    def held(self, connection: Connection, lease: Lease, of: Sequence[Move]) -> dict[tuple[int, int], MoveState]:
        """Those of the moves *of* that *lease* still holds, with their state; locked until the transaction ends."""
        found: dict[tuple[int, int], MoveState] = {}
        for run_no in {move.run_no for move in of}:
            ids = [move.id for move in of if move.run_no == run_no]
            rows = connection.execute(
                select(moves.c.run_no, moves.c.id, moves.c.state)
                .where(moves.c.run_no == run_no, moves.c.id.in_(ids), moves.c.lease_token == lease.token)
                .order_by(moves.c.id)
                .with_for_update()
            )
            found |= {(row.run_no, row.id): MoveState(row.state) for row in rows}
        return found

    def _values(self, lease: Lease, outcome: Outcome) -> dict[str, Any]:
        row = outcome.move.to_row()
        open_now = outcome.move.state in OPEN_STATES
        due_us = self._hint_us if outcome.hinted else int(outcome.due_in * MICROSECONDS)
        return (
            {f"v_{name}": row[name] for name in [*_PLAIN, *_SIDES]}
            | {f"v_stamp_{name}": int(name in outcome.stamp) for name in _STAMPED}
            | {
                "v_live_hash": row["new_hash"] if open_now else None,
                "v_stage": (outcome.stage or self._first_stages[outcome.move.state]) if open_now else None,
                "v_hints": int(outcome.hinted),
                "v_suspect": row["suspect"] and open_now and outcome.due_in > 0,
                "v_keep": int(outcome.keep_lease),
                "v_due_us": due_us,
                "v_wait_us": 0 if outcome.hinted else due_us,
                "w_run_no": row["run_no"],
                "w_id": row["id"],
                "w_token": lease.token,
            }
        )

    def sharing_old(self, connection: Connection, hashes: Collection[bytes]) -> list[Other]:
        """Live moves, of any run, whose old key is one of these objects, and those that were parked after their switch.

        A parked move's objects are touched by nobody until the operator decides, so its old object is not deleted for another's sake.
        Of an object that more than LARGE_FAMILY moves share, only so many and one.
        """
        if not hashes:
            return []
        parked = and_(moves.c.state == MoveState.PARKED, moves.c.parked_from == MoveState.RENAMED)
        where = or_(moves.c.state.in_(_OPEN), parked)
        found = self._others(connection, moves.c.old_hash.in_(list(hashes)) & where, limit=FAMILIES)
        if len(found) < FAMILIES:
            return found
        one_by_one = (self._others(connection, and_(moves.c.old_hash == old_hash, where), limit=LARGE_FAMILY + 1) for old_hash in hashes)
        return [other for family in one_by_one for other in family]

    def wanting_new(self, connection: Connection, hashes: Collection[bytes]) -> list[Other]:
        """Live moves, of any run, whose new key is one of these objects."""
        return self._others(connection, moves.c.live_hash.in_(list(hashes))) if hashes else []

    def _others(self, connection: Connection, where: Any, *, limit: int | None = None) -> list[Other]:  # noqa: ANN401 - a SQL condition
        columns = (moves.c.run_no, moves.c.id, moves.c.state, moves.c.old_hash, moves.c.new_hash, moves.c.waiting)
        rows = connection.execute(select(*columns).where(where).limit(limit))
        return [
            Other(row.run_no, row.id, MoveState(row.state), bytes(row.old_hash), bytes(row.new_hash), bool(row.waiting)) for row in rows
        ]

    def earlier(self, connection: Connection, move: Move) -> list[Move]:
        """Moves of other runs that took this row away from the same old key, newest first (H14: heal)."""
        rows = connection.execute(
            select(moves)
            .where(moves.c.old_hash == move.old_hash, moves.c.run_no != move.run_no, moves.c.row_id == move.row_id)
            .order_by(moves.c.run_no.desc())
        )
        return [Move.from_row(dict(row)) for row in rows.mappings()]

    def load(self, run: Run, ids: Sequence[int]) -> list[Move]:
        """Moves by id, whoever holds them."""
        with transaction(self.engine, read_only=True) as connection:
            rows = connection.execute(select(moves).where(moves.c.run_no == run.no, moves.c.id.in_(ids)).order_by(moves.c.id))
            return [Move.from_row(dict(row)) for row in rows.mappings()]


def check_arrow(before: Move, after: Move) -> None:
    """Raise ValueError unless the contract has this arrow, or the state stays (a programmer's fault, never the user's)."""
    if before.state is not after.state and not can_go(before.state, after.state):
        raise ValueError(f"no arrow from {before.state} to {after.state}")
