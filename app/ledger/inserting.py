"""New rows of rekey_moves, a page at once: one statement with arrays on PostgreSQL, one execution a row elsewhere.

A statement a row was half of what the seed cost, on both sides of the connection. What is the same in all rows of a page, which is most
of it, goes as one value: a page has few such forms, so that PostgreSQL prepares each once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

from sqlalchemy import Connection, bindparam, cast, insert, select

from app.arrays import side_by_side
from app.schema import moves

TOGETHER = 500  # rows a statement: their values as texts are some 500 KB, which a page of 2000 would have in memory at once


def insert_moves(connection: Connection, rows: Sequence[Mapping[str, Any]]) -> None:
    """Insert *rows*, which all have the same columns; all or none of them.

    Raises:
        IntegrityError: A live move has one of their new keys, or the run has one of their numbers or rows.
    """
    if not rows:
        return
    if connection.dialect.name != "postgresql":
        connection.execute(insert(moves), list(rows))
        return
    for first in range(0, len(rows), TOGETHER):
        _insert(connection, rows[first : first + TOGETHER])


def _insert(connection: Connection, rows: Sequence[Mapping[str, Any]]) -> None:
    columns = {name: [row[name] for row in rows] for name in rows[0]}
    alike = frozenset(name for name, values in columns.items() if name != "id" and values.count(values[0]) == len(values))
    given = {_parameter(name): values[0] if name in alike else values for name, values in columns.items()}
    connection.execute(_statement(tuple(columns), alike), given)


def _parameter(name: str) -> str:
    # psycopg analyses a text of more than 4 KiB anew each time.
    return f"p{_NUMBERS[name]}"


_NUMBERS = {column.name: number for number, column in enumerate(moves.c)}


@lru_cache(maxsize=64)
def _statement(names: Sequence[str], alike: frozenset[str]) -> Any:  # noqa: ANN401 - an Insert
    page = side_by_side({_parameter(name): moves.c[name].type for name in names if name not in alike})
    values = [
        cast(bindparam(_parameter(name), type_=moves.c[name].type), moves.c[name].type) if name in alike else page.c[_parameter(name)]
        for name in names
    ]
    return insert(moves).from_select(list(names), select(*values).select_from(page))
