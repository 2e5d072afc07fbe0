"""Tables and columns as the database has them, by the names that the operator wrote."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Column, Engine, MetaData, Table, event, exc, inspect
from sqlalchemy.dialects.postgresql import DOMAIN

from app.database import transaction
from app.errors import UsageError


def reflect(engine: Engine, name: str, *, setting: str = "REKEY_TABLE") -> Table:
    """The table called *name* (schema-qualified or not) as the database has it; *setting* is where the operator wrote it.

    Raises:
        UsageError: There is none; the line names tables that look alike.
    """
    schema, table = split_name(name)
    metadata = MetaData()
    event.listen(metadata, "column_reflect", _see_through_domain)
    try:
        return Table(table, metadata, schema=schema, autoload_with=engine)
    except exc.NoSuchTableError:
        others = inspect(engine).get_table_names(schema=schema)
        alike = [other for other in others if other.lower() == table.lower()]
        hint = f"; there is {alike[0]!r}: names are case-sensitive here" if alike else ""
        raise UsageError(f"{setting}: no table {name!r} in this database{hint}") from None


def _see_through_domain(_inspector: object, _table: Table, column: dict[str, Any]) -> None:
    """A domain of PostgreSQL is compared as the type that it is made of; by itself SQLAlchemy knows no operator for it."""
    if not isinstance(column["type"], DOMAIN):
        return
    while isinstance(column["type"], DOMAIN):
        column["type"] = column["type"].data_type
    if getattr(column["type"], "collation", None):  # of the domain; said with each value, it would go before the column's own and its index
        column["type"] = column["type"].adapt(type(column["type"]), collation=None)


def column(table: Table, name: str, *, setting: str = "REKEY_TABLE") -> Column[Any]:
    """A column of a reflected table; *setting* is where the operator wrote its name.

    Raises:
        UsageError: There is none; the line lists those that are.
    """
    try:
        return table.c[name]
    except KeyError:
        raise UsageError(f"{setting}: the table {table.fullname!r} has no column {name!r}; it has {', '.join(table.c.keys())}") from None


def referring(engine: Engine, name: str) -> Column[Any]:
    """The column that one of REKEY_REFERENCES names, as ``table.column`` or ``schema.table.column``.

    Raises:
        UsageError: There is no such table, or no such column in it.
    """
    table, _, column_name = name.rpartition(".")
    return column(reflect(engine, table, setting="REKEY_REFERENCES"), column_name.strip('"'), setting="REKEY_REFERENCES")


def split_name(name: str) -> tuple[str | None, str]:
    """Schema and table of ``schema.table``; a part that holds a dot itself stands in double quotes."""
    parts: list[str] = []
    quoted = False
    part = ""
    for letter in name:
        if letter == '"':
            quoted = not quoted
        elif letter == "." and not quoted:
            parts.append(part)
            part = ""
        else:
            part += letter
    parts.append(part)
    return (".".join(parts[:-1]) or None, parts[-1])


def plain_name(engine: Engine, name: str) -> str:
    """The one name under which the ledger knows a table, however it was written: without the schema where it is looked for anyway.

    Raises:
        DatabaseUnavailableError: The database was not connected to before, and does not answer.
    """
    schema, table = split_name(name)
    if engine.dialect.name == "sqlite":  # which folds the letters of names
        schema, table = schema and schema.lower(), table.lower()
    default = engine.dialect.default_schema_name or _default_schema(engine)
    parts = [table] if schema in {None, default} else [*str(schema).split("."), table]
    return ".".join(f'"{part}"' if "." in part else part for part in parts)


def _default_schema(engine: Engine) -> str | None:
    with transaction(engine, read_only=True) as connection:
        return inspect(connection).default_schema_name
