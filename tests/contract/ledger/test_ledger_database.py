"""Connections: the database's own clock, its errors in our words, transactions that the server ends (S5, H16, H20, H30)."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import exc, make_url, select, text

from app import database
from app.database import database_now, open_engine, read_now, refuse_replica, transaction
from app.errors import DatabaseUnavailableError, OutcomeUnknownError, RowLockedError, UsageError
from tests.contract.ledger.conftest import SERVERS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy import Connection, Engine

    from tests.servers import SqlServer


@pytest.fixture
def table(engine: Engine) -> Engine:
    """A table of two rows."""
    with transaction(engine) as connection:
        connection.execute(text("CREATE TABLE t (id INTEGER PRIMARY KEY, value INTEGER)"))
        connection.execute(text("INSERT INTO t VALUES (1, 0), (2, 0)"))
    return engine


@pytest.fixture(params=SERVERS)
def server(request: pytest.FixtureRequest) -> SqlServer:
    """A real server."""
    found: SqlServer = request.getfixturevalue(request.param)
    return found


@pytest.fixture
def server_engine(server: SqlServer) -> Iterator[Engine]:
    """An engine on a database of a real server, with a table of two rows."""
    url = server.make_database()
    opened = open_engine(url, pool_size=4)
    with transaction(opened) as connection:
        connection.execute(text("CREATE TABLE t (id INTEGER PRIMARY KEY, value INTEGER)"))
        connection.execute(text("INSERT INTO t VALUES (1, 0), (2, 0)"))
    yield opened
    opened.dispose()
    server.drop_database(url)


@pytest.mark.parametrize("wrong", [{"password": "wrong0word"}, {"database": "nowhere"}, {"port": 1}])
def test_connection_that_cannot_be_made_names_its_setting(server: SqlServer, wrong: dict[str, Any]) -> None:
    """A wrong password, database or port; the password is not told."""
    url = make_url(server.url).set(**wrong)
    engine = open_engine(url.render_as_string(hide_password=False), pool_size=1)

    with pytest.raises(DatabaseUnavailableError, match=r"is REKEY_DATABASE_URL right\?$") as raised, transaction(engine):
        pass
    assert str(url.password) not in str(raised.value)


def test_clock_is_utc_in_microseconds(engine: Engine) -> None:
    """Equal to this machine's, since the servers run here."""
    with transaction(engine, read_only=True) as connection:
        now = read_now(connection)

    assert abs(now - time.time() * 1_000_000) < 5_000_000


def test_clock_runs_on_within_a_transaction(engine: Engine) -> None:
    """Not the time of the transaction's start, nor of the statement before (H16a)."""
    with transaction(engine) as connection:
        first = read_now(connection)
        time.sleep(0.02)
        second = connection.execute(select(database_now())).scalar_one()

    assert second - first >= 15_000


def test_clock_does_not_depend_on_the_zone_of_server_or_database(server: SqlServer) -> None:
    """Zoneless functions and sessions in other zones cost hours elsewhere (H16b)."""
    url = server.make_database()
    plain = open_engine(url)
    kind = plain.dialect.name
    with transaction(plain) as connection:
        zone = "ALTER DATABASE {} SET timezone = 'Asia/Tokyo'" if kind == "postgresql" else "SET GLOBAL time_zone = '+09:00'"
        connection.exec_driver_sql(zone.format(plain.url.database))
    plain.dispose()
    engine = open_engine(url)
    try:
        with transaction(engine, read_only=True) as connection:
            assert abs(read_now(connection) - time.time() * 1_000_000) < 5_000_000
    finally:
        if kind != "postgresql":
            with transaction(engine) as connection:
                connection.exec_driver_sql("SET GLOBAL time_zone = SYSTEM")
        engine.dispose()
        server.drop_database(url)


def test_row_committed_meanwhile_is_seen_by_the_next_statement(table: Engine) -> None:
    """READ COMMITTED: the last question before a delete must not read a snapshot of its transaction's start (H20)."""
    if table.dialect.name == "sqlite":
        pytest.skip("a reading transaction of SQLite is a snapshot; each question has one of its own")
    with transaction(table, read_only=True) as reader:
        before = reader.execute(text("SELECT COUNT(*) FROM t")).scalar_one()
        with transaction(table) as writer:
            writer.execute(text("INSERT INTO t VALUES (3, 0)"))
        after = reader.execute(text("SELECT COUNT(*) FROM t")).scalar_one()

    assert (before, after) == (2, 3)


def test_error_rolls_back_and_the_next_transaction_works(table: Engine) -> None:
    """A failed statement leaves neither a change nor a broken connection (case 36)."""
    with pytest.raises(exc.IntegrityError), transaction(table) as connection:  # noqa: PT012 - a transaction is more than a statement
        connection.execute(text("UPDATE t SET value = 9"))
        connection.execute(text("INSERT INTO t VALUES (1, 1)"))

    with transaction(table) as connection:
        assert connection.execute(text("SELECT SUM(value) FROM t")).scalar_one() == 0


def test_row_that_somebody_holds_is_told_from_an_outage(server_engine: Engine) -> None:
    """The server ends the wait, and the error says what it was (S5)."""
    with transaction(server_engine) as holder:
        holder.execute(text("UPDATE t SET value = 1 WHERE id = 1"))
        began = time.monotonic()
        with pytest.raises(RowLockedError), transaction(server_engine) as waiting:
            waiting.execute(text("SELECT * FROM t WHERE id = 1 FOR UPDATE"))

    assert time.monotonic() - began < database.SERVER_TIMEOUT_SECONDS


def test_deadlock_is_transient(server_engine: Engine) -> None:
    """Two that lock in opposite order: one of them is told to try again (case 37)."""
    both = threading.Barrier(2)
    caught: list[BaseException] = []

    def work(first: int, second: int) -> None:
        try:
            with transaction(server_engine) as connection:
                connection.execute(text("UPDATE t SET value = value + 1 WHERE id = :id"), {"id": first})
                both.wait()
                connection.execute(text("UPDATE t SET value = value + 1 WHERE id = :id"), {"id": second})
        except DatabaseUnavailableError as error:
            caught.append(error)

    threads = [threading.Thread(target=work, args=order) for order in ((1, 2), (2, 1))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(caught) == 1
    with transaction(server_engine) as connection:
        assert connection.execute(text("SELECT SUM(value) FROM t")).scalar_one() == 2


def test_server_ends_what_a_stopped_worker_has_begun(server: SqlServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker that is stopped inside a transaction holds the application's rows for some seconds only (H30)."""
    monkeypatch.setattr(database, "SERVER_TIMEOUT_SECONDS", 1)
    url = server.make_database()
    engine = open_engine(url, pool_size=2)
    with transaction(engine) as connection:
        connection.execute(text("CREATE TABLE t (id INTEGER PRIMARY KEY, value INTEGER)"))
        connection.execute(text("INSERT INTO t VALUES (1, 0)"))
    with pytest.raises((DatabaseUnavailableError, exc.DBAPIError)), transaction(engine) as stopped:  # noqa: PT012
        stopped.execute(text("UPDATE t SET value = 1"))
        time.sleep(2.5)
        with transaction(engine) as other:
            other.execute(text("UPDATE t SET value = 2"))
        stopped.execute(text("UPDATE t SET value = 3"))

    with transaction(engine) as connection:
        assert connection.execute(text("SELECT value FROM t")).scalar_one() == 2
    engine.dispose()
    server.drop_database(url)


def test_statement_that_takes_too_long_is_ended_by_the_server(server: SqlServer) -> None:
    """And may be repeated."""
    engine = open_engine(server.url, statement_seconds=1)
    sleep = "SELECT pg_sleep(4)" if engine.dialect.name == "postgresql" else "SELECT SLEEP(4) FROM DUAL WHERE 1 = SLEEP(3)"
    began = time.monotonic()
    with pytest.raises(DatabaseUnavailableError), transaction(engine, read_only=True) as connection:
        connection.exec_driver_sql(sleep)

    assert time.monotonic() - began < 3
    engine.dispose()


def test_restarted_server_fails_once_and_works_again(server: SqlServer) -> None:
    """No task after the restart meets the connections from before (case 36)."""
    url = server.make_database()
    engine = open_engine(url, pool_size=2)
    for _ in range(2):
        with transaction(engine) as connection:
            read_now(connection)
    server.kill()
    with pytest.raises(DatabaseUnavailableError), transaction(engine) as connection:
        read_now(connection)
    server.start()
    with transaction(engine) as connection:
        assert read_now(connection) > 0
    engine.dispose()
    server.drop_database(url)


def test_connection_that_breaks_during_commit_leaves_the_outcome_unknown(postgres_url: str) -> None:
    """Neither done nor not done: whoever sees it reads back (H30)."""
    engine = open_engine(postgres_url, pool_size=2)
    with transaction(engine) as connection:
        connection.exec_driver_sql("CREATE TABLE t (id INTEGER PRIMARY KEY)")
        connection.exec_driver_sql(
            "CREATE FUNCTION die() RETURNS trigger LANGUAGE plpgsql AS "
            "$$ BEGIN PERFORM pg_terminate_backend(pg_backend_pid()); RETURN NULL; END $$"
        )
        connection.exec_driver_sql(
            "CREATE CONSTRAINT TRIGGER late AFTER INSERT ON t DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION die()"
        )
    with pytest.raises(OutcomeUnknownError), transaction(engine) as connection:
        connection.exec_driver_sql("INSERT INTO t VALUES (1)")

    with transaction(engine, read_only=True) as connection:
        assert connection.exec_driver_sql("SELECT COUNT(*) FROM t").scalar_one() == 0
    engine.dispose()


def test_connection_that_breaks_under_a_single_statement_leaves_the_outcome_unknown(postgres_url: str) -> None:
    """It commits by itself: the answer that is missing would have been COMMIT's too. A question changes nothing."""
    engine = open_engine(postgres_url, pool_size=2)
    leave = text("SELECT pg_terminate_backend(pg_backend_pid())")
    with pytest.raises(OutcomeUnknownError), transaction(engine, single=True) as connection:
        connection.execute(leave)
    with pytest.raises(DatabaseUnavailableError) as lost, transaction(engine, read_only=True) as connection:
        connection.execute(leave)
    engine.dispose()

    assert not isinstance(lost.value, OutcomeUnknownError)


def test_statement_by_itself_is_read_committed_whatever_the_server_is_set_to(postgres_url: str) -> None:
    """A claim that waited for a row must see it as it is by then, and each question what is committed by then (H20)."""
    engine = open_engine(postgres_url, pool_size=1)
    name = engine.url.database
    with transaction(engine) as connection:
        connection.execute(text(f"ALTER DATABASE \"{name}\" SET default_transaction_isolation = 'serializable'"))
    engine.dispose()
    found = []
    for options in ({"read_only": True}, {"single": True}, {}):
        with transaction(engine, **options) as connection:
            found.append(connection.execute(text("SELECT current_setting('transaction_isolation')")).scalar_one())
    engine.dispose()

    assert found == ["read committed"] * 3


def test_exhausted_pool_is_transient(table: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    """All connections are in use for longer than anybody waits (case 37)."""
    if table.dialect.name == "sqlite":
        pytest.skip("SQLite's pool of a file has no bound that would matter")
    small = open_engine(table.url.render_as_string(hide_password=False), pool_size=1)
    monkeypatch.setattr(small.pool, "_timeout", 0.1)
    with transaction(small), pytest.raises(DatabaseUnavailableError, match="pool"), transaction(small):
        pass
    small.dispose()


def test_server_that_is_not_there_is_transient() -> None:
    """Nobody listens on that port."""
    for url in ("postgresql+psycopg://u:p@127.0.0.1:1/x", "mysql+pymysql://u:p@127.0.0.1:1/x"):
        engine = open_engine(url)
        with pytest.raises(DatabaseUnavailableError) as caught, transaction(engine):
            pass
        assert ":p@" not in str(caught.value)


def test_replica_is_refused(server: SqlServer) -> None:
    """It shows rows late: the last question before a delete must be asked of the primary (H20)."""
    url = server.make_database()
    plain = open_engine(url)
    kind = plain.dialect.name
    with transaction(plain) as connection:
        refuse_replica(connection)
        _set_read_only(connection, kind, "on" if kind == "postgresql" else "1")
    plain.dispose()
    engine = open_engine(url)
    with pytest.raises(UsageError, match="primary"), transaction(engine, read_only=True) as connection:
        refuse_replica(connection)
    if kind != "postgresql":
        with transaction(engine) as connection:
            _set_read_only(connection, kind, "0")
    engine.dispose()
    server.drop_database(url)


def _set_read_only(connection: Connection, kind: str, value: str) -> None:
    if kind == "postgresql":
        connection.exec_driver_sql(f"ALTER DATABASE {connection.engine.url.database} SET default_transaction_read_only = {value}")
    else:
        connection.exec_driver_sql(f"SET GLOBAL read_only = {value}")
