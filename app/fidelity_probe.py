"""What an endpoint does to an object's attributes on each way to a new key, seen by trying it on throw-away objects.

For each attribute: an object that has it is written, then copied in every way that a move may go, with what a HEAD showed of it; what
arrived decides. A store that takes an attribute and drops it in silence has no object with it, and so loses none.
"""

from __future__ import annotations

import time
import zlib
from base64 import b64encode
from contextlib import suppress
from typing import TYPE_CHECKING, Protocol

from app.errors import DeniedError, ObjectError, RekeyError
from app.fidelity import Fate, Way, attribute_of
from app.fidelity_rules import Attribute
from app.object_store import ObjectAttributes, ObjectStore

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

    from app.object_store import Deadline, ObjectInfo

HELD_SECONDS = 60  # of the retention that is tried: what it leaves behind is free again soon
_BODY = b"probe"
_A = Attribute
_ACLS = frozenset({_A.PUBLIC_READ, _A.ACL})
_SOURCE, _AGAIN = "fidelity-source", "sent"
_NAMES = (_SOURCE, *(f"fidelity-{name}" for name in (*Way, _AGAIN)))
PLAIN_HEADERS = {
    "content-type": "text/x-probe",
    "content-encoding": "x-probe",
    "content-disposition": 'attachment; filename="probe"',
    "content-language": "de",
    "cache-control": "max-age=77",
    "expires": "Thu, 01 Jan 2099 00:00:00 GMT",
    "x-amz-meta-probe": "=?UTF-8?Q?gr=C3=BCn?=",
}
_CHECKSUM = {"x-amz-checksum-crc32": b64encode(zlib.crc32(_BODY).to_bytes(4, "big")).decode()}

Trials = list[tuple[frozenset[Attribute], dict[str, str]]]
Fates = dict[str, dict[str, str]]


class TriedStore(ObjectStore, Protocol):
    """The port, and the end of a legal hold."""

    def release_hold(self, key: str) -> None:
        """End the legal hold of an object."""


def probe_fidelity(store: TriedStore, key: Callable[[str], str], *, lease: Deadline) -> Fates:
    """Try every attribute on objects at keys that *key* makes of names, and that the caller removes.

    Raises the TransientErrors of the store.
    """
    trial = _Trial(store, key, lease)
    for attributes, headers in _trials(store.store_time()):
        if not attributes <= trial.seen:  # of two storage classes the second is tried where the first is refused
            trial.go(attributes, headers)
    return {way: {str(one): fates[one] for one in Attribute if one in fates} for way, fates in trial.fates.items()}


def _trials(now: int) -> Trials:
    until = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(now + HELD_SECONDS))
    retention = {"x-amz-object-lock-mode": "GOVERNANCE", "x-amz-object-lock-retain-until-date": until}
    return [
        (frozenset(filter(None, (attribute_of(name, value) for name, value in PLAIN_HEADERS.items()))), PLAIN_HEADERS),
        (frozenset({_A.TAGS}), {"x-amz-tagging": "probe=1"}),
        (frozenset({_A.REDIRECT}), {"x-amz-website-redirect-location": "/probe"}),
        (frozenset({_A.PUBLIC_READ}), {"x-amz-acl": "public-read"}),
        (frozenset({_A.ACL}), {"x-amz-acl": "authenticated-read"}),
        (frozenset({_A.STORAGE_CLASS}), {"x-amz-storage-class": "REDUCED_REDUNDANCY"}),
        (frozenset({_A.STORAGE_CLASS}), {"x-amz-storage-class": "STANDARD_IA"}),
        (frozenset({_A.ENCRYPTION}), {"x-amz-server-side-encryption": "AES256"}),
        (frozenset({_A.KMS}), {"x-amz-server-side-encryption": "aws:kms"}),
        (frozenset({_A.CHECKSUM}), _CHECKSUM),
        (frozenset({_A.RETENTION}), retention),
        (frozenset({_A.LEGAL_HOLD}), {"x-amz-object-lock-legal-hold": "ON"}),
    ]


class _Trial:
    """All trials of one store; the same keys serve each."""

    def __init__(self, store: TriedStore, key: Callable[[str], str], lease: Deadline) -> None:
        self.fates: Fates = {str(way): {} for way in Way}
        self.seen: set[Attribute] = set()  # on some object
        self._store = store
        self._key = key
        self._lease = lease

    def go(self, attributes: frozenset[Attribute], headers: Mapping[str, str]) -> None:
        """Try *attributes*, which *headers* stand for."""
        try:
            self._go(attributes, headers)
        finally:
            if _A.LEGAL_HOLD in attributes:
                for name in _NAMES:
                    with suppress(RekeyError):
                        self._store.release_hold(self._key(name))

    def _go(self, attributes: frozenset[Attribute], headers: Mapping[str, str]) -> None:
        key = self._key(_SOURCE)
        shown: Mapping[str, str] = {}
        otherwise = Fate.ABSENT
        try:
            self._put(key, headers)
            shown = self._shown(key, attributes)
        except _UnseenError:
            otherwise = Fate.UNSEEN
        except DeniedError:
            otherwise = Fate.DENIED
        except ObjectError:  # no object can have it, then
            otherwise = Fate.ABSENT
        there = {one for one in attributes if _of(one, shown)}
        for way in Way:
            self.fates[way] |= dict.fromkeys(map(str, attributes - there), str(otherwise))
        if there:
            self.seen |= there
            self._ways(there, shown, self._store.stat(key))

    def _ways(self, there: set[Attribute], shown: Mapping[str, str], source: ObjectInfo) -> None:
        self._note(Way.PUT, self._tried(Way.PUT, there, shown, lambda key: self._put(key, shown)))
        self._note(Way.PARTS, self._tried(Way.PARTS, there, shown, lambda key: self._upload(key, shown, source)))
        by_itself = self._tried(Way.COPY, there, shown, lambda key: self._copy(key, {}, source))
        rest = {one for one, fate in by_itself.items() if fate is not Fate.SENT}
        self._note(Way.COPY, dict.fromkeys(there - rest, Fate.KEPT))
        if rest:
            said = {name: value for name, value in shown.items() if attribute_of(name, value) in rest}
            self._note(Way.COPY, self._tried(_AGAIN, rest, shown, lambda key: self._copy(key, said, source)))

    def _note(self, way: Way, fates: Mapping[Attribute, Fate]) -> None:
        self.fates[way] |= {str(one): str(fate) for one, fate in fates.items()}

    def _tried(self, name: str, there: set[Attribute], shown: Mapping[str, str], write: Callable[[str], object]) -> dict[Attribute, Fate]:
        key = self._key(f"fidelity-{name}")
        try:
            write(key)
            arrived = self._shown(key, there)
        except DeniedError:
            return dict.fromkeys(there, Fate.DENIED)
        except ObjectError:
            return dict.fromkeys(there, Fate.LOST)
        return {one: Fate.SENT if _of(one, arrived) == _of(one, shown) else Fate.LOST for one in there}

    def _put(self, key: str, headers: Mapping[str, str]) -> None:
        self._store.put(key, _BODY, ObjectAttributes(headers=headers), condition=None, deadline=self._lease)

    def _copy(self, key: str, headers: Mapping[str, str], source: ObjectInfo) -> None:
        self._store.copy(source, key, condition=None, deadline=self._lease, headers=headers)

    def _upload(self, key: str, headers: Mapping[str, str], source: ObjectInfo) -> None:
        said = {name: value for name, value in headers.items() if attribute_of(name, value) is not _A.CHECKSUM}
        upload = self._store.create_upload(key, ObjectAttributes(headers=said), deadline=self._lease)
        try:
            etag = self._store.copy_part(upload, key, 1, source, first=0, last=len(_BODY) - 1, deadline=self._lease)
            self._store.complete_upload(upload, key, [etag], condition=None, deadline=self._lease)
        except BaseException:
            self._store.abort_upload(upload, key)
            raise

    def _shown(self, key: str, attributes: Collection[Attribute]) -> dict[str, str]:
        """What the store shows of the object at *key*, as headers of a write."""
        found = self._store.head(key).attributes
        shown = {**found.headers, **found.checksums}
        if found.tag_count and _A.TAGS in attributes:
            shown["x-amz-tagging"] = self._store.tags(key)
        if not _ACLS.isdisjoint(attributes):
            try:
                shown |= self._store.acl(key)
            except DeniedError as error:
                raise _UnseenError(key, error.detail) from error
        return shown


class _UnseenError(ObjectError):
    """The ACL may not be looked at."""


def _of(attribute: Attribute, headers: Mapping[str, str]) -> dict[str, str]:
    """Those of *headers* that stand for *attribute*."""
    return {name: value for name, value in headers.items() if attribute_of(name, value) is attribute}
