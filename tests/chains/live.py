"""A whole chain on a real store: the real stages over a table in SQLite, whose clock is the test's; the store's runs by itself."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from app.minio_store import MinioStore
from tests.builders import World

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from app.object_store import Capabilities
    from tests.chains.bucket import Bucket

PATIENCE_SECONDS = 60.0
AT_ONCE: dict[str, Any] = {"grace_seconds": 0, "settle_seconds": 1, "lease_seconds": 30, "copy_concurrency": 4}


@dataclass
class Chain:
    """One table and one bucket, driven there and back."""

    world: World
    bucket: Bucket
    store_name: str
    refused: set[int] = field(default_factory=set)  # rows whose key the store took for no key

    def add(self, number: int, key: str, body: bytes, *, client: object = 7, **columns: object) -> bool:
        """A row and its object; whether the store has taken that."""
        taken = self.bucket.put(key, body)
        if not taken:
            self.refused.add(number)
        self.world.add(number, key, body=None, client=client, **columns)
        return taken

    def go(self) -> None:
        """Drive the run to its end."""
        end = time.monotonic() + PATIENCE_SECONDS
        while not self.world.moves() or self.world.run.is_live:
            assert time.monotonic() < end, self.world.moves()
            self.world.go(until=1)
            time.sleep(0.02)

    def back(self) -> None:
        """Take the run back, to the end."""
        self.world.take_back(self.world.run_id)
        self.go()

    def again(self) -> None:
        """Another run forward, to the end."""
        self.world.context, self.world.run_id = self.world.worker(), ""
        self.go()

    def keys(self) -> dict[int, str]:
        """What each row names."""
        return {number: key for number, key in self.world.sql("SELECT id, object_key FROM assets")}  # noqa: C416 - rows of the driver

    def reasons(self) -> dict[int, str]:
        """Why rows were parked."""
        return {int(move.row_id.strip("[]")): str(move.reason) for move in self.world.moves() if str(move.state) == "parked"}


def open_chain(folder: Path, bucket: Bucket, *, seen: Capabilities, name: str, settings: Mapping[str, Any], table: str | None) -> Chain:
    """A chain on *bucket*, whose store was *seen* to be as it is."""
    folder.mkdir(exist_ok=True)
    server = bucket.server
    store = MinioStore(
        endpoint=server.endpoint,
        access_key=server.access_key,
        secret_key=server.secret_key,
        bucket=bucket.name,
        pool_size=4,
        capabilities=seen,
    )
    shaped = {} if table is None else {"table": table}
    world = World(folder, settings={**AT_ONCE, **settings}, **shaped)
    world.store = store  # type: ignore[assignment] # a real one
    world.context = world.worker()
    return Chain(world, bucket, name)


def close_chain(chain: Chain) -> None:
    """Close its connections, but for the bucket's own."""
    chain.world.store.close()  # type: ignore[attr-defined] # a real one
    chain.world.engine.dispose()
