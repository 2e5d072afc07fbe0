"""Taking a run back: which of its moves can be, and the moves of the rollback, which have their numbers and exchanged keys (H18)."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Connection, Engine, Select, and_, func, or_, select, update

from app.arrays import among
from app.database import MICROSECONDS, database_now, read_now, transaction
from app.ledger.archiving import refuse_archived
from app.ledger.inserting import insert_moves
from app.ledger.leases import moves_of
from app.ledger.plans import Planned, fresh_row, marked
from app.ledger.records import Move, Run
from app.schema import moves, runs
from app.states import MoveState, ParkedReason, RunKind, RunState

RUNS_BACK = 50  # runs that are looked at for one with switched rows
PARKED_LOOKED_AT = 1000
WINDOW = 50_000  # numbers of moves a statement: some 0.1 s
_SWITCHED = or_(
    moves.c.state.in_([MoveState.DELETED, MoveState.KEPT]),
    and_(moves.c.state == MoveState.PARKED, moves.c.parked_from == MoveState.RENAMED),
)
# Of a run that has not ended: its end keeps what is switched and not deleted by then.
_SWITCHED_SO_FAR = or_(_SWITCHED, moves.c.state == MoveState.RENAMED)


@dataclass(frozen=True, slots=True, kw_only=True)
class Undoable:
    """What of a run can be taken back, and how."""

    by_switch: int = 0  # the old object is held: the row is switched, nothing is copied
    by_copy: int = 0  # the old object is deleted: what is at the new key now is copied back
    bytes_to_copy: int = 0
    not_switched: int = 0  # parked or cancelled before the switch, in place, gone: nothing to take back
    rolled_back: int = 0

    @property
    def total(self) -> int:
        """Rows to switch back."""
        return self.by_switch + self.by_copy


class RollbackLedger:
    """The moves of rollbacks."""

    def __init__(self, engine: Engine, *, hint_seconds: float, first_stage: str) -> None:
        """Keep the engine; nothing is asked yet."""
        self.engine = engine
        self._first_stage = first_stage
        self._hint_us = int(hint_seconds * MICROSECONDS)

    def undoable(self, origin: Run, *, clients: Collection[str] = ()) -> Undoable:
        """What of *origin*, which may be paused still, can be taken back.

        ``by_switch`` is as far as the ledger knows: an old object may have been removed by others, or be deleted before the run ends.

        Raises:
            UsageError: Moves of it have left the ledger.
        """
        chosen = [moves.c.run_no == origin.no, *([moves.c.client.in_(sorted(clients))] if clients else [])]
        columns = (moves.c.state, moves.c.parked_from)
        question = select(*columns, func.count(), func.coalesce(func.sum(moves.c.copy_size), 0)).where(*chosen).group_by(*columns)
        by_switch = by_copy = size = other = back = 0
        with transaction(self.engine, read_only=True) as connection:
            refuse_archived(connection, origin.id)
            for state, parked_from, count, sized in connection.execute(question):
                if state == MoveState.DELETED:
                    by_copy, size = by_copy + int(count), size + int(sized)
                elif state in {MoveState.KEPT, MoveState.RENAMED} or parked_from == MoveState.RENAMED:
                    by_switch += int(count)
                elif state == MoveState.ROLLED_BACK:
                    back += int(count)
                else:
                    other += int(count)
        return Undoable(by_switch=by_switch, by_copy=by_copy, bytes_to_copy=size, not_switched=other, rolled_back=back)

    def newest_switched(self, origin: Run) -> str | None:
        """The id of the newest run before *origin*, on its bucket and table, of which a row can be taken back; None where there is none.

        Each question ends at the first move that is found by the index; of parked moves, and of runs, no more than some are looked at.
        """
        earlier = (
            select(runs.c.no, runs.c.id)
            .where(runs.c.bucket == origin.bucket, runs.c.table_name == origin.table_name, runs.c.kind == RunKind.MOVE)
            .where(runs.c.no < origin.no)
            .order_by(runs.c.no.desc())
            .limit(RUNS_BACK)
        )
        with transaction(self.engine, read_only=True) as connection:
            return next((run_id for no, run_id in connection.execute(earlier).all() if has_switched(connection, no)), None)

    def page(
        self, connection: Connection, origin_no: int, *, after: int, limit: int, clients: Collection[str]
    ) -> tuple[list[Move], int | None]:
        """The next switched moves of a run that has ended, by their numbers, and the number to go on from; None when none is beyond.

        Perhaps none at all: a statement goes through WINDOW numbers at most, of which few may be meant.
        """
        return self._page(connection, origin_no, _SWITCHED, after=after, limit=limit, clients=clients)

    def _page(
        self, connection: Connection, origin_no: int, which: ColumnElement[bool], *, after: int, limit: int, clients: Collection[str]
    ) -> tuple[list[Move], int | None]:
        here, beyond = moves.c.run_no == origin_no, after + WINDOW
        chosen = [here, moves.c.id > after, moves.c.id <= beyond, which, *([moves.c.client.in_(sorted(clients))] if clients else [])]
        page = moves_of(connection.execute(select(moves).where(*chosen).order_by(moves.c.id).limit(limit)))
        if len(page) == limit:
            return page, page[-1].id
        last = connection.execute(select(func.max(moves.c.id)).where(here)).scalar_one()
        return page, beyond if last is not None and last > beyond else None

    def pages(self, origin: Run, *, limit: int, clients: Collection[str]) -> Iterator[list[Move]]:
        """What ``undoable`` counts, in pages."""
        after: int | None = 0
        while after is not None:
            with transaction(self.engine, read_only=True) as connection:
                page, after = self._page(connection, origin.no, _SWITCHED_SO_FAR, after=after, limit=limit, clients=clients)
            if page:
                yield page

    def insert_page(self, run: Run, page: Sequence[Move], *, cursor: str, grace_seconds: int, mark: str | None = None) -> Planned | None:
        """Write the rollback's moves of one page and advance its cursor; None if another seed was faster. *mark*: the run's from now on.

        The recorded versions change sides: ``source`` is the copy that was written, ``copy`` the object that was copied then.
        """
        with transaction(self.engine) as connection:
            fresh = connection.execute(
                update(runs)
                .where(runs.c.no == run.no, runs.c.seed_done.is_(False), runs.c.state == RunState.RUNNING)
                .where(runs.c.seed_cursor.is_(None) if run.seed_cursor is None else runs.c.seed_cursor == run.seed_cursor)
                .values(seed_cursor=cursor, seed_due_at=database_now() + self._hint_us, next_move=runs.c.next_move + len(page))
                .values(**marked(run, mark))
            )
            if fresh.rowcount != 1:
                return None
            hashes = [move.old_hash for move in page]
            live = connection.execute(select(moves.c.live_hash, moves.c.run_no).where(among(moves.c.live_hash, hashes)))
            taken = {bytes(value): int(run_no) for value, run_no in live}
            now = read_now(connection)
            rows, ids = [], []
            for move in page:
                holder = taken.setdefault(move.old_hash, 0)
                free = holder in {0, run.no}  # several rows named the object: all of them may go back to it
                rows.append(self._row(run, move, now, grace_seconds=grace_seconds, free=free, follows=holder == run.no))
                taken[move.old_hash] = holder or run.no
                if free:
                    ids.append(move.id)
            insert_moves(connection, rows)
            return Planned(copy_ids=ids, examined=len(rows))

    def _row(self, run: Run, move: Move, now: int, *, grace_seconds: int, free: bool, follows: bool) -> dict[str, Any]:
        back = Move(
            run_no=run.no,
            id=move.id,
            row_id=move.row_id,
            client=move.client,
            generation=1,
            old_key=move.new_key,
            new_key=move.old_key,
            old_hash=move.new_hash,
            new_hash=move.old_hash,
            state=MoveState.PLANNED if free else MoveState.PARKED,
            parked_from=None if free else MoveState.PLANNED,
            reason=None if free else ParkedReason.COLLISION,
            detail=None if free else "a run on another table moves an asset to the same key",
            source=move.copy,
            copy=move.source,
            follows=follows,
            grace_seconds=grace_seconds,
        )
        return fresh_row(back, now, first_stage=self._first_stage, hint_us=self._hint_us)

    def mark(self, connection: Connection, run: Run, ids: Sequence[int]) -> None:
        """Rows of these moves name their old keys again: in the run that is taken back, their moves are over."""
        connection.execute(
            update(moves)
            .where(moves.c.run_no == run.origin_no, among(moves.c.id, ids), _SWITCHED)
            .values(state=MoveState.ROLLED_BACK, parked_from=None, reason=None, detail=f"by run {run.id[:8]}", updated_at=database_now())
        )


def has_switched(connection: Connection, run_no: int) -> bool:
    """Whether a move of a run has switched its row; in the order of the index by state, so that no plan goes through the table."""
    for state in (MoveState.DELETED, MoveState.KEPT, MoveState.RENAMED):
        if connection.execute(_of_state(run_no, state).limit(1)).first() is not None:
            return True
    parked = connection.execute(_of_state(run_no, MoveState.PARKED).limit(PARKED_LOOKED_AT)).scalars()
    return any(parked_from == MoveState.RENAMED for parked_from in parked)


def _of_state(run_no: int, state: MoveState) -> Select[Any]:
    return select(moves.c.parked_from).where(moves.c.run_no == run_no, moves.c.state == state).order_by(moves.c.due_at)
