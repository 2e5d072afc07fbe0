"""Transactions as scheduling points, each played in earnest once: what it answers and writes follows from what was before it.

SQLAlchemy takes nine tenths of a schedule's time and SQLite none to speak of. A schedule is played again from its beginning for each
choice in it, so nearly all of its transactions were seen before, by the same party that had seen the same, upon tables of the same
content. Of those the answers are given again, and the writes are done again by SQLite alone.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

from sqlalchemy import Connection, Engine, exc

from app import database
from app.errors import OutcomeUnknownError
from tests.model.choices import CRASH, DivergedError

if TYPE_CHECKING:
    from tests.model.ground import Ground

CLOCK = ("clock", False)
UNKNOWN = "committed, and the reply is lost"
UNDONE = "the connection breaks, and nothing is committed"
MOST = 20_000  # transactions remembered at once


class _UndoneError(Exception):
    """Rolls a transaction back whose COMMIT never arrives."""


@dataclass(slots=True)
class Answer:
    """What a statement gave, as often as it is asked for: the part of SQLAlchemy's Result that the product uses."""

    rows: Sequence[Any]
    rowcount: int

    def __iter__(self) -> Iterator[Any]:
        return iter(self.rows)

    def all(self) -> list[Any]:
        """Every row."""
        return list(self.rows)

    def first(self) -> Any:  # noqa: ANN401 - a row
        """The first row, if there is one."""
        return self.rows[0] if self.rows else None

    one_or_none = first

    def one(self) -> Any:  # noqa: ANN401 - a row
        """The only row."""
        (row,) = self.rows
        return row

    def scalar_one(self) -> Any:  # noqa: ANN401 - a value
        """The only row's first value."""
        return self.one()[0]

    def scalar_one_or_none(self) -> Any:  # noqa: ANN401 - a value
        """The first value, if there is a row."""
        return self.rows[0][0] if self.rows else None

    scalar = scalar_one_or_none

    def scalars(self) -> Answer:
        """The first value of each row."""
        return Answer([row[0] for row in self.rows], self.rowcount)

    def mappings(self) -> Answer:
        """The rows as mappings."""
        return Answer([MappingProxyType(dict(row._mapping)) for row in self.rows], self.rowcount)


@dataclass(slots=True)
class Played:
    """One transaction: its answers, its writes as SQLite got them, and the tables it touched."""

    answers: list[Answer] = field(default_factory=list)
    writes: list[tuple[str, Any, bool]] = field(default_factory=list)
    touches: set[tuple[str, bool]] = field(default_factory=set)
    upon: dict[str, int] = field(default_factory=dict)  # the content of the tables before


@dataclass(slots=True)
class Wire:
    """Stands for a Connection: gives the answers of a transaction that was played before, or plays it and notes them."""

    played: Played
    real: Connection | None
    dialect: Any
    at: int = 0

    def execute(self, statement: Any, values: Any = None) -> Answer:  # noqa: ANN401 - as Connection
        """The answer to a statement."""
        if self.real is None:
            if self.at >= len(self.played.answers):
                raise DivergedError("a transaction asks more than it did before")
            answer = self.played.answers[self.at]
            self.at += 1
            return answer
        result = self.real.execute(statement, values)
        answer = Answer(result.all() if result.returns_rows else (), result.rowcount)
        self.played.answers.append(answer)
        return answer


class Transactions:
    """The transactions of one world."""

    def __init__(self, ground: Ground) -> None:
        self._ground = ground
        self._known: dict[int, list[Played]] = {}
        self._playing: Played | None = None
        self.played = 0
        self.repeated = 0

    def note(self, statement: str, values: Any, *, many: bool, touches: Sequence[tuple[str, bool]]) -> None:  # noqa: ANN401 - the driver's
        """A statement is about to go to SQLite."""
        if self._playing is not None:
            self._playing.touches.update(touches)
            if any(write for _, write in touches):
                self._playing.writes.append((statement, values, many))

    @contextmanager
    def transaction(self, engine: Engine, *, read_only: bool = False, single: bool = False) -> Iterator[Any]:
        """Stands for ``app.database.transaction``."""
        execution = self._ground.execution
        if execution is None or not execution.current:
            with _REAL(engine, read_only=read_only, single=single) as connection:
                yield connection
            return
        faults = (CRASH,) if read_only else (CRASH, *self._ground.commit_faults)
        fault = execution.point("SQL: read" if read_only else "SQL: write", CLOCK, faults=faults, opaque="table")
        contents = self._ground.contents_of.tables()
        found = self._find(execution.seeing, contents)
        if found is not None:
            yield from self._again(found, engine, undo=fault == UNDONE)
        else:
            with suppress(_UndoneError):
                yield from self._first(engine, execution.seeing, contents, read_only=read_only, single=single, undo=fault == UNDONE)
        if fault in {UNDONE, UNKNOWN}:
            raise OutcomeUnknownError("the connection to the database broke during COMMIT")

    def _find(self, seeing: int, contents: Mapping[str, int]) -> Played | None:
        for played in self._known.get(seeing, ()):
            if all(contents[name] == content for name, content in played.upon.items()):
                return played
        return None

    def _again(self, known: Played, engine: Engine, *, undo: bool) -> Iterator[Wire]:
        self.repeated += 1
        self._touched(known)
        yield Wire(known, None, engine.dialect)  # unless it is rolled back
        for statement, values, many in known.writes if not undo else ():
            (self._ground.raw.executemany if many else self._ground.raw.execute)(statement, values)

    def _first(
        self, engine: Engine, seeing: int, contents: Mapping[str, int], *, read_only: bool, single: bool, undo: bool
    ) -> Iterator[Wire]:
        self.played += 1
        self._playing = played = Played()
        if len(self._known) >= MOST:
            self._known.clear()
        fails = False
        try:
            with _REAL(engine, read_only=read_only, single=single) as connection:
                yield Wire(played, connection, engine.dialect)
                if undo:
                    raise _UndoneError
        except exc.SQLAlchemyError:
            fails = True  # its answers do not tell
            raise
        finally:
            self._playing = None
            played.upon = {name: contents[name] for name, _ in played.touches}
            self._touched(played)
            if not fails:
                self._known.setdefault(seeing, []).append(played)

    def _touched(self, played: Played) -> None:
        execution = self._ground.execution
        if execution is not None:
            execution.saw = hash(tuple(sorted(played.upon.items())))
            for name, write in played.touches:
                execution.touch(name, write=write)

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
