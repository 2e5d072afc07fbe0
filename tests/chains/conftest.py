"""The stores that whole chains are played on, each with an empty bucket of its own for every test."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Any

import pytest

from app.minio_store import MinioStore
from app.probe import probe
from app.stages import aftercare
from tests.chains.bucket import Bucket
from tests.chains.live import Chain, close_chain, open_chain

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from app.object_store import Capabilities
    from tests.servers import S3Server

_SEEN: dict[str, Capabilities] = {}  # the same for all buckets of a server


@pytest.fixture(autouse=True)
def _soon_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is missing is gone after two seconds: by the store's own clock, which a test cannot set."""
    monkeypatch.setattr(aftercare, "GONE_SECONDS", 2)


@pytest.fixture(params=["minio", "seaweed"])
def store_name(request: pytest.FixtureRequest) -> str:
    """Each real store in turn."""
    name: str = request.param
    return name


@pytest.fixture
def make_bucket(store_name: str, request: pytest.FixtureRequest) -> Iterator[Callable[[], Bucket]]:
    """Makes empty buckets on the store in turn."""
    server: S3Server = request.getfixturevalue(store_name)
    made: list[Bucket] = []

    def make() -> Bucket:
        bucket = Bucket(server, f"chain-{secrets.token_hex(5)}")
        bucket.ask("PUT", None)
        made.append(bucket)
        return bucket

    yield make
    for bucket in made:
        bucket.close()


@pytest.fixture
def make_chain(store_name: str, make_bucket: Callable[[], Bucket], tmp_path: Path) -> Iterator[Callable[..., Chain]]:
    """Makes a chain on the store in turn: ``make_chain(table=..., on_collision="suffix")``."""
    made: list[Chain] = []

    def make(*, table: str | None = None, **settings: Any) -> Chain:  # noqa: ANN401 - any setting
        bucket = make_bucket()
        chain = open_chain(
            tmp_path / str(len(made)), bucket, seen=seen_of(store_name, bucket), name=store_name, settings=settings, table=table
        )
        made.append(chain)
        return chain

    yield make
    for chain in made:
        close_chain(chain)


@pytest.fixture
def chain(make_chain: Callable[..., Chain]) -> Chain:
    """A chain with the usual table and settings."""
    return make_chain()


def seen_of(name: str, bucket: Bucket) -> Capabilities:
    """What the probe sees of a server, asked once a session."""
    if name not in _SEEN:
        server = bucket.server
        store = MinioStore(endpoint=server.endpoint, access_key=server.access_key, secret_key=server.secret_key, bucket=bucket.name)
        _SEEN[name] = probe(store)
        store.close()
    return _SEEN[name]
