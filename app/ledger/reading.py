"""Reading all moves of a run for a report: a window of ids at a time, few columns, no objects made of them.

Ids of a run's moves are given out without gaps and committed in their order (``app.ledger.plans``), so a window of ids is a page of about
its length; those of a rollback are the ids of what it takes back, and may leave a window empty. A filter that few moves pass costs no
statement more than a window takes (H30: the server ends long statements).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Engine, Row, and_, func, select

from app.backoff import delay
from app.database import transaction
from app.errors import DatabaseUnavailableError
from app.ledger.records import Run
from app.schema import losses, moves, runs
from app.states import MoveState

WINDOW = 5000  # ids a statement: some megabytes, some 20 ms
SUMMED = 100_000  # ids a statement that only adds up
TRIES = 7  # of one window: an hour's report outlives a failover of a minute
LONGEST_WAIT_SECONDS = 30.0
NOT_KEPT = "not_kept"  # beside the columns of rekey_moves: what the move's copy lacks


@dataclass(frozen=True, slots=True)
class Held:
    """Old objects that were deleted by a marker, and the bytes that their versions still hold (at least: there may be older ones)."""

    objects: int = 0
    bytes: int = 0


class ReportLedger:
    """The moves of a run as plain rows, in the order of their ids."""

    def __init__(self, engine: Engine, *, sleep: Callable[[float], None] = time.sleep) -> None:
        """Keep the engine; nothing is asked yet."""
        self.engine = engine
        self._sleep = sleep

    def pages(
        self, run: Run, columns: Sequence[str], *, states: Collection[MoveState] | None = None, window: int = WINDOW
    ) -> Iterator[Sequence[Row[Any]]]:
        """The moves that the run has now, page by page, each page as it is when it is read; only those in *states*, if given.

        A statement that fails for a reason of the moment is repeated: it reads by id, so that nothing comes twice or is left out.

        Raises:
            DatabaseUnavailableError: The database did not come back within about a minute.
        """
        wanted = [losses.c.attributes.label(NOT_KEPT) if name == NOT_KEPT else moves.c[name] for name in columns]
        statement = select(*wanted).where(moves.c.run_no == run.no).order_by(moves.c.id)
        if NOT_KEPT in columns:
            statement = statement.outerjoin_from(moves, losses, and_(losses.c.run_no == moves.c.run_no, losses.c.move_id == moves.c.id))
        if states is not None:
            statement = statement.where(moves.c.state.in_(sorted(states)))
        last = self._last(run)
        for first in range(1, last + 1, window):
            page = statement.where(moves.c.id.between(first, min(first + window - 1, last)))
            rows = self._read(lambda page=page: self._rows(page))  # type: ignore[misc]
            if rows:
                yield rows

    def held(self, run: Run) -> Held:
        """What the deletes of a run in a versioned bucket have not freed."""
        objects = size = 0
        deleted = (moves.c.run_no == run.no, moves.c.state == MoveState.DELETED, moves.c.intent_at.is_not(None))
        total = select(func.count(), func.coalesce(func.sum(moves.c.source_size), 0)).where(*deleted)
        for first in range(1, self._last(run) + 1, SUMMED):
            window = total.where(moves.c.id.between(first, first + SUMMED - 1))
            found: Sequence[Any] = self._read(lambda window=window: self._rows(window))[0]  # type: ignore[misc]
            objects, size = objects + int(found[0]), size + int(found[1])
        return Held(objects, size)

    def _last(self, run: Run) -> int:
        return int(self._read(lambda: self._rows(select(func.max(moves.c.id)).where(moves.c.run_no == run.no)))[0][0] or 0)

    def run_id(self, no: int) -> str | None:
        """The id of the run with number *no*."""
        found = self._read(lambda: self._rows(select(runs.c.id).where(runs.c.no == no)))
        return str(found[0][0]) if found else None

    def _rows(self, statement: Any) -> Sequence[Row[Any]]:  # noqa: ANN401 - a Select
        with transaction(self.engine, read_only=True) as connection:
            return connection.execute(statement).all()

    def _read(self, question: Callable[[], Sequence[Row[Any]]]) -> Sequence[Row[Any]]:
        for attempt in range(1, TRIES):
            try:
                return question()
            except DatabaseUnavailableError:
                self._sleep(delay(attempt, base=1.0, cap=LONGEST_WAIT_SECONDS, jitter=None))
        return question()
