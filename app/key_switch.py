"""The one statement that changes a client's row: the new key in the place of the old one, by compare-and-swap (S5)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Column, Connection, Enum, String, Text, Update, and_, bindparam, func, update
from sqlalchemy.types import TypeEngine

from app.arrays import goes_in_array, side_by_side


class KeySwitch:
    """Writes new keys into rows: on PostgreSQL all in one statement with arrays, elsewhere a statement a row."""

    def __init__(self, dialect: str, *, ids: Sequence[Column[Any]], key: Column[Any], version: Column[Any] | None) -> None:
        """Make the statement for a table with these columns."""
        self._columns = [*ids, key, key]
        self._names = [f"rekey_{number}" for number in range(len(self._columns))]
        self._at_once = dialect == "postgresql" and all(goes_in_array(each) for each in self._columns)
        self._statement = self._with_arrays(key, version) if self._at_once else self._by_row(key, version)

    def execute(self, connection: Connection, switches: Sequence[Sequence[Any]]) -> None:
        """Switch rows, each given as the values of its id, its old key and its new key; one whose key is another by now stays as it is."""
        if self._at_once:
            connection.execute(self._statement, dict(zip(self._names, zip(*switches, strict=True), strict=True)))
        else:
            connection.execute(self._statement, [dict(zip(self._names, values, strict=True)) for values in switches])

    def _with_arrays(self, key: Column[Any], version: Column[Any] | None) -> Update:
        given = side_by_side({name: _boundless(each.type) for name, each in zip(self._names, self._columns, strict=True)})
        return self._update([given.c[name] for name in self._names], key, version)

    def _by_row(self, key: Column[Any], version: Column[Any] | None) -> Update:
        return self._update([bindparam(name, type_=each.type) for name, each in zip(self._names, self._columns, strict=True)], key, version)

    def _update(self, given: Sequence[Any], key: Column[Any], version: Column[Any] | None) -> Update:
        *named, new = given
        values: dict[Any, Any] = {key: new}
        if version is not None:
            # The application's optimistic lock refuses its stale save (H14). NULL + 1 were NULL still, which no lock tells from before.
            values[version] = (func.coalesce(version, 0) if version.nullable else version) + 1
        where = and_(*(each == value for each, value in zip(self._columns, named, strict=False)))
        return update(key.table).where(where).values(values)


def _boundless(kind: TypeEngine[Any]) -> TypeEngine[Any]:
    """*kind* without a greatest length: a cast to VARCHAR(n) would cut a key off in silence, where the column refuses it (H11)."""
    if isinstance(kind, Enum):  # has a length in Python alone, and compares with nothing but itself
        return kind
    return Text() if isinstance(kind, String) and kind.length is not None else kind
