"""What an in-memory bucket holds, and how it behaves where real ones differ."""

from __future__ import annotations

from dataclasses import dataclass, field, fields, replace
from functools import lru_cache
from hashlib import md5
from typing import TYPE_CHECKING

from app.errors import BadKeyError
from app.fidelity import Fate, Way
from app.fidelity_rules import Attribute
from app.object_keys import Equivalence
from app.object_store import ARCHIVES, Capabilities, ObjectInfo

if TYPE_CHECKING:
    from collections.abc import Mapping

MAX_KEY_BYTES = 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Behaviour:
    """A store's known differences: each condition honoured or silently ignored, keys folded or refused (FACTS.md, Stores)."""

    put_if_absent: bool = True
    put_if_match: bool = True
    copy_if_absent: bool = True
    copy_if_match: bool = True
    copy_source_if_match: bool = True
    complete_if_absent: bool = True
    complete_if_match: bool = True
    delete_if_match: bool = True
    query_signed_expiry: bool = True
    ordered_listing: bool = True  # else by folders
    ordered_folders: bool = True
    folds_leading_slash: bool = False
    folds_double_slash: bool = False
    folds_backslash: bool = False
    folds_case: bool = False
    folds_dots: bool = False
    folds_unicode: bool = False
    lists_below_objects: bool = True
    guesses_type: bool = False  # from the key's extension, where an object was given none
    takes_snowballs: bool = False  # else a tar file is an object like others
    versioning: bool = False
    pins_version: bool = True  # where there are versions
    tells_parts: bool = True  # HEAD with partNumber
    hashes_copied_parts: bool = True  # the ETag of a part that it copied is its MD5
    copy_drops: frozenset[Attribute] = frozenset()  # what CopyObject takes over only if the request says it again
    copy_ignores: frozenset[Attribute] = frozenset()  # what CopyObject loses, whatever the request says
    parts_ignore: frozenset[Attribute] = frozenset()  # what a multipart upload does not take
    lacks: frozenset[Attribute] = frozenset()  # what no object has: a write that says it is carried out without
    refuses: frozenset[Attribute] = frozenset()  # what no object has: a write that says it is refused
    denies: frozenset[Attribute] = frozenset()  # what these credentials may not set
    hides_acl: bool = False  # these credentials may not look at ACLs
    knows_no_acl: bool = False  # the request is none of its own
    refuses_double_slash: bool = False
    refuses_dot_segments: bool = False
    mangles_listed: bool = False  # control characters of listed names
    completes_again: bool = False  # it says so of an upload that is gone, whatever object has the key by now
    refuses_neighbours: bool = False  # "doc" beside "doc/p1"
    longest_segment: int | None = None  # bytes
    cuts: bool = False  # what we write arrives without its last byte, and the answer says nothing of it
    room: int | None = None  # objects that there is room for; what we would add to them is refused

    def capabilities(self) -> Capabilities:
        """What a probe finds."""
        return _seen_of(self)

    def name(self, key: str) -> str:
        """The key under which the object is kept. Raises BadKeyError."""
        try:
            size = len(key.encode())
        except UnicodeEncodeError as error:
            raise BadKeyError(key, "the key is not Unicode") from error
        if not key.strip("/"):
            raise BadKeyError(key, "the key is empty")
        if size > MAX_KEY_BYTES:
            raise BadKeyError(key, "KeyTooLongError")
        segments = key.removeprefix("/").split("/") if self.folds_leading_slash else key.split("/")
        if self.refuses_dot_segments and not {".", ".."}.isdisjoint(segments):
            raise BadKeyError(key, "a segment is . or ..")
        if self.refuses_double_slash and "" in segments[:-1]:
            raise BadKeyError(key, "a segment is empty")
        if self.longest_segment is not None and any(len(part.encode()) > self.longest_segment for part in segments):
            raise BadKeyError(key, "a segment is too long")
        return Equivalence.of(self).canonical(key)


@lru_cache(maxsize=64)
def _seen_of(behaviour: Behaviour) -> Capabilities:
    seen = {item.name: getattr(behaviour, item.name) for item in fields(Capabilities) if item.name != "fidelity"}
    seen["ordered_listing"] = behaviour.ordered_listing and behaviour.ordered_folders
    seen["ordered_folders"] = behaviour.ordered_folders and not behaviour.folds_case  # listed under other names than asked for
    seen["pins_version"] = behaviour.versioning and behaviour.pins_version
    ways = {str(way): {str(one): str(_fate(behaviour, way, one)) for one in Attribute if one not in _NOT_PROBED} for way in Way}
    return Capabilities(**seen, fidelity=ways)


def _fate(behaviour: Behaviour, way: Way, attribute: Attribute) -> Fate:
    ignored = {Way.COPY: behaviour.copy_ignores, Way.PARTS: behaviour.parts_ignore | {Attribute.CHECKSUM}}
    rules = (
        (attribute in behaviour.lacks | behaviour.refuses, Fate.ABSENT),
        (attribute in behaviour.denies, Fate.DENIED),
        (attribute in ACLS and behaviour.hides_acl, Fate.UNSEEN),
        (attribute in ignored.get(way, ()), Fate.LOST),
        (way is Way.COPY and attribute not in behaviour.copy_drops, Fate.KEPT),
    )
    return next((fate for holds, fate in rules if holds), Fate.SENT)


ACLS = frozenset({Attribute.PUBLIC_READ, Attribute.ACL})
_NOT_PROBED = frozenset({Attribute.LAST_MODIFIED})
_LOCKS = frozenset({Attribute.RETENTION, Attribute.LEGAL_HOLD})
_KEYS = frozenset({Attribute.ENCRYPTION, Attribute.KMS})
# Everything is taken over, and whatever needs more than a plain bucket is not there.
CONDITIONAL = Behaviour(lacks=ACLS | {Attribute.REDIRECT}, refuses=_LOCKS | _KEYS)
LIKE_MINIO = Behaviour(
    copy_if_absent=False,
    copy_if_match=False,
    delete_if_match=False,
    folds_leading_slash=True,
    lists_below_objects=False,
    takes_snowballs=True,
    copy_ignores=frozenset({Attribute.EXPIRES}),
    lacks=ACLS | {Attribute.REDIRECT},
    refuses=_LOCKS | _KEYS,
    refuses_double_slash=True,
    refuses_dot_segments=True,
    longest_segment=255,
)
# As documented: a copy is private, of the standard class and under the bucket's own key unless it is asked for more.
LIKE_AWS = Behaviour(
    copy_drops=ACLS | _KEYS | {Attribute.STORAGE_CLASS, Attribute.REDIRECT},
    refuses=_LOCKS,
)


LIKE_SEAWEED = Behaviour(
    ordered_listing=False,
    folds_leading_slash=True,
    folds_double_slash=True,
    folds_backslash=True,
    refuses_dot_segments=True,
    longest_segment=255,
    hashes_copied_parts=False,
    guesses_type=True,
    copy_drops=frozenset({Attribute.ENCRYPTION}),
    lacks=ACLS | {Attribute.REDIRECT},
    refuses=_LOCKS | {Attribute.KMS},
)
LIKE_VERSITYGW = Behaviour(
    copy_if_absent=False,
    copy_if_match=False,
    delete_if_match=False,
    folds_leading_slash=True,
    folds_double_slash=True,
    folds_dots=True,
    lists_below_objects=False,
    mangles_listed=True,
    completes_again=True,
    refuses_neighbours=True,
    copy_drops=frozenset({Attribute.REDIRECT}),
    lacks=ACLS | _KEYS | {Attribute.STORAGE_CLASS},
    refuses=_LOCKS,
    knows_no_acl=True,
    longest_segment=255,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredVersion:
    """One version of an object, or a delete marker (``body`` None)."""

    body: bytes | None
    etag: str
    last_modified: int
    version_id: str | None
    headers: Mapping[str, str] = field(default_factory=dict)
    tags: str = ""
    parts: tuple[int, ...] = ()  # sizes, of an object that was uploaded in parts
    checksums: Mapping[str, str] = field(default_factory=dict)
    acl: Mapping[str, str] = field(default_factory=dict)
    thawed: bool = False  # restored from its archive for a while

    @property
    def is_frozen(self) -> bool:
        """Whether its bytes lie in an archive, so that only a HEAD is answered."""
        return self.headers.get("x-amz-storage-class") in ARCHIVES and not self.thawed

    @property
    def carried(self) -> dict[str, str]:
        """The headers that a copy is to have."""
        return {name: value for name, value in self.headers.items() if name != "x-amz-storage-class" or value not in ARCHIVES}

    def info(self, key: str) -> ObjectInfo:
        """The version as the port describes it."""
        return ObjectInfo(
            key=key,
            etag=self.etag,
            size=len(self.body or b""),
            last_modified=self.last_modified,
            version_id=self.version_id,
            storage_class=self.headers.get("x-amz-storage-class"),
        )


class Bucket:
    """Versions by name, newest last; an unversioned bucket keeps one."""

    def __init__(self, behaviour: Behaviour) -> None:
        self._behaviour = behaviour
        self._versions: dict[str, list[StoredVersion]] = {}
        self._written = 0

    def current(self, name: str) -> StoredVersion | None:
        """The object of that name, None behind a marker."""
        versions = self._versions.get(name)
        return versions[-1] if versions and versions[-1].body is not None else None

    def versions(self, name: str) -> tuple[StoredVersion, ...]:
        """All versions, oldest first."""
        return tuple(self._versions.get(name, ()))

    def names(self) -> list[str]:
        """The names of the objects, in no order."""
        return [name for name, versions in self._versions.items() if versions[-1].body is not None]

    def add(self, name: str, version: StoredVersion) -> StoredVersion:
        """Make *version* the current one."""
        if not self._behaviour.versioning:
            self._versions[name] = [version]
            return version
        self._written += 1
        version = replace(version, version_id=f"v{self._written}")
        self._versions.setdefault(name, []).append(version)
        return version

    def remove(self, name: str, *, now: int) -> None:
        """Delete without a version id: a marker in a versioned bucket, else for good."""
        if self._behaviour.versioning:
            self.add(name, StoredVersion(body=None, etag="", last_modified=now, version_id=None))
        else:
            self._versions.pop(name, None)

    def replace_current(self, name: str, version: StoredVersion) -> None:
        """Change the current version in place (tags)."""
        self._versions[name][-1] = version


def etag_of(body: bytes) -> str:
    """The ETag of an object written in one piece."""
    return md5(body, usedforsecurity=False).hexdigest()
