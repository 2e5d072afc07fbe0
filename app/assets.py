"""The client's assets table: pages by key, rows by id, who names an object, and the compare-and-swap of the key column.

Names are reflected from the database and quoted by SQLAlchemy; values are bound. Only the key column is ever written (S5).
"""

from __future__ import annotations

import datetime as dt
import operator
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from copy import copy
from dataclasses import dataclass
from typing import Any

from sqlalchemy import (
    Column,
    ColumnElement,
    Connection,
    Date,
    Engine,
    Integer,
    String,
    Uuid,
    bindparam,
    collate,
    func,
    literal_column,
    or_,
    select,
    text,
    tuple_,
)

from app import column_fitness as fitness
from app import row_ids
from app.arrays import among
from app.column_roles import shared_column
from app.database import translated
from app.errors import UsageError
from app.id_order import compared
from app.key_switch import KeySwitch
from app.object_keys import Equivalence
from app.reflection import column, referring, reflect

STRETCH_ROWS = 50_000  # that a page with a WHERE goes through: some 50 ms
MANY = 2000  # rows that name one object: more are not read
ENOUGH = 1000  # of many, so many that surely name the object: fewer are all that do
NAMES_A_QUERY = 500  # object keys asked for in one statement; SQLite takes 32766 values, and a key has a few spellings


@dataclass(frozen=True, slots=True, kw_only=True)
class AssetRow:
    """One row as the planner needs it; the values are as the database gave them."""

    id: tuple[object, ...]
    row_id: str  # the id as text (app.row_ids)
    client: object
    key: object
    name: object  # NAME_COLUMN's value, or None where there is no such column
    columns: Mapping[str, object]  # for {col.NAME} of the template


@dataclass(frozen=True, slots=True)
class Naming:
    """A row that names an object: *row_id* is None for a row of a table in REFERENCES, and for one without an id."""

    row_id: str | None
    key: str
    is_reference: bool = False  # of a table in REFERENCES: it has no object of its own, but follows an asset


@dataclass(frozen=True, slots=True, kw_only=True)
class TableNames:
    """How the table and its columns are called, as the settings say."""

    table: str
    id_columns: tuple[str, ...]
    client_column: str
    key_column: str
    name_column: str | None
    template_columns: tuple[str, ...]
    where: str | None
    references: tuple[str, ...]
    version_column: str | None


class Assets:
    """Reads and switches the rows of one assets table; every method takes the caller's connection, so that it can share a transaction."""

    def __init__(self, engine: Engine, names: TableNames, equivalence: Equivalence) -> None:
        """Reflect the table.

        Raises:
            UsageError: The table or a column is not there.
        """
        self._names = names
        self._equivalence = equivalence
        with translated():
            self._table = reflect(engine, names.table)
            self._ids = [column(self._table, name, setting="REKEY_ID_COLUMN") for name in names.id_columns]
            self._client = column(self._table, names.client_column, setting="REKEY_CLIENT_COLUMN")
            self._key = column(self._table, names.key_column, setting="REKEY_KEY_COLUMN")
            self._name = column(self._table, names.name_column, setting="REKEY_NAME_COLUMN") if names.name_column else None
            self._extra = [column(self._table, name, setting="REKEY_TEMPLATE") for name in names.template_columns]
            self._version = column(self._table, names.version_column, setting="REKEY_VERSION_COLUMN") if names.version_column else None
            self._references = [referring(engine, name) for name in names.references]
        # Made once: what SQLAlchemy needs to make a statement is more than what it needs to run it.
        on_postgresql = engine.dialect.name == "postgresql"
        self._by_id = self._select().where(self._among("ids")).order_by(*self._ids)
        self._locking = self._by_id.with_for_update(of=self._table) if on_postgresql else self._by_id.with_for_update()
        self._naming = [select(*self._ids, self._key).where(among(self._key, "spellings")).limit(MANY + 1)]
        self._naming += [select(reference).where(among(reference, "spellings")).limit(MANY + 1) for reference in self._references]
        self._dotted = [select(*self._ids, self._key).where(_has_dots(self._key))] if equivalence.folds_dots else []
        self._dotted += [select(column).where(_has_dots(column)) for column in self._references if equivalence.folds_dots]
        self._of_clients: ColumnElement[bool] | None = None
        self._clients: frozenset[str] | None = None
        self._dialect = engine.dialect
        self._switch = KeySwitch(engine.dialect.name, ids=self._ids, key=self._key, version=self._version)

    def refuse_unfit(self) -> None:
        """See that a run can write what it has to into this table, and nothing else; for the start of a run, since readers need less.

        Raises:
            UsageError: A column cannot be what the settings make of it.
        """
        names = self._names
        shared = shared_column(
            ids=names.id_columns,
            client=names.client_column,
            key=names.key_column,
            name=names.name_column,
            template=names.template_columns,
            version=names.version_column,
        )
        if shared is not None:
            raise UsageError(shared)
        on_sqlite = self._dialect.name == "sqlite"
        fitness.refuse_no_text(self._key, "REKEY_KEY_COLUMN", on_sqlite=on_sqlite)
        fitness.refuse_read_only(self._key, "REKEY_KEY_COLUMN")
        if self._version is not None:
            fitness.refuse_no_counter(self._version, "REKEY_VERSION_COLUMN")
            fitness.refuse_read_only(self._version, "REKEY_VERSION_COLUMN")
        for name, reference in zip(names.references, self._references, strict=True):
            fitness.refuse_no_text(reference, "REKEY_REFERENCES", on_sqlite=on_sqlite)
            if self._is_key(reference):
                raise UsageError(f"REKEY_REFERENCES has {name!r}, which is REKEY_KEY_COLUMN of REKEY_TABLE: leave it out")

    def _is_key(self, reference: Column[Any]) -> bool:
        places = [(table.schema or self._dialect.default_schema_name, table.name) for table in (self._table, reference.table)]
        return places[0] == places[1] and reference.name == self._key.name

    @property
    def key_type(self) -> object:
        """The SQL type of the key column."""
        return self._key.type

    @property
    def longest_key(self) -> int | None:
        """How many characters the key column takes, where it is bounded."""
        return self._key.type.length if isinstance(self._key.type, String) else None

    def of_clients(self, clients: Sequence[str]) -> Assets:
        """The same table, of which nothing but the rows of *clients* is paged and counted; this one, where none are named.

        Raises:
            UsageError: No row can have such a client.
        """
        if not clients:
            return self
        values = _client_values(self._client, clients)
        mine = copy(self)
        mine._of_clients, mine._clients = among(self._client, values), frozenset(map(_text_of, values))  # noqa: SLF001 - a copy of this
        return mine

    def count(self, connection: Connection) -> int:
        """How many rows the run's WHERE selects."""
        return int(connection.execute(self._filtered(select(func.count()).select_from(self._table))).scalar_one())

    def page(self, connection: Connection, *, after: str | None, limit: int) -> list[AssetRow]:
        """The next *limit* rows in the order of their id, beyond the row id *after* (keyset paging: case 35)."""
        return self._page(connection, after=after, upto=None, limit=limit)

    def stretch(self, connection: Connection, *, after: str | None, limit: int) -> tuple[list[AssetRow], str | None]:
        """The next rows, *limit* at most, and the row id to go on from; None at the end of the table.

        Perhaps none: under a WHERE that few rows meet, a statement goes through STRETCH_ROWS of the table and no further (H30).
        """
        upto = self._end_of_stretch(connection, after) if self._is_filtered else None
        rows = self._page(connection, after=after, upto=upto, limit=limit)
        beyond = rows[-1].row_id if len(rows) == limit else upto
        return [row for row in rows if self._clients is None or _text_of(row.client) in self._clients], beyond

    def stretch_of_ids(self, connection: Connection, *, after: str | None) -> tuple[list[str], str | None]:
        """As ``stretch``, the ids of the next STRETCH_ROWS rows: what a sample is chosen from."""
        upto = self._end_of_stretch(connection, after) if self._is_filtered else None
        statement = self._up_to(self._in_order(self._filtered(select(*self._ids)), connection, after=after), connection, upto)
        ids = [_row_id(values) for values in connection.execute(statement.limit(STRETCH_ROWS))]
        return ids, ids[-1] if len(ids) == STRETCH_ROWS else upto

    @property
    def _is_filtered(self) -> bool:
        return bool(self._names.where) or self._of_clients is not None

    def _end_of_stretch(self, connection: Connection, after: str | None) -> str | None:
        statement = self._in_order(select(*self._ids), connection, after=after).offset(STRETCH_ROWS - 1).limit(1)
        found = connection.execute(statement).one_or_none()
        return None if found is None else _row_id(found)

    def _page(self, connection: Connection, *, after: str | None, upto: str | None, limit: int) -> list[AssetRow]:
        statement = self._up_to(self._in_order(self._filtered(self._select()), connection, after=after), connection, upto)
        return [self._row(values) for values in connection.execute(statement.limit(limit))]

    def _up_to(self, statement: Any, connection: Connection, upto: str | None) -> Any:  # noqa: ANN401 - a Select of any shape
        if upto is None:
            return statement
        return statement.where(compared(self._ids, row_ids.from_text(upto), how=operator.le, dialect=connection.dialect.name))

    def _in_order(self, statement: Any, connection: Connection, *, after: str | None) -> Any:  # noqa: ANN401 - a Select of any shape
        if after is not None:
            statement = statement.where(compared(self._ids, row_ids.from_text(after), how=operator.gt, dialect=connection.dialect.name))
        named = [column.is_not(None) for column in self._ids]  # SQLite takes a primary key that is NULL; nothing can address such a row
        return statement.where(*named).order_by(*self._ids)

    def count_nameless(self, connection: Connection) -> int:
        """How many rows have no id, so that no page shows them."""
        nullable = [column.is_(None) for column in self._ids if column.nullable]
        if not nullable:
            return 0
        statement = self._filtered(select(func.count()).select_from(self._table)).where(or_(*nullable))
        return int(connection.execute(statement).scalar_one())

    def rows(self, connection: Connection, ids: Sequence[str], *, lock: bool = False, selected: bool = False) -> dict[str, AssetRow]:
        """Rows by their id, those that are there; with *lock* they stay ours until the transaction ends. *selected*: under WHERE only."""
        if not ids:
            return {}
        statement = self._locking if lock else self._by_id
        if selected:
            statement = self._filtered(statement)
        return {row.row_id: row for row in (self._row(values) for values in connection.execute(statement, self._given(ids)))}

    def selected(self, connection: Connection, ids: Sequence[str]) -> set[str]:
        """Those of the row ids that are there and that the run's WHERE selects."""
        if not ids:
            return set()
        statement = self._filtered(select(*self._ids)).where(self._among("ids"))
        return {_row_id(values) for values in connection.execute(statement, self._given(ids))}

    def naming(self, connection: Connection, keys: Iterable[str]) -> dict[str, list[Naming]]:
        """Who names the objects of *keys*: whole table, no WHERE, and REFERENCES; by canonical key. Of very many, some.

        The database finds candidates under its own collation; what counts is the store's equivalence, decided here (H6). Where the store
        cleans keys as paths (``..``), no list holds all spellings of an object, and every row with dots in its key is a candidate.
        """
        wanted = {self._equivalence.canonical(key) for key in keys}
        spellings = sorted({spelling for key in wanted for spelling in self._equivalence.variants(key)})
        found: dict[str, list[Naming]] = {}
        for start in range(0, len(spellings), NAMES_A_QUERY):
            chunk = spellings[start : start + NAMES_A_QUERY]
            own, *others = self._naming
            rows = _some(connection, own, self._key, chunk)
            candidates = [Naming(None if None in values[:-1] else _row_id(values[:-1]), values[-1]) for values in rows]
            for statement, reference in zip(others, self._references, strict=True):
                candidates += [Naming(None, value, is_reference=True) for (value,) in _some(connection, statement, reference, chunk)]
            self._sort(candidates, found, wanted)
        for statement in self._dotted if wanted else []:
            named = ((values[:-1], values[-1]) for values in connection.execute(statement))
            self._sort(
                (Naming(None if not ids or None in ids else _row_id(ids), key, is_reference=not ids) for ids, key in named), found, wanted
            )
        return found

    def _sort(self, candidates: Iterable[Naming], found: dict[str, list[Naming]], wanted: Collection[str]) -> None:
        """Put those that name an object of *wanted* into *found*."""
        for naming in candidates:
            canonical = self._equivalence.canonical(naming.key) if isinstance(naming.key, str) else None
            if canonical in wanted:
                found.setdefault(canonical, []).append(naming)

    def set_keys(self, connection: Connection, switches: Sequence[tuple[AssetRow, str]]) -> None:
        """Write the new key into rows that the caller has locked and compared; no other column but VERSION_COLUMN changes."""
        if switches:
            self._switch.execute(connection, [(*row.id, row.key, new) for row, new in switches])

    def _select(self) -> Any:  # noqa: ANN401 - a Select of as many columns as there are
        name = [self._name] if self._name is not None else []
        return select(*self._ids, self._client, self._key, *name, *self._extra)

    def _filtered(self, statement: Any) -> Any:  # noqa: ANN401 - a Select of any shape
        if self._of_clients is not None:
            statement = statement.where(self._of_clients)
        if not self._names.where:
            return statement
        return statement.where(text("(" + self._names.where.replace(":", r"\:") + ")"))  # a colon in the operator's SQL is no parameter

    def _row(self, values: Any) -> AssetRow:  # noqa: ANN401 - a Row of as many columns as there are
        ids = len(self._ids)
        rest = list(values[ids + 2 :])
        return AssetRow(
            id=tuple(values[:ids]),
            row_id=_row_id(values[:ids]),
            client=values[ids],
            key=values[ids + 1],
            name=rest.pop(0) if self._name is not None else None,
            columns=dict(zip(self._names.template_columns, rest, strict=True)),
        )

    def _among(self, name: str) -> ColumnElement[bool]:
        """The rows whose ids the parameter *name* will have, as ``_given`` gives them."""
        if len(self._ids) == 1:
            return among(self._ids[0], name)
        return tuple_(*self._ids).in_(bindparam(name, expanding=True))

    def _given(self, ids: Sequence[str]) -> dict[str, list[Any]]:
        values = [row_ids.from_text(row_id) for row_id in ids]
        return {"ids": [first for (first,) in values] if len(self._ids) == 1 else values}


def _some(connection: Connection, statement: Any, key: Column[Any], spellings: Sequence[str]) -> list[Any]:  # noqa: ANN401 - a Select
    """The rows with one of *spellings* in the column *key*; where a million rows share an object, enough of them."""
    rows = list(connection.execute(statement, {"spellings": spellings}))
    if len(rows) <= MANY:
        return rows
    if len(spellings) > 1:
        half = len(spellings) // 2
        return _some(connection, statement, key, spellings[:half]) + _some(connection, statement, key, spellings[half:])
    # The many may be other keys to us, and the same to the table's collation: those that are this key for sure must be among them.
    surely = statement.where(_bytes(connection, key) == spellings[0]).limit(ENOUGH)
    return rows + list(connection.execute(surely, {"spellings": spellings}))


def _client_values(client: Column[Any], texts: Sequence[str]) -> list[Any]:
    """The clients' ids as the column has them, from how a person writes them."""
    read: Callable[[str], Any] = dt.date.fromisoformat if isinstance(client.type, Date) else str
    if isinstance(client.type, Integer | Uuid):
        read = client.type.python_type
    try:
        return [read(text) for text in texts]
    except ValueError:
        raise UsageError(f"--client: the column {client.name!r} holds no such value as {', '.join(map(repr, texts))}") from None


def _text_of(client: object) -> str:
    """A client's id as a person writes it; the database's own comparison may take two for one."""
    return "" if client is None else str(client).strip()


def _has_dots(key: Column[Any]) -> ColumnElement[bool]:
    """Whether a segment may be ``.`` or ``..``: a statement that goes through the whole table, for stores over a folder of files."""
    return or_(*(key.like(pattern) for pattern in ("%./%", "%/.", "%/..")))


def _bytes(connection: Connection, key: Column[Any]) -> ColumnElement[Any]:
    """The column *key*, compared byte for byte."""
    kind = connection.dialect.name
    if kind in {"mysql", "mariadb"}:
        return collate(func.convert(key.op("USING")(literal_column("utf8mb4"))), "utf8mb4_bin")
    return collate(key, "BINARY" if kind == "sqlite" else "C")


def _row_id(values: Sequence[object]) -> str:
    try:
        return row_ids.to_text(values)
    except TypeError as error:
        raise UsageError(f"REKEY_ID_COLUMN: {error}") from None
