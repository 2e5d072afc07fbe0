"""Reading all moves of a run for a report: a window of ids at a time, few columns, no objects made of them.

Ids of a run's moves are given out without gaps and committed in their order (``app.ledger.plans``), so a window of ids is a page of about
its length; those of a rollback are the ids of what it takes back, and may leave a window empty. A filter that few moves pass costs no
statement more than a window takes (H30: the server ends long statements).
"""

from __future__ import annotations

import time
from collections import namedtuple
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from operator import itemgetter
from typing import Any, TypeVar

from sqlalchemy import Engine, Row, and_, func, select

from app import archive
from app.backoff import delay
from app.database import transaction
from app.errors import DatabaseUnavailableError, StoreUnavailableError, UsageError
from app.ledger.archiving import LOST, Archived, archived
from app.ledger.records import Run
from app.object_store import ObjectStore
from app.schema import losses, moves, runs
from app.states import MoveState

WINDOW = 5000  # ids a statement: some megabytes, some 20 ms
SUMMED = 100_000  # ids a statement that only adds up
TRIES = 7  # of one window: an hour's report outlives a failover of a minute
LONGEST_WAIT_SECONDS = 30.0
NOT_KEPT = LOST
_Answer = TypeVar("_Answer")


@dataclass(frozen=True, slots=True)
class Held:
    """Old objects that were deleted by a marker, and the bytes that their versions still hold (at least: there may be older ones)."""

    objects: int = 0
    bytes: int = 0


class ReportLedger:
    """The moves of a run as plain rows, in the order of their ids: those in the ledger, and those that have left it for the bucket."""

    def __init__(
        self, engine: Engine, *, sleep: Callable[[float], None] = time.sleep, store: Callable[[], ObjectStore] | None = None
    ) -> None:
        """Keep the engine; nothing is asked yet. *store*: opens the bucket, where moves have left the ledger for it."""
        self.engine = engine
        self._sleep = sleep
        self._store = store
        self._opened: ObjectStore | None = None

    def pages(
        self,
        run: Run,
        columns: Sequence[str],
        *,
        states: Collection[MoveState] | None = None,
        window: int = WINDOW,
        after: int = 0,
    ) -> Iterator[Sequence[Any]]:
        """The moves that the run has now, page by page, each page as it is when it is read; beyond *after*, in *states* if given.

        A statement that fails for a reason of the moment is repeated: it reads by id, so that nothing comes twice or is left out.

        Raises:
            DatabaseUnavailableError: The database did not come back within about a minute.
            UsageError: Moves have left the ledger, and there is no store to read them from.
        """
        read = partial(self._window, run, columns, states)
        done, part = after, 0
        record, last = self._archived(run), self._last(run)
        while record.parts > part or done < last:
            if record.parts > part:
                head, gone = self._part(run, record, part)
                part += 1
                for first in range(done + 1, head.last + 1, window):
                    upto = min(first + window - 1, head.last)
                    left = [row for row in gone if first <= row["id"] <= upto and (states is None or row["state"] in states)]
                    if rows := _merged(columns, left, read(first, upto, numbered=True)):
                        yield rows
                done = max(done, head.last)
                continue
            upto = min(done + window, last)
            rows = read(done + 1, upto)
            record = self._archived(run)
            if record.parts > part:
                continue  # some of this window may have left before it was read: it is in the next part
            if rows:
                yield rows
            done = upto

    def _window(
        self,
        run: Run,
        columns: Sequence[str],
        states: Collection[MoveState] | None,
        first: int,
        last: int,
        *,
        numbered: bool = False,
    ) -> Sequence[Row[Any]]:
        wanted = [losses.c.attributes.label(NOT_KEPT) if name == NOT_KEPT else moves.c[name] for name in columns]
        number = [moves.c.id.label("number")] if numbered else []
        statement = select(*number, *wanted).where(moves.c.run_no == run.no, moves.c.id.between(first, last)).order_by(moves.c.id)
        if NOT_KEPT in columns:
            statement = statement.outerjoin_from(moves, losses, and_(losses.c.run_no == moves.c.run_no, losses.c.move_id == moves.c.id))
        if states is not None:
            statement = statement.where(moves.c.state.in_(sorted(states)))
        return self._read(lambda: self._rows(statement))

    def _archived(self, run: Run) -> Archived:
        def ask() -> Archived:
            with transaction(self.engine, read_only=True) as connection:
                return archived(connection, run.id) or Archived()

        return self._read(ask)

    def _part(self, run: Run, record: Archived, part: int) -> tuple[archive.Head, list[dict[str, Any]]]:
        if self._store is None:
            raise UsageError(f"moves of run {run.id[:8]} have left the ledger for the bucket: the settings of the store are needed")
        opened = self._opened = self._opened or self._store()
        return self._read(lambda: archive.read(opened, archive.key_of(run.id, record.session_of(part), part)))

    def held(self, run: Run) -> Held:
        """What the deletes of a run in a versioned bucket have not freed."""
        objects, size = self._archived(run).held
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

    def _read(self, question: Callable[[], _Answer]) -> _Answer:
        for attempt in range(1, TRIES):
            try:
                return question()
            except (DatabaseUnavailableError, StoreUnavailableError):
                self._sleep(delay(attempt, base=1.0, cap=LONGEST_WAIT_SECONDS, jitter=None))
        return question()


def _merged(columns: Sequence[str], gone: Sequence[dict[str, Any]], here: Sequence[Row[Any]]) -> Sequence[Any]:
    """What has left the ledger and what is in it, the latter with its number first, in the order of their numbers."""
    kind = namedtuple("kind", columns)  # type: ignore[misc] # noqa: PYI024 - of any columns, as a row is
    rows = {row["id"]: kind(*[row.get(name) for name in columns]) for row in gone}
    rows |= {row[0]: kind(*row[1:]) for row in here}  # what has come back since is newer in the ledger
    return [row for _, row in sorted(rows.items(), key=itemgetter(0))]
