"""READ COMMITTED for one database in memory: transactions whose statements are steps of their own (H20).

Between its statements nothing of an open transaction is in the database. Before each one all that it has written so far is written again,
upon whatever others have committed meanwhile, and afterwards undone. So a statement sees what is committed when it begins and what its own
transaction has written; rows that it writes or reads FOR UPDATE are its own until the end, and who wants one of them waits, and then goes
by the row as it is. That real PostgreSQL does the same is tested in tests/contract/ledger/test_read_committed.py.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

from sqlalchemy import Select, Update, select

from tests.model.actors import On
from tests.model.answers import Answer, Straight

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.model.execution import Execution

LOCKS = "locks"
Row = tuple[str, tuple[Any, ...]]  # table and primary key
Held = tuple[tuple[Row, str], ...]


class WaitsError(Exception):
    """Another transaction holds a row that is wanted."""


class _UndoneError(Exception):
    """Undoes what is written by the end of the transaction only."""


@dataclass(slots=True)
class Session:
    """An open transaction of *name*. *locks*: who holds which row, of all sessions; *begin*: a transaction of the one database."""

    name: str
    locks: dict[Row, str]
    begin: Callable[[], AbstractContextManager[Straight]]
    written: list[tuple[Any, Any]] = field(default_factory=list)

    def execute(self, statement: Any, values: Any = None) -> Answer:  # noqa: ANN401 - as Connection
        """The answer to a statement.

        Raises:
            WaitsError: It has to wait, and nothing of it is done.
        """
        with suppress(_UndoneError), self.begin() as connection:
            for before in self.written:
                connection.execute(*before)
            writes = statement.table if isinstance(statement, Update) else None
            there = self._rows(connection, writes)
            result = connection.execute(statement, values)
            answer = Answer(result.all() if result.returns_rows else (), result.rowcount)
            now = self._rows(connection, writes)
            locking = isinstance(statement, Select) and statement._for_update_arg is not None
            read = self._read_for_update(statement, answer) if locking else set()
            self._take(read | {key for key, row in there.items() if now.get(key) != row})
            raise _UndoneError
        if not isinstance(statement, Select):
            self.written.append((statement, values))
        return answer

    def commit(self) -> None:
        """Let the others see it."""
        with self.begin() as connection:
            for each in self.written:
                connection.execute(*each)
        self.release()

    def release(self) -> None:
        """Let go of all rows."""
        for row in [row for row, holder in self.locks.items() if holder == self.name]:
            del self.locks[row]

    def _take(self, rows: set[Row]) -> None:
        held = sorted(row for row in rows if self.locks.get(row, self.name) != self.name)
        if held:
            raise WaitsError(held[0])
        self.locks.update(dict.fromkeys(rows, self.name))

    @staticmethod
    def _rows(connection: Straight, table: Any) -> dict[Row, Any]:  # noqa: ANN401 - a table, or None
        if table is None:
            return {}
        keys = list(table.primary_key) or list(table.c)[:1]
        return {(table.name, tuple(row[: len(keys)])): tuple(row) for row in connection.execute(select(*keys, *table.c))}

    @staticmethod
    def _read_for_update(statement: Select[Any], answer: Answer) -> set[Row]:
        table: Any
        (table,) = statement.get_final_froms()
        keys = len(list(table.primary_key)) or 1  # they are asked for first
        return {(table.name, tuple(row[:keys])) for row in answer.rows}


@dataclass(slots=True)
class Stepwise:
    """Stands for a Connection, each statement a scheduling point."""

    execution: Execution
    session: Session
    dialect: Any

    def execute(self, statement: Any, values: Any = None) -> Answer:  # noqa: ANN401 - as Connection
        """The answer to a statement, once nobody else holds what it wants."""
        ready = None
        while True:
            self.execution.point(f"SQL: a statement of {self.session.name}", (LOCKS, True), ready=ready)
            try:
                return self.session.execute(statement, values)
            except WaitsError as error:
                ready = On((LOCKS,), partial(_is_free, error.args[0]))

    def end(self, *, commit: bool) -> None:
        """Commit, or give everything up."""
        if commit:
            self.execution.point("SQL: COMMIT", (LOCKS, True))
            self.session.commit()
        else:
            self.execution.touch(LOCKS, write=True)
            self.session.release()


def _is_free(row: Row, locks: Held | None) -> bool:
    return row not in dict(locks or ())
