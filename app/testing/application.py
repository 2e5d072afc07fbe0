"""The other party at a store in memory: the application that owns the objects, and the test that looks on."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from app.errors import BadKeyError, MissingObjectError
from app.testing import attributes
from app.testing.requests import RequestPath
from app.testing.versions import Behaviour, Bucket, StoredVersion, etag_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from app.clock import Clock
    from app.object_store import ObjectInfo

DEFAULT_TYPE = "binary/octet-stream"
UNTYPED = "application/octet-stream"


class ApplicationSide(RequestPath):
    """What the application does: no conditions, no leases, no faults."""

    def __init__(
        self, behaviour: Behaviour, *, clock: Clock | None, request_timeout: float, on_call: Callable[[str, str], None] | None
    ) -> None:
        super().__init__(behaviour, clock=clock, request_timeout=request_timeout, on_call=on_call)
        self._bucket = Bucket(behaviour)

    def app_put(self, key: str, body: bytes, headers: Mapping[str, str] | None = None, *, tags: str = "") -> ObjectInfo:
        """Upload or overwrite an object."""
        return self._add(self._behaviour.name(key), body, etag_of(body), headers or {}, tags=tags).info(key)

    def app_get(self, key: str) -> bytes:
        """Read an object. Raises MissingObjectError."""
        return self._current(key).body or b""

    def app_delete(self, key: str) -> None:
        """Delete an object, if it is there."""
        self._bucket.remove(self._behaviour.name(key), now=int(self.now))

    def app_set_headers(self, key: str, headers: Mapping[str, str]) -> ObjectInfo:
        """Mend the headers by a copy onto itself: the same ETag, a later time (M7)."""
        found = self._current(key)
        return self._add(self._behaviour.name(key), found.body or b"", found.etag, headers, tags=found.tags).info(key)

    def app_set_tags(self, key: str, tags: str) -> None:
        """Set the tags: neither ETag nor time change (M7)."""
        self._bucket.replace_current(self._behaviour.name(key), replace(self._current(key), tags=tags))

    def app_thaw(self, key: str) -> None:
        """Restore an archived object for a while."""
        self._bucket.replace_current(self._behaviour.name(key), replace(self._current(key), thawed=True))

    # For assertions

    def contents(self) -> dict[str, bytes]:
        """The bytes of every object by name."""
        return {name: self.app_get(name) for name in sorted(self._bucket.names())}

    def versions(self, key: str) -> tuple[StoredVersion, ...]:
        """All versions of an object, oldest first."""
        return self._bucket.versions(self._behaviour.name(key))

    def _current(self, key: str) -> StoredVersion:
        found = self._bucket.current(self._behaviour.name(key))
        if found is None:
            raise MissingObjectError(key, "NoSuchKey")
        return found

    def _make_way(self, name: str) -> None:
        """A store that keeps keys as files has no object where it needs a folder, nor a folder's key for an object."""
        if not self._behaviour.refuses_neighbours:
            return
        folders = {name[:end] for end, letter in enumerate(name) if letter == "/"}
        if any(there in folders or there.startswith(f"{name}/") for there in self._bucket.names()):
            raise BadKeyError(name, "ObjectParentIsFile")

    def _add(
        self, name: str, body: bytes, etag: str, headers: Mapping[str, str], *, tags: str = "", parts: tuple[int, ...] = ()
    ) -> StoredVersion:
        self._make_way(name)
        kept = {"content-type": DEFAULT_TYPE, **headers}
        if self._behaviour.guesses_type and kept["content-type"] in {DEFAULT_TYPE, UNTYPED}:
            del kept["content-type"]
        if self._behaviour.lacks:
            kept = attributes.without(kept, self._behaviour.lacks)
        tags = kept.pop("x-amz-tagging", tags)
        shown, checksums, acl = attributes.apart(kept)
        version = StoredVersion(
            body=body,
            etag=etag,
            last_modified=int(self.now),
            version_id=None,
            headers=shown,
            tags=tags,
            parts=parts,
            checksums=checksums,
            acl=acl,
        )
        return self._bucket.add(name, version)
