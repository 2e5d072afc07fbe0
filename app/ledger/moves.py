"""Claims, outcomes and questions about moves. Every change is guarded by the lease's token (S7)."""

from __future__ import annotations

import secrets
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Engine, Integer, and_, bindparam, case, exists, func, literal, or_, select, update

from app.clock import Clock
from app.database import MICROSECONDS, database_now, transaction
from app.errors import LeaseLostError, OutcomeUnknownError
from app.ledger.records import Lease, Move, Outcome, Run
from app.schema import moves, runs
from app.states import OPEN_STATES, MoveState, RunState, can_go

_PLAIN = [name for name in Move.__slots__ if name not in {"run_no", "id", "row_id", "source", "copy", "suspect", "deaths"}]
_STAMPED = ("switched_at", "grace_from", "intent_at")
_SIDES = [f"{side}_{part}" for side in ("source", "copy") for part in ("etag", "size", "store_time", "version")]

_OPEN = sorted(OPEN_STATES)


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


@dataclass(frozen=True, slots=True)
class Other:
    """A live move, or one parked after its switch, that touches an object of ours."""

    run_no: int
    id: int
    state: MoveState
    old_hash: bytes
    new_hash: bytes
    waiting: bool


@dataclass(frozen=True, slots=True)
class _Active:
    lease: Lease
    ids: dict[int, list[int]]  # by run number


class MoveLedger:
    """The rows of rekey_moves."""

    def __init__(self, engine: Engine, *, hint_seconds: float, first_stages: Mapping[MoveState, str]) -> None:
        """Keep the engine; nothing is asked yet. *first_stages*: the stage that a move in an open state is due for."""
        self.engine = engine
        self._first_stages = first_stages
        self._active: dict[str, _Active] = {}
        self._hint_us = int(hint_seconds * MICROSECONDS)

    def claim(
        self, run: Run, ids: Sequence[int], *, stage: str, lease_seconds: float, store_time: int, clock: Clock, suspects: bool = False
    ) -> tuple[Lease, list[Move]]:
        """Take the lease of those of *ids* that are due for *stage*, not before their time and nobody's, if the run is running.

        The lease is counted from before the claim is sent, so that ours ends no later than the ledger says (S7).
        A lease that somebody lost is not taken here: the reconciler looks at those first (H28).
        """
        lease = Lease(token=secrets.token_hex(8), ends_at=clock.boot() + lease_seconds, clock=clock)
        now = database_now()
        free = and_(moves.c.lease_until < now, or_(moves.c.lease_token.is_(None), moves.c.lease_kept))
        running = exists().where(runs.c.no == run.no, runs.c.state == RunState.RUNNING)
        chosen = (moves.c.run_no == run.no, moves.c.id.in_(ids))
        until = now + int(lease_seconds * MICROSECONDS)
        self._active[lease.token] = _Active(lease, {run.no: list(ids)})
        take = (
            update(moves)
            .where(*chosen, moves.c.stage == stage, free, moves.c.not_before <= now, moves.c.suspect == suspects, running)
            .values(
                lease_token=lease.token,
                lease_until=until,
                lease_kept=False,
                due_at=until,
                claims=moves.c.claims + 1,
                claimed_store_time=func.coalesce(moves.c.claimed_store_time, store_time),
            )
        )
        try:
            with transaction(self.engine) as connection:
                connection.execute(take)
                return lease, self._held(connection, lease, chosen)
        except OutcomeUnknownError:  # what is ours now is worked on: left alone it would look like a worker's death (H28)
            with transaction(self.engine, read_only=True) as connection:
                return lease, self._held(connection, lease, chosen)

    def forget(self, lease: Lease) -> None:
        """The work under *lease* is over: nothing is left to be given back."""
        self._active.pop(lease.token, None)

    def claim_others(self, lease: Lease, others: Sequence[Other], *, lease_seconds: float) -> list[Move]:
        """Add live moves of the same objects to a lease, those that are nobody's (H13)."""
        now = database_now()
        until = now + int(max(0.0, min(lease_seconds, lease.remaining())) * MICROSECONDS)
        free = and_(moves.c.lease_until < now, or_(moves.c.lease_token.is_(None), moves.c.lease_kept))
        chosen = (or_(*(and_(moves.c.run_no == other.run_no, moves.c.id == other.id) for other in others)),)
        if lease.token in self._active:
            for other in others:
                self._active[lease.token].ids.setdefault(other.run_no, []).append(other.id)
        with transaction(self.engine) as connection:
            connection.execute(
                update(moves)
                .where(*chosen, moves.c.state.in_(_OPEN), free)
                .values(lease_token=lease.token, lease_until=until, lease_kept=False, due_at=until)
            )
            return self._held(connection, lease, chosen)

    def _held(self, connection: Connection, lease: Lease, chosen: Sequence[Any]) -> list[Move]:
        rows = connection.execute(select(moves).where(*chosen, moves.c.lease_token == lease.token).order_by(moves.c.run_no, moves.c.id))
        return [Move.from_row(dict(row)) for row in rows.mappings()]

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

    def release(self, lease: Lease, which: Iterable[Move], *, due_in: float = 0.0, hinted: bool = False) -> None:
        """Give moves back as they were; nobody claims them for *due_in* seconds. *hinted*: a message for them is about to be sent."""
        by_run: dict[int, list[int]] = {}
        for move in which:
            by_run.setdefault(move.run_no, []).append(move.id)
        if by_run:
            with transaction(self.engine) as connection:
                for run_no, ids in by_run.items():
                    self._release(
                        connection,
                        and_(moves.c.run_no == run_no, moves.c.id.in_(ids), moves.c.lease_token == lease.token),
                        due_in,
                        hinted=hinted,
                    )

    def give_up(self, lease: Lease, *, due_in: float) -> None:
        """End *lease* here, and give back in the ledger whatever it holds; nobody claims that for *due_in* seconds.

        What this process may have sent a moment ago is refused by the store only after that time (S7).
        """
        active = self._active.get(lease.token)
        lease.ends_at = float("-inf")  # no other thread of this process signs a request under it any more
        if active is None:
            return
        with transaction(self.engine) as connection:
            for run_no, ids in active.ids.items():
                mine = (moves.c.run_no == run_no, moves.c.id.in_(ids), moves.c.lease_token == lease.token, moves.c.lease_kept.is_(False))
                self._release(connection, and_(*mine), due_in)

    def give_up_all(self, *, due_in: float) -> None:
        """End all leases of this process: the last act of a worker that must exit at once."""
        for active in list(self._active.values()):
            active.lease.ends_at = float("-inf")
        for active in list(self._active.values()):
            self.give_up(active.lease, due_in=due_in)

    def _release(self, connection: Connection, where: Any, due_in: float, *, hinted: bool = False) -> None:  # noqa: ANN401 - a SQL condition
        now = database_now()
        not_before = now + int(due_in * MICROSECONDS)
        connection.execute(
            update(moves)
            .where(where)
            .values(
                lease_token=None,
                lease_until=0,
                lease_kept=False,
                hints=int(hinted),
                not_before=not_before,
                due_at=now + self._hint_us if hinted else not_before,
            )
        )

    def renew(self, lease: Lease, which: Iterable[Move], *, seconds: float) -> None:
        """Extend a lease that still holds all of these moves.

        Raises:
            LeaseLostError: It holds some of them no longer.
        """
        ends_at = lease.clock.boot() + seconds
        until = database_now() + int(seconds * MICROSECONDS)
        with transaction(self.engine) as connection:
            for move in which:
                done = connection.execute(
                    update(moves)
                    .where(moves.c.run_no == move.run_no, moves.c.id == move.id, moves.c.lease_token == lease.token)
                    .where(moves.c.lease_until > database_now())
                    .values(lease_until=until, due_at=until)
                )
                if done.rowcount != 1:
                    raise LeaseLostError(f"the lease on move {move.id} is lost")
        lease.ends_at = ends_at

    def unhint(self, run: Run, ids: Sequence[int]) -> None:
        """The message for *ids* was not sent after all: due at once."""
        with transaction(self.engine) as connection:
            connection.execute(
                update(moves)
                .where(moves.c.run_no == run.no, moves.c.id.in_(ids), moves.c.lease_token.is_(None), moves.c.hints > 0)
                .values(hints=0, due_at=database_now())
            )

    def sharing_old(self, connection: Connection, hashes: Collection[bytes]) -> list[Other]:
        """Live moves, of any run, whose old key is one of these objects, and those that were parked after their switch.

        A parked move's objects are touched by nobody until the operator decides, so its old object is not deleted for another's sake.
        """
        parked = and_(moves.c.state == MoveState.PARKED, moves.c.parked_from == MoveState.RENAMED)
        return self._others(connection, moves.c.old_hash.in_(list(hashes)) & or_(moves.c.state.in_(_OPEN), parked)) if hashes else []

    def wanting_new(self, connection: Connection, hashes: Collection[bytes]) -> list[Other]:
        """Live moves, of any run, whose new key is one of these objects."""
        return self._others(connection, moves.c.live_hash.in_(list(hashes))) if hashes else []

    def _others(self, connection: Connection, where: Any) -> list[Other]:  # noqa: ANN401 - a SQL condition
        rows = connection.execute(
            select(moves.c.run_no, moves.c.id, moves.c.state, moves.c.old_hash, moves.c.new_hash, moves.c.waiting).where(where)
        )
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
