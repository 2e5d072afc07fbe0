"""Deployments of the acceptance tests: the real commands and workers on PostgreSQL, Redis and MinIO."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.acceptance.deployment import Deployment

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.servers import RedisServer, S3Server, SqlServer


@pytest.fixture(scope="module")
def deployment(
    postgres: SqlServer, minio: S3Server, redis_server: RedisServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Deployment]:
    """A deployment with its ledger, without workers."""
    url = postgres.make_database()
    made = Deployment(database_url=url, broker_url=redis_server.url, store=minio, folder=tmp_path_factory.mktemp("deployment"))
    assert made.rekey("init").status == 0
    yield made
    postgres.drop_database(url)


@pytest.fixture(scope="module")
def working(deployment: Deployment) -> Iterator[Deployment]:
    """That deployment with all its workers, for the tests of a module; each makes a table and a bucket of its own."""
    with deployment.workers():
        yield deployment
