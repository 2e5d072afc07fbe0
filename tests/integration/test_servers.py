"""The servers that the other tests rely on: private, empty, and the same again after a crash."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import redis
from minio import Minio
from sqlalchemy import create_engine, inspect, text
from sqlalchemy.pool import NullPool

if TYPE_CHECKING:
    from tests import servers

ROOT = Path(__file__).parents[2]


@pytest.fixture(params=["minio", "seaweed"])
def s3(request: pytest.FixtureRequest) -> servers.S3Server:
    """Each S3 server in turn."""
    return request.getfixturevalue(request.param)


@pytest.fixture(params=["postgres", "mariadb"])
def sql(request: pytest.FixtureRequest) -> servers.SqlServer:
    """Each database server in turn."""
    return request.getfixturevalue(request.param)


def run_sql(url: str, *statements: str) -> list[tuple[object, ...]]:
    """Run statements in one transaction and give the rows of the last one."""
    with create_engine(url, poolclass=NullPool).begin() as connection:
        for statement in statements:
            result = connection.execute(text(statement))
        return [tuple(row) for row in result] if result.returns_rows else []


def test_s3_server_has_its_objects_after_a_crash(s3: servers.S3Server) -> None:
    """An object that was written before SIGKILL is there at the same endpoint after the next start."""
    client = Minio(endpoint=s3.endpoint.removeprefix("http://"), access_key=s3.access_key, secret_key=s3.secret_key, secure=False)
    client.put_object(bucket_name=s3.bucket, object_name="before", data=io.BytesIO(b"the crash"), length=9)

    s3.kill()
    s3.start()

    with client.get_object(bucket_name=s3.bucket, object_name="before") as answer:
        assert answer.read() == b"the crash"


def test_sql_server_has_its_rows_after_a_crash(sql: servers.SqlServer) -> None:
    """A row that was committed before SIGKILL is there after the next start."""
    url = sql.make_database()
    run_sql(url, "CREATE TABLE assets (id int)", "INSERT INTO assets VALUES (7)")

    sql.kill()
    sql.start()

    assert run_sql(url, "SELECT id FROM assets") == [(7,)]
    sql.drop_database(url)


def test_sql_server_has_its_rows_after_a_stop(sql: servers.SqlServer) -> None:
    """A stop in good order takes no data either, with a client still connected."""
    url = sql.make_database()
    engine = create_engine(url)
    with engine.connect() as connection:
        connection.execute(text("CREATE TABLE assets (id int)"))
        connection.commit()

        sql.stop()
    engine.dispose()
    sql.start()

    assert run_sql(url, "SELECT count(*) FROM assets") == [(0,)]
    sql.drop_database(url)


@pytest.mark.parametrize("fixture", ["postgres_url", "mariadb_url", "sqlite_url"])
def test_database_of_a_test_is_empty(request: pytest.FixtureRequest, fixture: str) -> None:
    """A test gets a database without tables."""
    engine = create_engine(request.getfixturevalue(fixture), poolclass=NullPool)

    assert inspect(engine).get_table_names() == []


def test_two_databases_of_one_server_are_apart(sql: servers.SqlServer) -> None:
    """What one test makes, another does not see."""
    first, second = sql.make_database(), sql.make_database()
    run_sql(first, "CREATE TABLE assets (id int)")

    assert inspect(create_engine(second, poolclass=NullPool)).get_table_names() == []
    sql.drop_database(first)
    sql.drop_database(second)


def test_broker_is_empty_after_a_crash(redis_server: servers.RedisServer) -> None:
    """The broker forgets everything and serves on at the same address."""
    with redis.Redis.from_url(redis_server.url) as client:
        client.set("a", "b")

        redis_server.kill()
        redis_server.start()

        assert client.keys() == []


def test_broker_of_a_test_is_empty(redis_server: servers.RedisServer, request: pytest.FixtureRequest) -> None:
    """A test does not see what an earlier one left."""
    with redis.Redis.from_url(redis_server.url) as client:
        client.set("a", "b")

        request.getfixturevalue("redis_url")

        assert client.keys() == []


@pytest.mark.parametrize(("ci", "outcome"), [("", "1 skipped"), ("true", "1 error")])
def test_missing_server_skips_on_a_laptop_and_fails_on_ci(tmp_path: Path, ci: str, outcome: str) -> None:
    """Without MinIO its tests are skipped, but never on CI, where nobody would see it."""
    environ = {**os.environ, "CI": ci, "XDG_CACHE_HOME": str(tmp_path), "PATH": str(tmp_path)}
    test = f"{__file__}::{test_s3_server_has_its_objects_after_a_crash.__name__}[minio]"

    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-rsE", test],
        cwd=ROOT,
        env=environ,
        capture_output=True,
        text=True,
        check=False,
    )

    assert outcome in done.stdout
    assert "no minio on the PATH" in done.stdout
