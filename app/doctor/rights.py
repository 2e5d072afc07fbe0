"""May the database's user do what a run does? Each right is asked for without its statement being run."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from sqlalchemy import Column, Engine, Table, delete, exc, false, insert, null, select, update
from sqlalchemy import column as sql_column
from sqlalchemy import table as sql_table
from sqlalchemy import text as sql_text

from app import schema
from app.database import brief, is_denied, transaction
from app.reflection import column, split_name

if TYPE_CHECKING:
    from app.doctor.findings import Findings
    from app.settings import Settings

_VERBS = ("SELECT", "INSERT", "UPDATE", "DELETE")
# Where a table of this name is, whether the user may look into that schema, and whether the bare name means it.
_PLACES = sql_text(
    "SELECT n.nspname, has_schema_privilege(n.oid, 'USAGE'), pg_table_is_visible(c.oid) FROM pg_class c "
    "JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.relname = :name AND c.relkind IN ('r', 'p', 'v', 'f') ORDER BY 1"
)
_SEQUENCES = sql_text(
    "SELECT s.relname FROM pg_class s JOIN pg_depend d ON d.objid = s.oid JOIN pg_class t ON t.oid = d.refobjid "
    "WHERE t.relname = :name AND pg_table_is_visible(t.oid) "
    "AND CASE s.relkind WHEN 'S' THEN NOT has_sequence_privilege(s.oid, 'USAGE') END ORDER BY 1"
)


def check_schemas(engine: Engine, settings: Settings, found: Findings) -> bool:
    """Whether the user sees the schemas of assets table and ledger (PostgreSQL); a table in one that it does not see is absent to it."""
    hidden: set[str] = set()
    if engine.dialect.name == "postgresql":
        with transaction(engine, read_only=True) as connection:
            for place, name in (split_name(settings.table), (None, schema.meta.name)):
                rows = [row for row in connection.execute(_PLACES, {"name": name}) if place in {None, row[0]}]
                if not any(may_use and (visible or place) for _, may_use, visible in rows):
                    hidden |= {schema_name for schema_name, may_use, _ in rows if not may_use}
    for schema_name in sorted(hidden):
        _lacks(found, engine, "USAGE", f"SCHEMA {engine.dialect.identifier_preparer.quote(schema_name)}")
    return not hidden


def check_ledger_rights(engine: Engine, found: Findings) -> bool:
    """Whether the user may read and write the ledger's tables; those that are lacking are named by right."""
    lacking: dict[str, list[str]] = {}
    for table in schema.metadata.sorted_tables:
        for verb in _VERBS:
            if _lacks_right(engine, _statement(verb, table)):  # a table of a newer version is simply not there
                lacking.setdefault(verb, []).append(table.name)
    for verb, tables in lacking.items():
        _lacks(found, engine, verb, ", ".join(tables))
    sequences = list(_sequences(engine))
    if sequences:
        _lacks(found, engine, "USAGE", f"SEQUENCE {', '.join(sequences)}")
    return not lacking and not sequences


def check_asset_rights(engine: Engine, table: Table, settings: Settings, found: Findings) -> bool:
    """Whether the user may read the columns that the settings name, and write the key; rows cannot be locked without that."""
    named = [*settings.id_columns, settings.client_column, settings.key_column, settings.name_column, *settings.key_template.columns]
    read = [name for name in dict.fromkeys(named) if name]
    written = [name for name in (settings.key_column, settings.version_column) if name]
    may_read = _may(engine, "SELECT", table, [column(table, name) for name in read], found)
    return _may(engine, "UPDATE", table, [column(table, name) for name in written], found) and may_read


def check_reference_rights(engine: Engine, columns: Iterable[tuple[Table, Column[Any]]], found: Findings) -> None:
    """Whether the user may read the columns in REFERENCES."""
    for table, wanted in columns:
        _may(engine, "SELECT", table, [wanted], found)


def _may(engine: Engine, verb: str, table: Table, columns: list[Column[Any]], found: Findings) -> bool:
    statement = (
        select(*columns).where(false()) if verb == "SELECT" else update(table).where(false()).values({one: null() for one in columns})
    )
    refused = _refused(engine, statement)
    if refused is not None:
        quoted = engine.dialect.identifier_preparer
        names = ", ".join(quoted.quote(one.name) for one in columns)
        _lacks(found, engine, f"{verb} ({names})", quoted.format_table(table), why=f": {brief(refused)}")
    return refused is None


def _statement(verb: str, of: Table) -> Any:  # noqa: ANN401 - a statement of any kind
    bare = sql_table(of.name, *(sql_column(one.name) for one in of.primary_key))  # without the defaults that an INSERT would fill in
    if verb == "SELECT":
        return select(bare).where(false())
    empty = dict.fromkeys(bare.c, null())
    if verb == "INSERT":
        return insert(bare).values(empty)
    return update(bare).where(false()).values(empty) if verb == "UPDATE" else delete(bare).where(false())


def _lacks_right(engine: Engine, statement: Any) -> bool:  # noqa: ANN401 - a statement of any kind
    refused = _refused(engine, statement)
    return refused is not None and is_denied(refused)


def _refused(engine: Engine, statement: Any) -> exc.DBAPIError | None:  # noqa: ANN401 - a statement of any kind
    """What the database says against *statement*. EXPLAIN checks the rights and runs nothing, no trigger either."""
    sql = "EXPLAIN " + str(statement.compile(dialect=engine.dialect))
    try:
        with transaction(engine, read_only=True) as connection:
            connection.exec_driver_sql(sql)
    except exc.DBAPIError as error:
        return error
    return None


def _sequences(engine: Engine) -> Iterator[str]:
    """Those that number the rows of the ledger's tables, and that the user may not use."""
    if engine.dialect.name == "postgresql":
        with transaction(engine, read_only=True) as connection:
            for table in schema.metadata.sorted_tables:
                yield from connection.execute(_SEQUENCES, {"name": table.name}).scalars()


def _lacks(found: Findings, engine: Engine, right: str, what: str, *, why: str = "") -> None:
    found.problem(f"its user lacks {right} on {what}{why}", remedy=f"GRANT {right} ON {what} TO {_user(engine)};")


def _user(engine: Engine) -> str:
    name = engine.url.username or "its user"
    return engine.dialect.identifier_preparer.quote(name) if engine.dialect.name == "postgresql" else name
