"""Engines, transactions and the errors of databases in our words, as far as no server is needed."""

from __future__ import annotations

import sqlite3
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import exc, select, text
from sqlalchemy.dialects import mysql, postgresql, sqlite

from app.arrays import among
from app.database import _mysql_session, brief, database_now, is_transient, open_engine, read_now, refuse_replica, transaction
from app.errors import DatabaseUnavailableError, UsageError
from app.schema import moves

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from sqlalchemy import Engine


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    """An SQLite file with a table."""
    opened = open_engine(f"sqlite:///{tmp_path}/a.db", may_create=True)
    with transaction(opened) as connection:
        connection.execute(text("CREATE TABLE t (id INTEGER PRIMARY KEY, value TEXT)"))
    yield opened
    opened.dispose()


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("no url", "no database URL"),
        ("oracle+cx_oracle://u:secret@h/x", "cx_Oracle"),
        ("nosuch://u:secret@h/x", "nosuch"),
        ("sqlite:////no/such/folder/app.db", "no folder '/no/such/folder'"),
        ("mysql+pymysql://u:secret@h/x?charset=utf8mb4&bogus=1", "no parameter bogus"),
    ],
)
def test_url_that_cannot_work_is_refused_with_the_remedy_and_without_the_password(url: str, words: str) -> None:
    """One line, exit status 2."""
    with pytest.raises(UsageError) as caught:
        open_engine(url)

    assert words in str(caught.value)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("name", ["mistyped.db", "file:mistyped.db?uri=true"])
def test_file_that_is_not_there_is_made_only_where_it_may_be(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """SQLite makes an empty database of a mistyped path, and whoever asks next finds one."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match=f"there is no file '{tmp_path}/mistyped.db': correct the path"):
        open_engine(f"sqlite:///{name}")

    assert list(tmp_path.iterdir()) == []
    made = open_engine(f"sqlite:///{name}", may_create=True)
    with transaction(made) as connection:
        connection.execute(text("CREATE TABLE t (id INTEGER)"))
    made.dispose()
    open_engine(f"sqlite:///{name}").dispose()


def test_folder_is_no_database(tmp_path: Path) -> None:
    """Nor may it become one."""
    with pytest.raises(UsageError, match="is no file"):
        open_engine(f"sqlite:///{tmp_path}", may_create=True)


class ServerError(Exception):
    """An error as drivers raise them."""

    def __init__(self, *args: object, sqlstate: str | None = None) -> None:
        super().__init__(*args)
        self.sqlstate = sqlstate


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (ServerError("deadlock", sqlstate="40P01"), True),
        (ServerError("serialisation", sqlstate="40001"), True),
        (ServerError("lock", sqlstate="55P03"), True),
        (ServerError("statement", sqlstate="57014"), True),
        (ServerError("shutdown", sqlstate="57P01"), True),
        (ServerError("too many clients", sqlstate="53300"), True),
        (ServerError("read-only after a failover", sqlstate="25006"), True),
        (ServerError("connection", sqlstate="08006"), True),
        (ServerError("unique", sqlstate="23505"), False),
        (ServerError("too long", sqlstate="22001"), False),
        (ServerError("syntax", sqlstate="42601"), False),
        (ServerError("rights", sqlstate="42501"), False),
        (ServerError(1205, "lock wait", sqlstate="HY000"), True),
        (ServerError(1213, "deadlock", sqlstate="40001"), True),
        (ServerError(1969, "max_statement_time", sqlstate="70100"), True),
        (ServerError(2006, "gone away", sqlstate="HY000"), True),
        (ServerError(1040, "too many connections"), True),
        (ServerError(1062, "duplicate", sqlstate="23000"), False),
        (ServerError(1406, "too long", sqlstate="22001"), False),
        (ServerError("cannot connect"), True),
        (sqlite3.OperationalError("database is locked"), True),
        (sqlite3.OperationalError("no such column: x"), False),
    ],
)
def test_errors_of_the_moment_are_told_from_those_that_stay(error: Exception, expected: bool) -> None:  # noqa: FBT001
    """Only what a repetition may mend is an outage; the rest is decided row by row (S5, S8)."""
    assert is_transient(exc.OperationalError("statement", {}, error)) is expected


def test_words_of_an_error_hold_no_statement(engine: Engine) -> None:
    """Values of the client's rows do not get into logs."""
    with pytest.raises(exc.DBAPIError) as caught, transaction(engine) as connection:
        connection.execute(text("INSERT INTO t VALUES (:id, 1, 2)"), {"id": "secret value"})

    assert brief(caught.value) == "table t has 2 columns but 3 values were supplied"
    assert "secret value" not in str(caught.value)


def test_writing_transactions_wait_for_each_other_instead_of_failing(engine: Engine) -> None:
    """A deferred transaction that later wants to write would fail at once, whatever its time-out (case 37)."""

    def work() -> None:
        for _ in range(20):
            with transaction(engine) as connection:
                number = connection.execute(text("SELECT COUNT(*) FROM t")).scalar_one()
                time.sleep(0.001)
                connection.execute(text("INSERT INTO t (value) VALUES (:value)"), {"value": str(number)})

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    with transaction(engine, read_only=True) as connection:
        values = connection.execute(text("SELECT value FROM t ORDER BY id")).scalars().all()
    assert values == [str(number) for number in range(80)]


def test_reader_does_not_wait_for_a_writer(engine: Engine) -> None:
    """A reading transaction takes no lock."""
    with transaction(engine) as writer:
        writer.execute(text("INSERT INTO t VALUES (1, 'new')"))
        with transaction(engine, read_only=True) as reader:
            assert reader.execute(text("SELECT COUNT(*) FROM t")).scalar_one() == 0


def test_exception_of_the_caller_rolls_back(engine: Engine) -> None:
    """And passes as it is."""
    with pytest.raises(ZeroDivisionError), transaction(engine) as connection:  # noqa: PT012 - what a transaction is for
        connection.execute(text("INSERT INTO t VALUES (1, 'x')"))
        raise ZeroDivisionError

    with transaction(engine, read_only=True) as connection:
        assert connection.execute(text("SELECT COUNT(*) FROM t")).scalar_one() == 0


def test_text_that_is_no_utf8_reaches_the_program(engine: Engine) -> None:
    """It is for the planner to park, and must not end the page (case 38)."""
    with transaction(engine) as connection:
        connection.execute(text("INSERT INTO t VALUES (1, CAST(x'61ff' AS TEXT))"))
        found = connection.execute(text("SELECT value FROM t")).scalar_one()

    assert found.encode("utf-8", "surrogateescape") == b"a\xff"


def test_locked_database_is_an_outage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another program keeps the write lock of the file."""
    monkeypatch.setattr("app.database.SERVER_TIMEOUT_SECONDS", 0)
    engine = open_engine(f"sqlite:///{tmp_path}/a.db", may_create=True)
    other = sqlite3.connect(f"{tmp_path}/a.db", isolation_level=None)
    with transaction(engine, read_only=True) as connection:
        refuse_replica(connection)
        assert abs(read_now(connection) - time.time() * 1e6) < 5_000_000
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(DatabaseUnavailableError, match="locked"), transaction(engine):
        pass
    other.close()
    engine.dispose()


@pytest.mark.parametrize("dialect", [sqlite, mysql, postgresql])
def test_condition_on_many_values_can_use_an_index(dialect: Any) -> None:  # noqa: ANN401
    """``id IN (...) = 1``, as SQLAlchemy writes a Boolean where there is none, would read and lock every row."""
    statement = select(moves.c.id).where(moves.c.run_no == 1, among(moves.c.id, [1, 2]) | among(moves.c.old_hash, [b"x"]))
    words = " ".join(str(statement.compile(dialect=dialect.dialect())).split())

    assert ") = 1" not in words


@pytest.mark.parametrize("server", ["8.4.2", "5.5.5-10.11.6-MariaDB-1"])
def test_session_of_mysql_ends_waits_statements_and_idle_transactions(server: str) -> None:
    """Each server has its own names for that (H30)."""
    first, second = _mysql_session(server, 5)

    assert all(word in first for word in ("innodb_lock_wait_timeout=2", "time_zone='+00:00'"))
    assert ("idle_transaction_timeout=5" in first) is ("max_statement_time=5" in first) is ("MariaDB" in server)
    assert ("wait_timeout=60" in first) is ("max_execution_time=5000" in first) is ("MariaDB" not in server)
    assert "STRICT_ALL_TABLES" in second


@pytest.mark.parametrize("dialect", [sqlite, mysql, postgresql])
def test_clock_reads_when_the_statement_runs(dialect: Any) -> None:  # noqa: ANN401
    """Neither the transaction's start nor the session's zone (H16)."""
    words = str(select(database_now()).compile(dialect=dialect.dialect())).lower()

    assert any(clock in words for clock in ("clock_timestamp()", "sysdate(6)", "julianday('now')"))
