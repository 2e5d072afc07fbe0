"""What a round's assets are like: in one bucket or in two, some of the same name, some that go by parts and would lose something."""

from __future__ import annotations

import zlib
from base64 import b64encode
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from tests.acceptance.service import CLIENTS, Asset, Bucket, Content, make_asset

if TYPE_CHECKING:
    from tests.acceptance.service import Service
    from tests.servers import S3Server

NEW = "clients/"  # what every new key begins with, and no old one
TWIN_EACH = 20  # so many assets have one that wants the name of another
INLINE_BYTES = 5000  # a sixth of the assets are larger
FRAGILE_EACH = 3  # of those so many have a checksum


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """What is added to small objects in one bucket under names of their own."""

    two_buckets: bool = False  # REKEY_TARGET_BUCKET
    twins: bool = False  # assets of one client that want one name, with REKEY_ON_COLLISION=suffix
    parts: bool = False  # the larger ones go by parts, where the store's copy is not safe; one with a checksum is parked there (fidelity)

    @property
    def settings(self) -> dict[str, str]:
        """The deployment's, but for the bucket's name."""
        chosen = {"REKEY_ON_COLLISION": "suffix"} if self.twins else {}
        return chosen | ({"REKEY_INLINE_BYTES": str(INLINE_BYTES), "REKEY_FIDELITY": "checksum=keep"} if self.parts else {})

    def assets(self, count: int) -> list[Asset]:
        """The assets at the beginning of a round."""
        made = [make_asset(number) for number in range(1, count + 1)]
        if not self.twins:
            return made
        return [_twin(one, made[one.id - 1 - CLIENTS]) if one.id % TWIN_EACH == 0 and one.id > CLIENTS else one for one in made]

    def is_fragile(self, asset: Asset) -> bool:
        """Whether it is uploaded with a checksum that a copy by parts cannot have."""
        return self.parts and asset.id % FRAGILE_EACH == 0 and len(asset.content.body) > INLINE_BYTES

    def fill(self, service: Service, count: int) -> list[Asset]:
        """Upload all assets and insert their rows."""
        assets = service.add(self.assets(count))
        fragile = [one for one in assets if self.is_fragile(one)]
        service.upload({one.old_key: with_checksum(one.content) for one in fragile})
        return assets


def _twin(one: Asset, other: Asset) -> Asset:
    """*one* under the name of *other*, which is the same client's."""
    assert one.client == other.client
    return replace(one, old_key=f"twins/{other.old_key}", new_key=other.new_key)


def with_checksum(content: Content) -> Content:
    """The content with a header that makes the store keep a checksum of it, and that no reader asks for."""
    checksum = b64encode(zlib.crc32(content.body).to_bytes(4, "big")).decode()
    return replace(content, metadata={**content.metadata, "x-amz-checksum-crc32": checksum})


class BothBuckets(Bucket):
    """Two buckets as the service sees them: each key means one of them (docs/operating.md)."""

    def __init__(self, store: S3Server, names: Sequence[str], *, seconds: float = 20.0) -> None:
        super().__init__(store, names[0], seconds=seconds)
        self.target = Bucket(store, names[1], seconds=seconds)

    def put(self, key: str, content: Content) -> None:
        """Upload."""
        self.target.put(key, content) if key.startswith(NEW) else super().put(key, content)

    def get(self, key: str) -> Content | None:
        """What is at *key*."""
        return self.target.get(key) if key.startswith(NEW) else super().get(key)

    def remove(self, key: str) -> None:
        """Delete."""
        self.target.remove(key) if key.startswith(NEW) else super().remove(key)

    def keys(self) -> set[str]:
        """The keys of both; what lies in the wrong one is shown with its bucket before it, so that nobody knows such an object."""
        old, new = super().keys(), self.target.keys()
        here = {f"{self.name}: {key}" if key.startswith(NEW) else key for key in old}
        return here | {key if key.startswith(NEW) else f"{self.target.name}: {key}" for key in new}

    def close(self) -> None:
        """Close the connections."""
        super().close()
        self.target.close()


def open_bucket(store: S3Server, names: Sequence[str], *, seconds: float = 20.0) -> Bucket:
    """One bucket, or two as one."""
    return Bucket(store, names[0], seconds=seconds) if len(names) == 1 else BothBuckets(store, names, seconds=seconds)
