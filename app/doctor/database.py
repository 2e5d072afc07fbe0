"""Is the primary there, the table as the settings say, its indexes, and the ledger beside it?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import Column, Connection, Engine, Index, Table, exc, inspect
from sqlalchemy.schema import CreateIndex

from app import schema
from app.assets import Assets
from app.database import brief, is_denied, open_engine, refuse_replica, transaction
from app.doctor.findings import Finding, Findings, Level
from app.doctor.rights import check_asset_rights, check_ledger_rights, check_reference_rights, check_schemas
from app.errors import DatabaseUnavailableError, UsageError
from app.key_values import MAX_KEY_BYTES
from app.object_keys import EXACT
from app.planning import Rules
from app.reflection import column, referring, reflect
from app.run_settings import table_names

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from app.settings import Settings

SAMPLE_ROWS = 1000


def check_database(settings: Settings) -> list[Finding]:
    """Try the database: an answer, the primary, table and columns, the id, indexes, room for new keys, the right to update, the ledger."""
    found = Findings("database")
    try:
        engine = open_engine(settings.database_url.get_secret_value(), pool_size=2)
    except UsageError as error:
        found.unreachable(str(error), remedy="correct REKEY_DATABASE_URL")
        return found
    try:
        _check_all(engine, settings, found)
    except DatabaseUnavailableError as error:
        found.unreachable(str(error), remedy=_remedy(str(error), engine))
    except exc.SQLAlchemyError as error:
        remedy = "GRANT its user what docs/operations.md lists" if is_denied(error) else "correct REKEY_DATABASE_URL"
        found.unreachable(f"it refuses: {brief(error)}", remedy=remedy)
    finally:
        engine.dispose()
    return found


def _remedy(text: str, engine: Engine) -> str:
    """What helps where no connection was made, by what the server or its driver said."""
    if "permission denied for database" in text:
        return f"GRANT CONNECT ON DATABASE {engine.url.database} TO {engine.url.username};"
    if "password authentication failed" in text or "Access denied" in text:
        return "correct user and password in REKEY_DATABASE_URL"
    if "certificate" in text.lower() or "ssl" in text.lower():
        return "correct sslmode and sslrootcert in REKEY_DATABASE_URL, or the server's certificate"
    return "start it, or correct REKEY_DATABASE_URL"


def _check_all(engine: Engine, settings: Settings, found: Findings) -> None:
    with transaction(engine, read_only=True) as connection:
        found.ok(f"{engine.dialect.name} {'.'.join(map(str, engine.dialect.server_version_info or ()))} answers")
        try:
            refuse_replica(connection)
        except UsageError as error:
            found.problem(str(error), remedy="give the primary")
    if not check_schemas(engine, settings, found):
        return
    _check_ledger(engine, found)
    try:
        assets = Assets(engine, table_names(settings), EXACT)
        assets.refuse_unfit()
        table = reflect(engine, settings.table)
    except UsageError as error:
        found.problem(str(error), remedy="correct the setting, or the table")
        return
    found.ok(f"the table {table.fullname!r} has all columns that the settings name")
    _check_id(engine, table, settings, found)
    check_indexes(engine, settings, found)
    check_reference_rights(engine, _references(engine, settings), found)
    if check_asset_rights(engine, table, settings, found) and _check_where(engine, assets, settings, found):
        with transaction(engine, read_only=True) as connection:
            _check_room(connection, assets, column(table, settings.key_column), settings, found)


def _check_where(engine: Engine, assets: Assets, settings: Settings, found: Findings) -> bool:
    """Whether the database takes the operator's condition: asked with it for a row, in a stretch of the table that is soon gone through."""
    if settings.where is None:
        return True
    try:
        with transaction(engine, read_only=True) as connection:
            assets.stretch(connection, after=None, limit=1)
    except exc.DBAPIError as error:
        found.problem(f"REKEY_WHERE: the database refuses it: {brief(error)}", remedy="correct it; it is the SQL behind WHERE, as it is")
        return False
    return True


def _check_ledger(engine: Engine, found: Findings) -> None:
    if inspect(engine).has_table(schema.meta.name) and not check_ledger_rights(engine, found):
        return
    try:
        with transaction(engine, read_only=True) as connection:
            schema.deployment(connection)
    except UsageError as error:
        found.problem(str(error), remedy="rekey init")
    else:
        found.ok("the ledger's tables are there")


def _check_id(engine: Engine, table: Table, settings: Settings, found: Findings) -> None:
    """The id columns must be unique: a switch goes by them, and so do the pages."""
    inspector = inspect(engine)
    keys: list[Sequence[str | None]] = [inspector.get_pk_constraint(table.name, table.schema)["constrained_columns"]]
    keys += [key["column_names"] for key in inspector.get_unique_constraints(table.name, table.schema)]
    keys += [index["column_names"] for index in inspector.get_indexes(table.name, table.schema) if index["unique"]]
    if not any(set(key) == set(settings.id_columns) for key in keys):
        names = ", ".join(settings.id_columns)
        found.problem(f"{table.fullname!r} has no primary key or unique index on {names}", remedy="name its primary key in REKEY_ID_COLUMN")


def check_indexes(engine: Engine, settings: Settings, found: Findings) -> None:
    """Look for an index on the key column and on each column in REFERENCES."""
    table = reflect(engine, settings.table)
    _check_index(engine, table, column(table, settings.key_column), found)
    for other, named in _references(engine, settings):
        _check_index(engine, other, named, found)


def _references(engine: Engine, settings: Settings) -> Iterator[tuple[Table, Column[Any]]]:
    for name in settings.references:
        named = referring(engine, name)
        yield named.table, named


def index_findings(engine: Engine, settings: Settings) -> list[Finding]:
    """The indexes that are missing, each with the statement that makes it."""
    found = Findings("database")
    check_indexes(engine, settings, found)
    return [finding for finding in found if finding.level is Level.PROBLEM]


def _check_index(engine: Engine, table: Table, wanted: Column[Any], found: Findings) -> None:
    """Before each delete the database is asked who names the key: without an index that reads the whole table."""
    inspector = inspect(engine)
    first = {tuple(index["column_names"][:1]) for index in inspector.get_indexes(table.name, table.schema)}
    first |= {tuple(key["column_names"][:1]) for key in inspector.get_unique_constraints(table.name, table.schema)}
    first.add(tuple(inspector.get_pk_constraint(table.name, table.schema)["constrained_columns"][:1]))
    if (wanted.name,) in first:
        found.ok(f"{table.fullname}.{wanted.name} has an index")
        return
    found.problem(
        f"{table.fullname}.{wanted.name} has no index: each check before a delete reads the whole table",
        remedy=index_sql(engine, table, wanted),
    )


def index_sql(engine: Engine, table: Table, wanted: Column[Any]) -> str:
    """The statement that makes an index on one column, without stopping the application where the database can do so."""
    # MySQL indexes only a prefix of a TEXT column, and must be told which.
    length: dict[str, Any] = {} if getattr(wanted.type, "length", None) else {"mysql_length": 255, "mariadb_length": 255}
    index = Index(f"{table.name}_{wanted.name}_rekey", wanted, postgresql_concurrently=True, **length)
    sql = str(CreateIndex(index).compile(dialect=engine.dialect)).strip()
    table.indexes.discard(index)
    return sql + ";"


def _check_room(connection: Connection, assets: Assets, key: Column[Any], settings: Settings, found: Findings) -> None:
    """The key column must take the longest new key: PostgreSQL refuses a longer one, lax MySQL cuts it (H11)."""
    length = getattr(key.type, "length", None)
    if length is None or length >= MAX_KEY_BYTES:
        return
    rules = Rules(bucket=settings.s3_bucket, template=settings.key_template, equivalence=EXACT)
    longest = max((len(rules.plan(row).new_key) for row in assets.page(connection, after=None, limit=SAMPLE_ROWS)), default=0)
    text = f"{key.name} takes {length} characters; the longest new key of the first {SAMPLE_ROWS} rows has {longest}"
    if longest > length:
        found.problem(text, remedy=f"widen the column to {MAX_KEY_BYTES} characters")
    else:
        found.note(text + ", and longer ones would be parked as rejected")
