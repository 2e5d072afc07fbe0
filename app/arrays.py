"""Many values in one statement: on PostgreSQL as an array, in one parameter; elsewhere as a parameter each.

So the text of a statement stays the same however many values it is given: PostgreSQL prepares it once. The array goes as a text that is
made here, since psycopg takes ten times as long for one.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, Self

from sqlalchemy import CHAR, Boolean, ColumnElement, Integer, LargeBinary, String, Uuid, any_, bindparam, cast, func, sql
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import FunctionElement
from sqlalchemy.sql.selectable import TableValuedAlias
from sqlalchemy.types import TypeEngine, UserDefinedType

_ITEMS = (Integer, String, LargeBinary, Uuid)  # what columns hold that are compared with an array


class _ArrayText(UserDefinedType[Sequence[Any]]):
    """A sequence as the text that PostgreSQL takes for an array.

    Sent without a type: as a TEXT it would be cast while the statement runs, for each row where that has no index to use.
    """

    cache_ok = True

    def bind_processor(self, dialect: object) -> Callable[[Sequence[Any] | None], str]:  # noqa: ARG002 - SQLAlchemy's own signature
        """What makes the text."""
        return lambda values: array_text(values or ())


def side_by_side(kinds: Mapping[str, TypeEngine[Any]]) -> TableValuedAlias:
    """The parameters *kinds*, a sequence each, as the columns of a table, on PostgreSQL."""
    arrays = [cast(bindparam(name, type_=_ArrayText()), ARRAY(kind)) for name, kind in kinds.items()]
    columns = [sql.column(name, kind) for name, kind in kinds.items()]
    return func.unnest(*arrays).table_valued(*columns).render_derived("g")


def goes_in_array(column: ColumnElement[Any]) -> bool:
    """Whether *column* compares with an item of an array as it does with a single value; others (char) have an operator of their own."""
    return isinstance(column.type, _ITEMS) and not isinstance(column.type, CHAR)


def among(column: ColumnElement[Any], values: Collection[Any] | str) -> ColumnElement[bool]:
    """``column IN (values)``, on PostgreSQL ``column = ANY (array)``; a text names the parameter that will have the values."""
    if isinstance(values, str):
        one_each = bindparam(values, type_=column.type, expanding=True)
        together = bindparam(values, type_=_ArrayText())
    else:
        listed = list(values)
        one_each = bindparam(None, listed, type_=column.type, expanding=True, unique=True)
        together = bindparam(None, listed, type_=_ArrayText(), unique=True)
    if not goes_in_array(column):
        return column.in_(one_each)  # an array of another type might be compared by another operator than its items (citext, char)
    return _PerDialect(column == any_(cast(together, ARRAY(column.type))), column.in_(one_each))


def array_text(values: Sequence[Any]) -> str:
    """PostgreSQL's text of an array of integers, truth values, texts, bytes or UUIDs, None among them."""
    if len(values) > 1 and values.count(values[0]) == len(values):
        return "{" + ",".join([_item(values[0])] * len(values)) + "}"
    return "{" + ",".join(map(_item, values)) + "}"


def _item(value: object) -> str:
    if value is None:
        return "NULL"
    if isinstance(value, str):
        if "\\" in value or '"' in value:
            value = value.replace("\\", "\\\\").replace('"', '\\"')
        return f'"{value}"'
    if isinstance(value, bytes):
        return f'"\\\\x{value.hex()}"'
    if isinstance(value, bool):
        return "t" if value else "f"
    return str(value)


class _PerDialect(FunctionElement[bool]):
    """Two conditions that say the same: the first for PostgreSQL, the second for the others."""

    type = Boolean()
    inherit_cache = True

    def self_group(self, against: Any = None) -> Self:  # noqa: ANN401, ARG002 - SQLAlchemy's own signature
        """As it stands: where there is no Boolean, SQLAlchemy would write ``id IN (...) = 1``, which reads, and locks, every row."""
        return self


@compiles(_PerDialect)
def _elsewhere(element: _PerDialect, compiler: Any, **options: Any) -> str:  # noqa: ANN401 - SQLAlchemy's own signature
    _, condition = element.clauses
    return str(compiler.process(condition, **options))


@compiles(_PerDialect, "postgresql")
def _on_postgresql(element: _PerDialect, compiler: Any, **options: Any) -> str:  # noqa: ANN401 - SQLAlchemy's own signature
    condition, _ = element.clauses
    return str(compiler.process(condition, **options))
