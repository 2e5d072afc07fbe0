"""The stores that whole chains are played on, each with an empty bucket of its own for every test."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Any

import pytest

from app.stages import aftercare
from tests.chains.bucket import Bucket
from tests.chains.live import Chain, close_chain, open_chain, probed

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
        bucket = Bucket(server, made_name())
        bucket.ask("PUT", None)
        made.append(bucket)
        return bucket

    yield make
    for bucket in made:
        bucket.close()


@pytest.fixture
def split() -> bool:
    """Whether the chains go from one bucket into another: a module says so by a fixture of its own."""
    return False


@pytest.fixture
def make_chain(store_name: str, make_bucket: Callable[[], Bucket], tmp_path: Path, split: bool) -> Iterator[Callable[..., Chain]]:  # noqa: FBT001
    """Makes a chain on the store in turn: ``make_chain(table=..., on_collision="suffix")``."""
    made: list[Chain] = []

    def make(*, table: str | None = None, **settings: Any) -> Chain:  # noqa: ANN401 - any setting
        bucket = make_bucket()
        target = make_bucket() if split else None
        seen = seen_of(store_name, bucket, target)
        folder = tmp_path / str(len(made))
        chain = open_chain(folder, bucket, seen=seen, name=store_name, settings=settings, table=table, target=target)
        made.append(chain)
        return chain

    yield make
    for chain in made:
        close_chain(chain)


@pytest.fixture
def chain(make_chain: Callable[..., Chain]) -> Chain:
    """A chain with the usual table and settings."""
    return make_chain()


def made_name() -> str:
    """A bucket's name."""
    return f"chain-{secrets.token_hex(5)}"


def seen_of(name: str, bucket: Bucket, target: Bucket | None = None) -> Capabilities:
    """What the probe sees of a server, asked once a session."""
    asked = name if target is None else f"{name} twice"
    if asked not in _SEEN:
        _SEEN[asked] = probed(bucket, target)
    return _SEEN[asked]
