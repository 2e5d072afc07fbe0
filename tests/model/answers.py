"""Connections as the product sees them, and what a statement gave, kept."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from sqlalchemy import Connection
from sqlalchemy.dialects import sqlite

from app import database

_NOW_TEXT = str(database._NOW.compile(dialect=sqlite.dialect()))


@dataclass(slots=True)
class Answer:
    """What a statement gave, as often as it is asked for: the part of SQLAlchemy's Result that the product uses."""

    rows: Sequence[Any]
    rowcount: int

    @property
    def returns_rows(self) -> bool:
        """Whether it was a question."""
        return self.rowcount < 0 or bool(self.rows)

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


@dataclass(frozen=True, slots=True)
class Straight:
    """Stands for a Connection, and asks for the time, as every sixth statement does, without the way through SQLAlchemy."""

    real: Connection
    raw: Any

    @property
    def dialect(self) -> Any:  # noqa: ANN401 - SQLAlchemy's
        """The connection's own."""
        return self.real.dialect

    def execute(self, statement: Any, values: Any = None) -> Any:  # noqa: ANN401 - as Connection
        """What it gives for a statement."""
        if statement is database._NOW:
            return Answer((self.raw.execute(_NOW_TEXT).fetchone(),), -1)
        return self.real.execute(statement, values)
