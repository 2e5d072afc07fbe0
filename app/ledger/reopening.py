"""Moves that an operator sends on again, or ends: retry, release, cancel. In pages, each of them one short transaction (section 3, H17)."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Connection, Engine, and_, case, exc, func, null, or_, select, update

from app.arrays import among
from app.database import database_now, transaction
from app.errors import UsageError
from app.ledger.records import Run
from app.ledger.runs import RunLedger, live_hash
from app.ledger.waking import forget_hints, wake
from app.schema import moves, runs
from app.states import OPEN_STATES, RELEASABLE, MoveState, RunKind, RunState

PAGE_MOVES = 1000
_OPEN = sorted(OPEN_STATES)


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """Which of a run's moves are meant; empty: all."""

    reasons: Collection[str] = ()
    clients: Collection[str] = ()
    row_ids: Collection[str] = ()

    def where(self) -> list[ColumnElement[bool]]:
        """The conditions on rekey_moves."""
        chosen = ((moves.c.reason, self.reasons), (moves.c.client, self.clients), (moves.c.row_id, self.row_ids))
        return [column.in_(sorted(values)) for column, values in chosen if values]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sent:
    """What became of the moves that were to go on."""

    moves: int
    blocked: int  # another live move wants their new key


class ReopenLedger:
    """Changes of final moves by an operator."""

    def __init__(self, engine: Engine, *, first_stages: Mapping[MoveState, str]) -> None:
        """Keep the engine; *first_stages*: the stage that a move in an open state is due for."""
        self.engine = engine
        self._first_stages = first_stages

    def parked(self, run: Run, chosen: Selection) -> dict[str, int]:
        """How many parked moves *chosen* means, by reason."""
        return self._by_reason(run, MoveState.PARKED, chosen.where())

    def releasable(self, run: Run) -> dict[str, int]:
        """How many old objects `release` lets go, by the reason why they were kept."""
        return self._by_reason(run, MoveState.KEPT, [moves.c.reason.in_(sorted(RELEASABLE))])

    def _by_reason(self, run: Run, state: MoveState, where: Sequence[ColumnElement[bool]]) -> dict[str, int]:
        question = select(moves.c.reason, func.count()).where(moves.c.run_no == run.no, moves.c.state == state, *where)
        with transaction(self.engine, read_only=True) as connection:
            return {reason or "": int(count) for reason, count in connection.execute(question.group_by(moves.c.reason))}

    def retry(self, run: Run, chosen: Selection) -> Sent:
        """Send parked moves back to the state that they were parked in (H17); the run goes on with the first page.

        Raises:
            UsageError: Another run is live on the bucket and table.
        """
        return self._send(run, MoveState.PARKED, chosen.where(), most=None)

    def release(self, run: Run, *, most: int | None) -> Sent:
        """Send moves whose old object was held to the delete stage, at most so many of them.

        Raises:
            UsageError: Another run is live on the bucket and table.
        """
        return self._send(run, MoveState.KEPT, [moves.c.reason.in_(sorted(RELEASABLE))], most=most)

    def _send(self, run: Run, state: MoveState, where: Sequence[ColumnElement[bool]], *, most: int | None) -> Sent:
        sent = blocked = after = 0
        columns = (moves.c.id, moves.c.new_key, moves.c.new_hash, moves.c.parked_from)
        while most is None or sent < most:
            limit = PAGE_MOVES if most is None else min(PAGE_MOVES, most - sent)
            page = select(*columns).where(moves.c.run_no == run.no, moves.c.state == state, moves.c.id > after, *where)
            with transaction(self.engine) as connection:
                rows = connection.execute(page.order_by(moves.c.id).limit(limit).with_for_update()).all()
                if not rows:
                    break
                free, following = self._free(connection, run, rows)
                if free:
                    _reopen(connection, run)
                for target in {self._target(row.parked_from) for row in free}:
                    chosen = [row.id for row in free if self._target(row.parked_from) is target]
                    self._open(connection, run, chosen, target, following=following)
            sent, blocked, after = sent + len(free), blocked + len(rows) - len(free), rows[-1].id
        return Sent(moves=sent, blocked=blocked)

    def _target(self, parked_from: str | None) -> MoveState:
        return MoveState(parked_from) if parked_from else MoveState.RENAMED

    def _free(self, connection: Connection, run: Run, rows: Sequence[Any]) -> tuple[list[Any], list[int]]:
        """Those whose new key no live move wants, and no other of them; and which of them only follow one of the same rollback there."""
        wanted = among(moves.c.live_hash, [row.new_hash for row in rows])
        live = connection.execute(select(moves.c.live_hash, moves.c.run_no).where(wanted))
        taken = {bytes(value): int(run_no) for value, run_no in live}
        free, following = [], []
        for row in rows:
            holder = taken.get(bytes(row.new_hash)) if row.new_key else None  # no key: a name that could not be used is planned anew
            if holder is None:
                free.append(row)
                if row.new_key:
                    taken[bytes(row.new_hash)] = run.no
            elif holder == run.no and run.kind is RunKind.ROLLBACK:  # several rows named the object
                free.append(row)
                following.append(row.id)
        return free, following

    def _open(self, connection: Connection, run: Run, ids: Sequence[int], target: MoveState, *, following: Sequence[int]) -> None:
        connection.execute(
            update(moves)
            .where(moves.c.run_no == run.no, among(moves.c.id, ids))
            .values(
                state=target,
                parked_from=None,
                reason=None,
                detail=None,
                live_hash=case((or_(moves.c.new_key == "", moves.c.id.in_(following)), null()), else_=moves.c.new_hash),
                stage=self._first_stages[target],
                waiting=False,
                attempts=0,
                changes=0,
                looks=0,
                deaths=0,
                suspect=False,
                missed_store_time=None,
                lease_token=None,
                lease_until=0,
                lease_kept=False,
                hints=0,
                not_before=0,
                due_at=database_now(),
                updated_at=database_now(),
            )
        )

    def cancel(self, run: Run) -> bool:
        """Let a running or paused run move nothing more; what may have lost its message during a pause is due at once, to be ended.

        Returns:
            Whether it was running or paused.
        """
        with transaction(self.engine) as connection:
            on = (runs.c.no == run.no, runs.c.state.in_([RunState.RUNNING, RunState.PAUSED]))
            if connection.execute(update(runs).where(*on).values(state=RunState.CANCELLED)).rowcount != 1:
                return False
        forget_hints(self.engine, run)
        return True

    def wake_cancelled(self, run: Run, *, beyond_seconds: float, most: int) -> int:
        """Make due what waits for its grace, or for another asset, in a cancelled run; gives how many, *most* of them at a time.

        What waits no longer than *beyond_seconds* is left: it is due soon, or waits until a request that nobody answered has expired (S7).
        So are the pauses after recorded errors.
        """
        return wake(self.engine, run, beyond_seconds=beyond_seconds, most=most)

    def end_cancelled_moves(self, run: Run) -> int:
        """End those open moves of a cancelled run that need no look at the store, since no worker ever had them.

        Returns:
            How many ended.
        """
        free = and_(moves.c.run_no == run.no, or_(moves.c.lease_token.is_(None), moves.c.lease_kept), moves.c.lease_until < database_now())
        unwritten = and_(free, moves.c.state == MoveState.PLANNED, moves.c.claims == 0, moves.c.copy_etag.is_(None))
        ended: dict[str, Any] = {
            "state": MoveState.CANCELLED,
            "detail": None,
            "stage": None,
            "live_hash": None,
            "waiting": False,
            "suspect": False,
        }
        ended |= {"hints": 0, "lease_token": None, "lease_kept": False}
        total, found = 0, PAGE_MOVES
        while found == PAGE_MOVES:
            with transaction(self.engine) as connection:
                ids = list(connection.execute(select(moves.c.id).where(unwritten).order_by(moves.c.id).limit(PAGE_MOVES)).scalars())
                found = len(ids)
                which = (unwritten, among(moves.c.id, ids))
                total += connection.execute(update(moves).where(*which).values(**ended, updated_at=database_now())).rowcount if ids else 0
        return total


def _reopen(connection: Connection, run: Run) -> None:
    """Let an ended run go on, as long as no other one is live on its bucket and table; its seed has ended for good (H32)."""
    ended = (runs.c.no == run.no, runs.c.live_hash.is_(None))
    values = {"state": RunState.RUNNING, "live_hash": live_hash(run.bucket, run.table_name), "finished_at": None, "seed_done": True}
    connection.execute(select(runs.c.no).where(runs.c.no == run.no).with_for_update())  # it does not end meanwhile
    try:
        connection.execute(update(runs).where(*ended).values(values))
    except exc.IntegrityError as error:
        other = RunLedger(connection.engine).live(run.bucket, run.table_name)
        name = f"run {other.id[:8]} is {other.state}" if other else "another run is live"
        raise UsageError(f"{name} on this bucket and table: it has to end first") from error
