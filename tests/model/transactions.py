"""Transactions as scheduling points: each is one step.

What the database answered is kept with the step, so that whoever is led there once more (tests.model.execution) needs no database.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

from sqlalchemy import Connection, Engine, exc

from app import database
from app.errors import OutcomeUnknownError
from tests.model.answers import Answer, Straight
from tests.model.choices import CRASH, DivergedError
from tests.model.committed import Row, Session, Stepwise

if TYPE_CHECKING:
    from tests.model.execution import Execution
    from tests.model.ground import Ground

UNKNOWN = "committed, and the reply is lost"
UNDONE = "the connection breaks, and nothing is committed"


class _UndoneError(Exception):
    """Rolls a transaction back whose COMMIT never arrives."""


@dataclass(slots=True)
class Wire:
    """Stands for a Connection, and keeps what that answers."""

    real: Straight
    answers: list[Answer] = field(default_factory=list)

    @property
    def dialect(self) -> Any:  # noqa: ANN401 - SQLAlchemy's
        """The connection's own."""
        return self.real.dialect

    def execute(self, statement: Any, values: Any = None) -> Answer:  # noqa: ANN401 - as Connection
        """The answer to a statement."""
        result = self.real.execute(statement, values)
        answer = Answer(result.all() if result.returns_rows else (), result.rowcount)
        self.answers.append(answer)
        return answer


@dataclass(slots=True)
class Echo:
    """Stands for a Connection, and gives the answers of a transaction that was played before."""

    answers: Sequence[Answer]
    dialect: Any
    at: int = 0

    def execute(self, _statement: Any, _values: Any = None) -> Answer:  # noqa: ANN401 - as Connection
        """The answer to a statement."""
        if self.at >= len(self.answers):
            raise DivergedError("a transaction asks more than it did before")
        self.at += 1
        return self.answers[self.at - 1]


class Transactions:
    """The transactions of one world."""

    def __init__(self, ground: Ground) -> None:
        self._ground = ground
        self._connection: Connection | None = None
        self.stepwise = False  # each statement of a transaction that writes is a step of its own
        self.locks: dict[Row, str] = {}

    @contextmanager
    def _real(self, engine: Engine, *, read_only: bool) -> Iterator[Straight]:
        """What ``app.database.transaction`` does, on one connection that is never given back: a third of the time."""
        raw = self._ground.raw.connection
        if self._connection is None:
            self._connection = engine.connect()
            self._connection.begin()
            raw.execute("COMMIT")
        raw.execute("BEGIN" if read_only else "BEGIN IMMEDIATE")
        try:
            with database.translated():
                yield Straight(self._connection, raw)
        except BaseException:
            raw.execute("ROLLBACK")
            raise
        raw.execute("COMMIT")

    @contextmanager
    def transaction(self, engine: Engine, *, read_only: bool = False, single: bool = False) -> Iterator[Any]:  # noqa: ARG002 - as that has
        """Stands for ``app.database.transaction``."""
        execution = self._ground.execution
        if execution is None or not execution.current:
            with self._real(engine, read_only=read_only) as connection:
                yield connection
            return
        faults = (CRASH,) if read_only else (CRASH, *self._ground.commit_faults)
        fault = execution.point("SQL: read" if read_only else "SQL: write", faults=faults)
        if self.stepwise and not read_only:
            yield from self._step_by_step(engine, execution)
            return
        before = execution.repeating
        if before is not None and before.answers is not None:
            yield Echo(before.answers, engine.dialect)
        else:
            with suppress(_UndoneError):
                yield from self._played(engine, execution, read_only=read_only, undo=fault == UNDONE)
        if fault in {UNDONE, UNKNOWN}:
            raise OutcomeUnknownError("the connection to the database broke during COMMIT")

    def _step_by_step(self, engine: Engine, execution: Execution) -> Iterator[Stepwise]:
        begin = partial(self._real, engine, read_only=False)
        transaction = Stepwise(execution, Session(execution.current, self.locks, begin), engine.dialect)
        try:
            yield transaction
        except BaseException:
            transaction.end(commit=False)
            raise
        transaction.end(commit=True)

    def _played(self, engine: Engine, execution: Execution, *, read_only: bool, undo: bool) -> Iterator[Wire]:
        record = execution.record
        assert record is not None
        try:
            with self._real(engine, read_only=read_only) as connection:
                wire = Wire(connection)
                record.answers = wire.answers
                yield wire
                if undo:
                    raise _UndoneError
        except exc.SQLAlchemyError:
            record.answers = None  # they do not tell
            raise
        finally:
            record.tell()

    @contextmanager
    def installed(self) -> Iterator[None]:
        """Let the product's modules use these transactions."""
        users = [
            module for name, module in list(sys.modules.items()) if name.startswith("app.") and vars(module).get("transaction") is _REAL
        ]
        with contextmanager_of([patch.object(module, "transaction", self.transaction) for module in users]):
            yield


_REAL = database.transaction


@contextmanager
def contextmanager_of(managers: Sequence[Any]) -> Iterator[None]:
    """All of them at once."""
    from contextlib import ExitStack  # noqa: PLC0415

    with ExitStack() as stack:
        for manager in managers:
            stack.enter_context(manager)
        yield
