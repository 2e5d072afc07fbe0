"""Buckets in memory as an outsider sees them, so that whole chains can be played on what S3's documentation says (LIKE_AWS)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from app.errors import MissingObjectError
from app.fidelity import attribute_of
from app.testing import InMemoryStore
from app.two_buckets import TwoBuckets
from tests.builders import World
from tests.chains.bucket import Found
from tests.chains.live import AT_ONCE, Chain

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from app.object_store import Condition, Deadline, ObjectInfo, Writing
    from app.testing import Behaviour
    from app.testing.versions import StoredVersion
    from tests.chains.bucket import Bucket

_GRANTS = {"public-read": "AllUsers", "authenticated-read": "AuthenticatedUsers"}


class LendingStore(InMemoryStore):
    """One bucket that can copy from another one, its *lender*."""

    lender: LendingStore | None = None
    _lends = False

    def path(self, key: str) -> str:
        """What x-amz-copy-source would call the object."""
        return f"{id(self)}/{key}"

    def begin_copy_from(
        self, path: str, source: ObjectInfo, key: str, *, condition: Condition | None, deadline: Deadline, headers: Mapping[str, str] | None
    ) -> Writing:
        """``begin_copy``, perhaps out of the other bucket."""
        self._lends = path != self.path(source.key)
        return self.begin_copy(source, key, condition=condition, deadline=deadline, headers=headers)

    def copy_part_from(
        self, path: str, upload_id: str, key: str, number: int, source: ObjectInfo, *, first: int, last: int, deadline: Deadline
    ) -> str:
        """``copy_part`` of that."""
        self._lends = path != self.path(source.key)
        return self.copy_part(upload_id, key, number, source, first=first, last=last, deadline=deadline)

    def _source(self, source: ObjectInfo) -> StoredVersion:
        return self.lender._source(source) if self._lends and self.lender is not None else super()._source(source)


@dataclass(frozen=True, slots=True)
class MemoryBucket:
    """What the service does with it, as ``tests.chains.bucket.Bucket``."""

    store: LendingStore

    def put(self, key: str, body: bytes, headers: Mapping[str, str] | None = None) -> bool:
        """Upload; false where the store refuses one of the headers."""
        behaviour, said = self.store._behaviour, dict(headers or {})
        if any(attribute_of(name, value) in behaviour.refuses | behaviour.lacks for name, value in said.items()):
            return False
        tags = said.pop("x-amz-tagging", "")
        self.store.app_put(key, body, said, tags=tags)
        return True

    def ask(self, _method: str, key: str, *, query: Mapping[str, str] | None = None, **_: object) -> Found:
        """GET or HEAD of the object, its tags or its ACL."""
        found = self.store.versions(key)[-1]
        if query is not None and "acl" in query:
            return Found(_GRANTS.get(found.acl.get("x-amz-acl", ""), "").encode(), {})
        if query is not None:
            return Found("".join(f"<Tag>{pair}</Tag>" for pair in found.tags.split("&")).encode(), {})
        counted = {"x-amz-tagging-count": "1"} if found.tags else {}
        return Found(found.body or b"", {**found.headers, **found.checksums, **counted, "etag": f'"{found.etag}"'})

    def get(self, key: str) -> bytes | None:
        """The bytes alone."""
        try:
            return self.store.app_get(key)
        except MissingObjectError:
            return None


def open_memory_chain(folder: Path, behaviour: Behaviour, *, settings: Mapping[str, Any], split: bool) -> Chain:
    """A chain in one bucket in memory, or from one into another."""
    folder.mkdir()
    world = World(folder, behaviour, settings={**AT_ONCE, **settings, **({"target_bucket": "new"} if split else {})})
    source, target = (LendingStore(behaviour, clock=world.clock) for _ in range(2))
    source.lender, target.lender = target, source
    world.store = source
    if split:
        both: Any = TwoBuckets(source, target, world.context.rules.placing)  # type: ignore[arg-type] # as far as a run asks
        both._capabilities = behaviour.capabilities()
        world.store = both
    world.context = world.worker()
    service: Any = MemoryBucket(source)
    return Chain(world, service, "memory", cast("Bucket", MemoryBucket(target)) if split else None)
