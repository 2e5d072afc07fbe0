"""Comparing the ids of rows, of one column or several, in the order that pages have (case 35)."""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from typing import Any

from sqlalchemy import Column, ColumnElement, Text, and_, bindparam, cast, literal, or_, tuple_

from app.key_values import is_utf8

How = Callable[[Any, Any], Any]  # operator.gt or operator.le


def compared(ids: Sequence[Column[Any]], values: Sequence[object], *, how: How, dialect: str) -> ColumnElement[bool]:
    """The rows whose *ids* compare so with *values*."""
    if dialect == "sqlite":
        values = [_as_stored(value) for value in values]
    if len(ids) == 1:
        return how(ids[0], values[0])  # type: ignore[no-any-return]
    if dialect in {"mysql", "mariadb"}:  # a row comparison there reads the whole index
        strictly: How = operator.lt if how is operator.le else how
        ways = [*(strictly for _ in ids[1:]), how]
        return or_(
            *(and_(*(ids[before] == values[before] for before in range(at)), way(ids[at], values[at])) for at, way in enumerate(ways))
        )
    given = (
        value if isinstance(value, ColumnElement) else bindparam(None, value, type_=column.type)
        for column, value in zip(ids, values, strict=True)
    )
    return how(tuple_(*ids), tuple_(*given))  # type: ignore[no-any-return]


def _as_stored(value: object) -> object:
    """A text that is no UTF-8, which SQLite may hold and its driver does not send, as the bytes that it is."""
    if isinstance(value, str) and not is_utf8(value):
        return cast(literal(value.encode("utf-8", "surrogateescape")), Text)
    return value
