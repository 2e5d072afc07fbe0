"""Leases: who may act on a move, and until when (S7, H35). Every other change of the ledger is guarded by a lease's token."""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import (
    Connection,
    Engine,
    Update,
    and_,
    exc,
    or_,
    select,
    update,
)

from app.arrays import among
from app.clock import Clock
from app.database import MICROSECONDS, database_now, transaction
from app.errors import DatabaseUnavailableError, LeaseLostError, OutcomeUnknownError
from app.ledger.lease_statements import GIVE_BACK, GIVE_UP, TAKE, TAKE_AND_READ, TAKEN, due_after, is_due_for
from app.ledger.records import Lease, Move, Run, reader
from app.schema import moves
from app.states import MoveState

_READ = reader(tuple(moves.c.keys()))


@dataclass(frozen=True, slots=True)
class Other:
    """A live move, or one parked after its switch, that touches an object of ours."""

    run_no: int
    id: int
    state: MoveState
    old_hash: bytes
    new_hash: bytes
    waiting: bool


@dataclass(slots=True)
class _Active:
    lease: Lease
    ids: dict[int, list[int]]  # by run number
    claimed: dict[tuple[int, int], Move] = field(default_factory=dict)  # by run number and id, as they were then
    replanned: bool = False  # some of them got other keys since


class LeaseLedger:
    """The leases on the rows of rekey_moves."""

    def __init__(self, engine: Engine, *, hint_seconds: float) -> None:
        """Keep the engine; nothing is asked yet."""
        self.engine = engine
        self._active: dict[str, _Active] = {}
        self._hint_us = int(hint_seconds * MICROSECONDS)

    def claim(
        self, run: Run, ids: Sequence[int], *, stage: str, lease_seconds: float, store_time: int, clock: Clock, suspects: bool = False
    ) -> tuple[Lease, list[Move]]:
        """Take the lease of those of *ids* that are due for *stage*, not before their time and nobody's, if the run still is in its state.

        The lease is counted from before the claim is sent, so that ours ends no later than the ledger says (S7).
        A lease that somebody lost is not taken here: the reconciler looks at those first (H28).
        """
        lease = Lease(token=secrets.token_hex(8), ends_at=clock.boot() + lease_seconds, clock=clock)
        self._active[lease.token] = _Active(lease, {run.no: list(ids)})
        given = {
            "run": run.no,
            "run_state": run.state,
            "ids": ids,
            "due_for": stage,
            "suspects": suspects,
            "token": lease.token,
            "lease_us": int(lease_seconds * MICROSECONDS),
            "store_time": store_time,
        }
        taken = {"run": run.no, "ids": ids, "token": lease.token}
        try:
            if self.engine.dialect.name == "postgresql":
                with transaction(self.engine, single=True) as connection:
                    found = sorted(moves_of(connection.execute(TAKE_AND_READ, given)), key=lambda move: move.id)
            else:
                with transaction(self.engine) as connection:
                    connection.execute(TAKE, given)
                    found = moves_of(connection.execute(TAKEN, taken))
        except OutcomeUnknownError:  # what is ours now is worked on: left alone it would look like a worker's death (H28)
            with transaction(self.engine, read_only=True) as connection:  # where that fails too, it may be ours still: not forgotten
                found = moves_of(connection.execute(TAKEN, taken))
        except (DatabaseUnavailableError, exc.DBAPIError):  # rolled back: nothing is ours
            self.forget(lease)
            raise
        return lease, self._claimed(lease, found)

    def _claimed(self, lease: Lease, found: list[Move]) -> list[Move]:
        """*found*, which *lease* holds, and which the ledger's own changes are measured by."""
        if lease.token in self._active:
            self._active[lease.token].claimed |= {(move.run_no, move.id): move for move in found}
        return found

    def forget(self, lease: Lease) -> None:
        """The work under *lease* is over: nothing is left to be given back."""
        self._active.pop(lease.token, None)

    def claim_others(self, lease: Lease, others: Sequence[Other], *, stage: str, lease_seconds: float) -> list[Move]:
        """Add moves of the same objects that are due for *stage* to a lease, those that are nobody's (H13)."""
        now = database_now()
        until = now + int(max(0.0, min(lease_seconds, lease.remaining())) * MICROSECONDS)
        free = and_(moves.c.lease_until < now, or_(moves.c.lease_token.is_(None), moves.c.lease_kept))
        run_nos, ids = {other.run_no for other in others}, {other.id for other in others}
        hashes = {other.old_hash for other in others}
        chosen = (moves.c.run_no.in_(run_nos), among(moves.c.id, ids), among(moves.c.old_hash, hashes))
        if lease.token in self._active:
            for other in others:
                self._active[lease.token].ids.setdefault(other.run_no, []).append(other.id)
        with transaction(self.engine) as connection:
            connection.execute(
                update(moves)
                .where(*chosen, is_due_for(stage), free)
                .values(lease_token=lease.token, lease_until=until, lease_kept=False, due_at=due_after(until))
            )
            mine = select(moves).where(*chosen, moves.c.lease_token == lease.token).order_by(moves.c.run_no, moves.c.id)
            return self._claimed(lease, moves_of(connection.execute(mine)))

    def release(self, lease: Lease, which: Iterable[Move], *, due_in: float = 0.0, hinted: bool = False) -> None:
        """Give moves back as they were; nobody claims them for *due_in* seconds. *hinted*: a message for them is about to be sent."""
        by_run: dict[int, list[int]] = {}
        for move in which:
            by_run.setdefault(move.run_no, []).append(move.id)
        if by_run:
            with transaction(self.engine) as connection:
                for run_no, ids in by_run.items():
                    self._release(connection, GIVE_BACK, lease, run_no, ids, due_in=due_in, hinted=hinted)

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
                self._release(connection, GIVE_UP, lease, run_no, ids, due_in=due_in)

    def give_up_all(self, *, due_in: float) -> None:
        """End all leases of this process: the last act of a worker that must exit at once."""
        for active in list(self._active.values()):
            active.lease.ends_at = float("-inf")
        for active in list(self._active.values()):
            self.give_up(active.lease, due_in=due_in)

    def _release(
        self,
        connection: Connection,
        statement: Update,
        lease: Lease,
        run_no: int,
        ids: Sequence[int],
        *,
        due_in: float,
        hinted: bool = False,
    ) -> None:
        wait_us = int(due_in * MICROSECONDS)
        given = {"hints_now": int(hinted), "wait_us": wait_us, "due_us": self._hint_us if hinted else wait_us}
        connection.execute(statement, {"run": run_no, "ids": ids, "token": lease.token, **given})

    def renew(self, lease: Lease, which: Iterable[Move], *, seconds: float) -> None:
        """Extend a lease that still holds all of these moves.

        Raises:
            LeaseLostError: It holds some of them no longer.
        """
        ends_at = lease.clock.boot() + seconds
        until = database_now() + int(seconds * MICROSECONDS)
        by_run: dict[int, list[int]] = {}
        for move in which:
            by_run.setdefault(move.run_no, []).append(move.id)
        with transaction(self.engine) as connection:
            for run_no, ids in by_run.items():
                done = connection.execute(
                    update(moves)
                    .where(moves.c.run_no == run_no, among(moves.c.id, ids), moves.c.lease_token == lease.token)
                    .where(moves.c.lease_until > database_now())
                    .values(lease_until=until)
                )
                if done.rowcount != len(ids):
                    raise LeaseLostError(f"the lease on some of {len(ids)} moves is lost")
        lease.ends_at = ends_at

    def defer(self, run: Run, ids: Sequence[int], *, stage: str, seconds: float) -> None:
        """Leave those of *ids* that are due for *stage* alone for so long: its rate is used up until then."""
        later = database_now() + int(seconds * MICROSECONDS)
        with transaction(self.engine) as connection:
            connection.execute(
                update(moves)
                .where(moves.c.run_no == run.no, among(moves.c.id, ids), moves.c.lease_token.is_(None), is_due_for(stage))
                .values(hints=0, due_at=later, not_before=later)
            )

    def unhint(self, run: Run, ids: Sequence[int]) -> None:
        """The message for *ids* was not sent after all: due at once."""
        with transaction(self.engine) as connection:
            connection.execute(
                update(moves)
                .where(moves.c.run_no == run.no, among(moves.c.id, ids), moves.c.lease_token.is_(None), moves.c.hints > 0)
                .values(hints=0, due_at=database_now())
            )


def moves_of(rows: Iterable[Sequence[Any]]) -> list[Move]:
    """Moves from whole rows of the table."""
    return list(map(_READ, rows))
