"""A whole chain on a real store: the real stages over a table in SQLite, whose clock is the test's; the store's runs by itself."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from pydantic import SecretStr

from app import resources
from app.probe import probe
from app.states import OPEN_STATES
from app.two_buckets import TwoBuckets, probe_both
from tests.builders import World, make_settings

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from app.ledger.records import Move
    from app.minio_store import MinioStore
    from app.object_store import Capabilities
    from app.settings import Settings
    from tests.chains.bucket import Bucket, Found

PATIENCE_SECONDS = 60.0
AT_ONCE: dict[str, Any] = {"grace_seconds": 0, "settle_seconds": 1, "lease_seconds": 30, "copy_concurrency": 4}


@dataclass
class Chain:
    """One table and one bucket, driven there and back."""

    world: World
    bucket: Bucket
    store_name: str
    target: Bucket | None = None  # where the new keys' objects lie, if not in *bucket*
    refused: set[int] = field(default_factory=set)  # rows whose key the store took for no key

    def add(self, number: int, key: str, body: bytes, *, client: object = 7, **columns: object) -> bool:
        """A row and its object; whether the store has taken that."""
        taken = self.of(key).put(key, body)
        if not taken:
            self.refused.add(number)
        self.world.add(number, key, body=None, client=client, **columns)
        return taken

    def go(self) -> None:
        """Drive the run to its end."""
        end = time.monotonic() + PATIENCE_SECONDS
        while not self.world.moves() or self.world.run.is_live:
            assert time.monotonic() < end, (self.world.states(), self.open()[:5])
            self.world.go(until=1)
            time.sleep(0.02)

    def of(self, key: str) -> Bucket:
        """The bucket that holds a key by the service's own rule: in the chains all new keys begin with clients/ and no old one does."""
        return self.target if self.target is not None and key.lstrip("/").startswith("clients/") else self.bucket

    def get(self, key: str) -> bytes | None:
        """What a reader of a row with this key gets."""
        return self.of(key).get(key)

    def find(self, key: str) -> Found | None:
        """The same with its headers."""
        return self.of(key).find(key)

    def contents(self) -> dict[str, bytes | None]:
        """Every object of both buckets, none of which lies in the wrong one."""
        found = self.bucket.contents()
        if self.target is None:
            return found
        there = self.target.contents()
        assert all(self.of(key) is self.bucket for key in found)
        assert all(self.of(key) is self.target for key in there)
        return found | there

    def listed(self) -> list[str]:
        """The keys of both buckets."""
        return sorted([*self.bucket.keys(), *(self.target.keys() if self.target else ())])

    def uploads(self) -> list[str]:
        """Unfinished multipart uploads in both."""
        return [*self.bucket.uploads(), *(self.target.uploads() if self.target else ())]

    def back(self) -> None:
        """Take the run back, to the end."""
        self.world.take_back(self.world.run_id, rows=len(self.world.moves()))
        self.go()

    def again(self) -> None:
        """Another run forward, to the end."""
        self.world.context, self.world.run_id = self.world.worker(), ""
        self.go()

    def open(self) -> list[Move]:
        """Moves without an outcome."""
        return [move for move in self.world.moves() if move.state in OPEN_STATES]

    def keys(self) -> dict[int, str]:
        """What each row names."""
        return {number: key for number, key in self.world.sql("SELECT id, object_key FROM assets")}  # noqa: C416 - rows of the driver

    def reasons(self) -> dict[int, str]:
        """Why rows were parked."""
        return {int(move.row_id.strip("[]")): str(move.reason) for move in self.world.moves() if str(move.state) == "parked"}


def open_chain(
    folder: Path,
    bucket: Bucket,
    *,
    seen: Capabilities,
    name: str,
    settings: Mapping[str, Any],
    table: str | None,
    target: Bucket | None = None,
) -> Chain:
    """A chain on *bucket*, whose store was *seen* to be as it is."""
    folder.mkdir(exist_ok=True)
    shaped = {} if table is None else {"table": table}
    world = World(folder, settings={**AT_ONCE, **settings, **named_buckets(bucket, target)}, **shaped)
    world.store = store_of(make_settings(**world.settings), bucket, target, seen=seen)  # type: ignore[assignment] # a real one
    world.context = world.worker()
    return Chain(world, bucket, name, target)


def named_buckets(bucket: Bucket, target: Bucket | None) -> dict[str, str]:
    """The settings that name them."""
    return {"s3_bucket": bucket.name} | ({"target_bucket": target.name} if target else {})


def store_of(settings: Settings, bucket: Bucket, target: Bucket | None, *, seen: Capabilities | None) -> MinioStore | TwoBuckets:
    """The store that a worker with these settings has."""
    server = bucket.server
    secrets = {"s3_endpoint": server.endpoint, "s3_access_key": SecretStr(server.access_key), "s3_secret_key": SecretStr(server.secret_key)}
    resources.configure(settings.model_copy(update=secrets))
    return resources.store_of(settings, seen, pool_size=4)


def probed(bucket: Bucket, target: Bucket | None = None) -> Capabilities:
    """What the probe sees of one bucket, or of two."""
    store = store_of(make_settings(**named_buckets(bucket, target)), bucket, target, seen=None)
    seen = probe_both(store) if isinstance(store, TwoBuckets) else probe(store)
    store.close()
    return seen


def close_chain(chain: Chain) -> None:
    """Close its connections, but for the bucket's own."""
    chain.world.store.close()  # type: ignore[attr-defined] # a real one
    chain.world.engine.dispose()
