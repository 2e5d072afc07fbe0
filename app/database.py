"""The connection to the database: engines, short transactions, the database's own clock, and its errors in our words.

The ledger lives beside the assets table, so both go through one engine (S5). Every engine is READ COMMITTED (H20) and its server ends
a statement, a lock wait or an idle transaction by itself (H30).
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import (
    BigInteger,
    Connection,
    Engine,
    create_engine,
    event,
    exc,
    literal_column,
    select,
)
from sqlalchemy.engine import make_url
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import GenericFunction

from app.errors import DatabaseUnavailableError, OutcomeUnknownError, RolledBackError, RowLockedError, UsageError

MICROSECONDS = 1_000_000
SERVER_TIMEOUT_SECONDS = 5  # a statement and an idle transaction: a stopped worker holds rows no longer (H30)
LOCK_TIMEOUT_SECONDS = 2  # shorter, so that a row which somebody holds is told from a slow statement
IDLE_SECONDS = 60  # MySQL ends a connection that was idle for so long, in a transaction or not; the pool makes a new one before
CONNECT_TIMEOUT_SECONDS = 5
READ_ONLY = "rekey_read_only"  # execution option: SQLite then begins without taking the write lock

# Deadlock, serialisation failure, lock or statement time-out, shutdown, read-only after a failover: rolled back, may be repeated.
_TRANSIENT_SQLSTATES = ("08", "40001", "40P01", "55P03", "57014", "57P01", "57P02", "57P03", "57P05", "25006", "25P03", "53")
_ENDED_SQLSTATES = frozenset({"40001", "40P01", "57014"})
_LOCK_WAIT_TIMEOUT = 1205  # MySQL
_ENDED_MYSQL = frozenset({1213, 1317, 3024, 1969})  # deadlock, a statement that was killed or took too long
_DENIED_MYSQL = frozenset({1044, 1142, 1143, 1227, 1370})
# Deadlock, killed, time-outs, too many connections, shutting down, read-only after a failover, cluster not ready.
_TRANSIENT_MYSQL = frozenset({_LOCK_WAIT_TIMEOUT, 1213, 1317, 3024, 1969, 1927, 1040, 1203, 1226, 1053, 1290, 1836, 1047, 3572})


class database_now(GenericFunction[int]):  # noqa: N801 - reads as the SQL function that it is
    """The database's clock in UTC microseconds, read when the statement runs (not when its transaction began: H16)."""

    type = BigInteger()
    inherit_cache = True


_NOW = select(database_now())


@compiles(database_now, "postgresql")
def _now_postgresql(*_: Any, **__: Any) -> str:  # noqa: ANN401 - SQLAlchemy's own signature
    return "CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000000 AS BIGINT)"


@compiles(database_now, "sqlite")
def _now_sqlite(*_: Any, **__: Any) -> str:  # noqa: ANN401 - SQLAlchemy's own signature
    return "CAST((julianday('now') - 2440587.5) * 86400000000.0 AS INTEGER)"


@compiles(database_now, "mysql")
@compiles(database_now, "mariadb")
def _now_mysql(*_: Any, **__: Any) -> str:  # noqa: ANN401 - SQLAlchemy's own signature
    return "CAST(UNIX_TIMESTAMP(SYSDATE(6)) * 1000000 AS SIGNED)"  # the session's zone is set to UTC below


def open_engine(url: str, *, pool_size: int = 5, statement_seconds: int = SERVER_TIMEOUT_SECONDS, may_create: bool = False) -> Engine:
    """Open an engine for *url* with at most *pool_size* connections; nothing is sent before the first use.

    An SQLite file that is not there is made by the first use if *may_create*; else it is mistyped, and refused.

    Raises:
        UsageError: The URL cannot be read, its driver is not installed, or there is no such file.
    """
    try:
        parsed = make_url(url)
    except exc.ArgumentError:
        raise UsageError("REKEY_DATABASE_URL is no database URL: give one like postgresql://user@host/name") from None
    kind = parsed.get_backend_name()
    options: dict[str, Any] = {"pool_pre_ping": False, "hide_parameters": True}
    if kind == "sqlite":
        options["connect_args"] = {"timeout": SERVER_TIMEOUT_SECONDS * 6, "check_same_thread": False, "isolation_level": None}
    else:
        options.update(pool_size=pool_size, max_overflow=0, pool_timeout=SERVER_TIMEOUT_SECONDS * 6, pool_use_lifo=True)
        options["pool_recycle"] = IDLE_SECONDS - 10 if kind in {"mysql", "mariadb"} else 1800
        options["isolation_level"] = "READ COMMITTED"
        options["connect_args"] = {"connect_timeout": CONNECT_TIMEOUT_SECONDS}
        if kind in {"mysql", "mariadb"}:
            options["connect_args"].update(read_timeout=statement_seconds * 4, write_timeout=statement_seconds * 4, charset="utf8mb4")
    try:
        engine = create_engine(parsed, **options)
    except ModuleNotFoundError as error:
        raise UsageError(f"the driver {error.name!r} for REKEY_DATABASE_URL is not installed: pip install {error.name}") from None
    except exc.NoSuchModuleError:
        raise UsageError(f"REKEY_DATABASE_URL: no database is called {kind!r}; PostgreSQL, MySQL/MariaDB and SQLite are") from None
    _check_parts(engine, kind, may_create=may_create)
    event.listen(engine, "connect", _on_connect(kind, statement_seconds))
    if kind == "sqlite":
        event.listen(engine, "begin", _begin_sqlite)
    return engine


def _check_parts(engine: Engine, kind: str, *, may_create: bool) -> None:
    """Raise UsageError for what no driver can open, and each says in words of its own: a file in no folder, a parameter that is unknown."""
    if kind == "sqlite":
        name = engine.url.database or ":memory:"
        _check_file(name.removeprefix("file:") if "uri" in engine.url.query else name, may_create=may_create)
    elif kind in {"mysql", "mariadb"}:
        known = inspect.signature(engine.dialect.loaded_dbapi.connections.Connection).parameters
        unknown = [name for name in engine.dialect.create_connect_args(engine.url)[1] if name not in known]
        if unknown:
            raise UsageError(f"REKEY_DATABASE_URL: PyMySQL knows no parameter {', '.join(unknown)}")


def _check_file(name: str, *, may_create: bool) -> None:
    """Raise UsageError unless *name* is a file, or may become one: SQLite makes an empty one of whatever it cannot find."""
    path = Path(name).absolute()
    if name == ":memory:" or path.is_file():
        return
    if not path.parent.is_dir():
        raise UsageError(f"REKEY_DATABASE_URL: there is no folder {str(path.parent)!r} for the file")
    if path.exists():
        raise UsageError(f"REKEY_DATABASE_URL: {str(path)!r} is no file: name the file of the database")
    if not may_create:
        raise UsageError(f"REKEY_DATABASE_URL: there is no file {str(path)!r}: correct the path, or let `rekey init` make a new database")


def _on_connect(kind: str, statement_seconds: int) -> Any:  # noqa: ANN401 - an event listener
    def listener(connection: Any, _record: Any) -> None:  # noqa: ANN401 - a DBAPI connection
        try:
            _set_up(connection, kind, statement_seconds)
        except BaseException:  # it broke: nobody else would close it
            connection.close()
            raise

    return listener


def _set_up(connection: Any, kind: str, statement_seconds: int) -> None:  # noqa: ANN401 - a DBAPI connection
    cursor = connection.cursor()
    if kind == "sqlite":
        # A text column may hold what is no UTF-8 (case 38): it must reach the planner, which parks it, and not end the page.
        connection.text_factory = lambda raw: raw.decode("utf-8", "surrogateescape")
        cursor.execute("PRAGMA journal_mode=WAL")
        cursor.execute("PRAGMA synchronous=NORMAL")
        cursor.execute(f"PRAGMA busy_timeout={SERVER_TIMEOUT_SECONDS * 6 * 1000}")
    elif kind == "postgresql":
        milliseconds = statement_seconds * 1000
        cursor.execute(f"SET statement_timeout={milliseconds}")
        cursor.execute(f"SET lock_timeout={LOCK_TIMEOUT_SECONDS * 1000}")
        cursor.execute(f"SET idle_in_transaction_session_timeout={SERVER_TIMEOUT_SECONDS * 1000}")
        cursor.execute("SET TimeZone='UTC'")
        # A statement outside of a transaction block would have whatever the server is set to (H20).
        cursor.execute("SET SESSION CHARACTERISTICS AS TRANSACTION ISOLATION LEVEL READ COMMITTED")
        connection.commit()
    else:
        for statement in _mysql_session(connection.get_server_info(), statement_seconds):
            cursor.execute(statement)
    cursor.close()


def _mysql_session(server: str, statement_seconds: int) -> list[str]:
    """What a session of MySQL or MariaDB is set to; only the latter ends an idle transaction for itself."""
    waits = f"innodb_lock_wait_timeout={LOCK_TIMEOUT_SECONDS}, lock_wait_timeout={LOCK_TIMEOUT_SECONDS}"
    if "MariaDB" in server:
        ends = f"max_statement_time={statement_seconds}, idle_transaction_timeout={SERVER_TIMEOUT_SECONDS}, wait_timeout=1800"
    else:
        ends = f"max_execution_time={statement_seconds * 1000}, wait_timeout={IDLE_SECONDS}"
    return [
        f"SET SESSION {waits}, {ends}, time_zone='+00:00'",
        "SET SESSION sql_mode=CONCAT(@@sql_mode, ',STRICT_ALL_TABLES')",
    ]


def _begin_sqlite(connection: Connection) -> None:
    # A deferred transaction that later wants to write fails at once with "database is locked", whatever the time-out (case 37).
    reading = connection.get_execution_options().get(READ_ONLY)
    connection.exec_driver_sql("BEGIN" if reading else "BEGIN IMMEDIATE")


@contextmanager
def transaction(engine: Engine, *, read_only: bool = False, single: bool = False) -> Iterator[Connection]:
    """One short transaction; committed at the end of the block, rolled back by any error.

    On PostgreSQL questions, and a *single* statement that changes something, go without BEGIN and COMMIT, which are a request each.

    Raises:
        DatabaseUnavailableError: No connection, a deadlock, a time-out: nothing was changed.
        OutcomeUnknownError: The connection broke during COMMIT.
    """
    alone = engine.dialect.name == "postgresql" and (read_only or single)
    committing = alone
    with translated():
        try:
            with _connected(engine) as connection:
                options: dict[str, Any] = ({READ_ONLY: True} if read_only else {}) | ({"isolation_level": "AUTOCOMMIT"} if alone else {})
                if options:
                    connection = connection.execution_options(**options)  # noqa: PLW2901 - the same connection, configured
                with connection.begin() as begun:
                    yield connection
                    committing = True
                    begun.commit()
        except exc.DBAPIError as error:
            if committing and not read_only and is_disconnect(error):
                raise OutcomeUnknownError("the connection to the database broke during COMMIT") from error
            raise


@contextmanager
def translated() -> Iterator[None]:
    """Turn what SQLAlchemy raises for reasons of the moment into DatabaseUnavailableError; other errors pass."""
    try:
        yield
    except exc.TimeoutError as error:
        raise DatabaseUnavailableError("no free connection to the database: its pool is exhausted") from error
    except exc.DBAPIError as error:
        if is_transient(error):
            kind = RowLockedError if _is_lock_timeout(error) else RolledBackError if _is_ended(error) else DatabaseUnavailableError
            raise kind(f"the database did not answer: {brief(error)}") from error
        raise


@contextmanager
def _connected(engine: Engine) -> Iterator[Connection]:
    """A connection; a server that cannot be reached, or knows no such name, password or database, is no end of the world for a worker."""
    try:
        connection = engine.connect()
    except exc.DBAPIError as error:
        if _is_sqlite(error.orig):
            raise
        raise DatabaseUnavailableError(f"the database did not answer: {brief(error)}; is REKEY_DATABASE_URL right?") from error
    with connection:
        yield connection


def _is_lock_timeout(error: exc.DBAPIError) -> bool:
    return getattr(error.orig, "sqlstate", None) == "55P03" or _mysql_number(error) == _LOCK_WAIT_TIMEOUT


def _is_ended(error: exc.DBAPIError) -> bool:
    """Whether the server has ended the transaction, and goes on with the connection."""
    return getattr(error.orig, "sqlstate", None) in _ENDED_SQLSTATES or _mysql_number(error) in _ENDED_MYSQL


def is_disconnect(error: exc.DBAPIError) -> bool:
    """Whether the connection is gone (so that the fate of a COMMIT under way is unknown)."""
    return bool(error.connection_invalidated) or isinstance(error, exc.InterfaceError)


def is_transient(error: exc.DBAPIError) -> bool:
    """Whether the same transaction may succeed later."""
    if error.connection_invalidated or isinstance(error, exc.InterfaceError):
        return True
    number = _mysql_number(error)
    if number is not None:  # before the state, which is a general HY000 for half of them
        return number in _TRANSIENT_MYSQL or 2000 <= number < 2100  # noqa: PLR2004 - MySQL's client errors
    original = error.orig
    state = getattr(original, "sqlstate", None)
    if state:
        return str(state).startswith(_TRANSIENT_SQLSTATES)
    text = str(original)
    if "database is locked" in text or "database table is locked" in text or "disk I/O error" in text:
        return True
    return isinstance(error, exc.OperationalError) and not _is_sqlite(original)


def is_denied(error: BaseException) -> bool:
    """Whether the database's user lacks a right (42501), or sees no schema to make a table in (3F000)."""
    if not isinstance(error, exc.DBAPIError):
        return False
    return getattr(error.orig, "sqlstate", None) in {"42501", "3F000"} or _mysql_number(error) in _DENIED_MYSQL


def _mysql_number(error: exc.DBAPIError) -> int | None:
    """MySQL's number of an error."""
    number = error.orig.args[0] if error.orig is not None and error.orig.args else None
    return number if isinstance(number, int) else None


def _is_sqlite(original: BaseException | None) -> bool:
    return type(original).__module__.startswith("sqlite3")


def brief(error: BaseException) -> str:
    """The first line of a database error, without its statement and parameters."""
    original = getattr(error, "orig", None) or error
    return (str(original).strip().splitlines() or [type(original).__name__])[0][:300]


def read_now(connection: Connection) -> int:
    """UTC microseconds by the database's clock."""
    return int(connection.execute(_NOW).scalar_one())


def refuse_replica(connection: Connection) -> None:
    """Raise UsageError unless *connection* leads to a primary that takes writes (H20)."""
    kind = connection.dialect.name
    question = {
        "postgresql": "pg_is_in_recovery() OR current_setting('transaction_read_only')::boolean",
        "mysql": "@@read_only",
        "mariadb": "@@read_only",
    }.get(kind)
    if question and connection.execute(select(literal_column(question))).scalar():
        raise UsageError("REKEY_DATABASE_URL leads to a read-only replica: give the primary, since a replica shows rows late")
