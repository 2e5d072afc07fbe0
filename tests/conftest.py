"""Fixtures of the real servers: one of each a session, started when a test first asks for it.

A server that is not on this machine skips the test on a laptop and fails it on CI (CI=true), but for MariaDB, which is optional there.
"""

from __future__ import annotations

import os
import secrets
import signal
from base64 import b64encode
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

import pytest
from xdist.scheduler import LoadFileScheduling

from tests import servers

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import AbstractContextManager
    from pathlib import Path

_Handle = TypeVar("_Handle", bound=servers.RealServer)

for _name in [name for name in os.environ if name.startswith("REKEY_")]:
    del os.environ[_name]  # a developer's own deployment is not what the tests are about

# A shell's background job is started with Ctrl-C ignored, nohup's with the hang-up, and both hand that on to the programs under test.
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGHUP, signal.SIG_DFL)


# Each of these fills a machine of two cores, and takes minutes: one test process runs them one after the other, and begins with them.
_LARGE = ("tests/integration/test_stack.py", "tests/chaos/", "tests/smoke/")
_LONG = "tests/model/"  # minutes of nothing but computing


class ByFile(LoadFileScheduling):
    """Files of tests over test processes in the order in which they were collected, the large ones as if they were one file."""

    def _split_scope(self, nodeid: str) -> str:
        return "large" if nodeid.startswith(_LARGE) else super()._split_scope(nodeid)


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> ByFile | None:  # noqa: ANN401 - xdist's own, which has no types
    """How tests are shared out with ``--dist loadfile``."""
    config.option.loadscopereorder = False  # by the number of tests, which says little of how long they take
    return ByFile(config, log) if config.getvalue("dist") == "loadfile" else None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The large files first, then the long ones: what is still played when all else is done would be played by one process alone."""
    items.sort(key=lambda item: (not item.nodeid.startswith(_LARGE), not item.nodeid.startswith(_LONG)))


@pytest.fixture(scope="session")
def minio() -> Iterator[servers.S3Server]:
    """MinIO: does not honour conditions on CopyObject and deletes."""
    yield from _running(servers.minio_server())


@pytest.fixture(scope="session")
def minio_with_keys() -> Iterator[servers.S3Server]:
    """MinIO with a key of its own to encrypt by, so that it knows SSE-S3 and SSE-KMS."""
    key = b64encode(secrets.token_bytes(32)).decode()
    yield from _running(servers.minio_server(environment={"MINIO_KMS_SECRET_KEY": f"some-key:{key}"}))


@pytest.fixture(scope="session")
def seaweed() -> Iterator[servers.S3Server]:
    """SeaweedFS: honours all conditions."""
    yield from _running(servers.seaweed_server())


@pytest.fixture(scope="session")
def versitygw() -> Iterator[servers.S3Server]:
    """Versity's S3 gateway: a folder of files, whose names it cleans as paths."""
    yield from _running(servers.versitygw_server())


@pytest.fixture(scope="session")
def redis_server() -> Iterator[servers.RedisServer]:
    """Redis or Valkey."""
    yield from _running(servers.redis_server())


@pytest.fixture(scope="module")
def redis_of_its_own() -> Iterator[servers.RedisServer]:
    """One that nobody else has set up: Redis goes on showing the first certificate that it was given, whatever it is told later."""
    yield from _running(servers.redis_server())


@pytest.fixture
def redis_url(redis_server: servers.RedisServer) -> str:
    """URL of the broker, emptied for this test."""
    redis_server.flush()
    return redis_server.url


@pytest.fixture(scope="session")
def postgres() -> Iterator[servers.SqlServer]:
    """PostgreSQL."""
    yield from _running(servers.postgres_server())


@pytest.fixture
def postgres_url(postgres: servers.SqlServer) -> Iterator[str]:
    """URL of an empty PostgreSQL database, dropped after the test."""
    url = postgres.make_database()
    yield url
    postgres.drop_database(url)


@pytest.fixture(scope="session")
def mariadb() -> Iterator[servers.SqlServer]:
    """MariaDB."""
    yield from _running(servers.mariadb_server(), optional=True)


@pytest.fixture
def mariadb_url(mariadb: servers.SqlServer) -> Iterator[str]:
    """URL of an empty MariaDB database, dropped after the test."""
    url = mariadb.make_database()
    yield url
    mariadb.drop_database(url)


@pytest.fixture
def sqlite_url(tmp_path: Path) -> str:
    """URL of an empty SQLite database."""
    (tmp_path / "assets.db").touch()
    return f"sqlite:///{tmp_path}/assets.db"


def _running(context: AbstractContextManager[_Handle], *, optional: bool = False) -> Iterator[_Handle]:
    with ExitStack() as exits:
        try:
            handle = exits.enter_context(context)
        except servers.MissingServerError as error:
            _missing(str(error), optional=optional)
        yield handle


def _missing(reason: str, *, optional: bool) -> NoReturn:
    if os.environ.get("CI") == "true" and not optional:
        pytest.fail(reason)
    pytest.skip(reason)
