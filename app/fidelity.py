"""What becomes of what an object has besides its bytes, on each way to the new key (CASES 12, 13). Pure.

A store is judged by what the start-up probe saw of it (``app.fidelity_probe``), never by its name. The fates are a table, way of copying ->
attribute -> fate, which is part of ``app.object_store.Capabilities`` and so of a run's record.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from enum import StrEnum

from app.fidelity_rules import Attribute, Policy, Rule, in_order
from app.object_store import METADATA, Capabilities, ObjectAttributes

_A = Attribute


class Way(StrEnum):
    """How the bytes get there."""

    COPY = "copy"  # CopyObject
    PUT = "put"  # GET and PUT
    PARTS = "parts"  # a multipart upload whose parts the store copies


class Fate(StrEnum):
    """What becomes of an attribute on one way."""

    KEPT = "kept"  # the store takes it over by itself
    SENT = "sent"  # it arrives if we send it again
    LOST = "lost"  # it does not arrive, or the store refuses a write that has it
    DENIED = "denied"  # these credentials may not set it
    ABSENT = "absent"  # no object of this bucket has it
    UNSEEN = "unseen"  # these credentials may not look at it


Fates = Mapping[str, Mapping[str, str]]
_ARRIVES = frozenset({Fate.KEPT, Fate.SENT})
# Classes that a write may ask for: GLACIER and DEEP_ARCHIVE would make the copy unreadable, and a tier's name is no class to write to.
_CLASSES = frozenset({"REDUCED_REDUNDANCY", "STANDARD_IA", "ONEZONE_IA", "INTELLIGENT_TIERING", "GLACIER_IR"})

_BY_HEADER = {
    "content-type": _A.CONTENT_TYPE,
    "content-encoding": _A.CONTENT_ENCODING,
    "content-disposition": _A.CONTENT_DISPOSITION,
    "content-language": _A.CONTENT_LANGUAGE,
    "cache-control": _A.CACHE_CONTROL,
    "expires": _A.EXPIRES,
    "x-amz-tagging": _A.TAGS,
    "x-amz-website-redirect-location": _A.REDIRECT,
    "x-amz-storage-class": _A.STORAGE_CLASS,
    "x-amz-server-side-encryption-aws-kms-key-id": _A.KMS,
    "x-amz-server-side-encryption-bucket-key-enabled": _A.KMS,
    "x-amz-object-lock-mode": _A.RETENTION,
    "x-amz-object-lock-retain-until-date": _A.RETENTION,
    "x-amz-object-lock-legal-hold": _A.LEGAL_HOLD,
}
ALL_USERS = "http://acs.amazonaws.com/groups/global/AllUsers"
_PUBLIC = {"public-read", "public-read-write"}
# What needs a request of its own to be seen.
_OF_ACL = frozenset({_A.PUBLIC_READ, _A.ACL})
_NO_HEADER = _OF_ACL | {_A.LAST_MODIFIED}
_NOT_BY_ITSELF = frozenset({Fate.SENT, Fate.LOST, Fate.DENIED})  # what arrives only if the worker sees to it, or not at all


def attribute_of(name: str, value: str) -> Attribute | None:
    """What a header of a write carries; None: nothing that the contract names."""
    if name.startswith(METADATA):
        return _A.METADATA
    if name.startswith("x-amz-checksum-"):
        return _A.CHECKSUM
    if name == "x-amz-server-side-encryption":
        return _A.KMS if "kms" in value else _A.ENCRYPTION
    if name == "x-amz-acl":
        return _A.PUBLIC_READ if value == "public-read" else _A.ACL
    if name.startswith("x-amz-grant-"):
        return _A.ACL
    return _BY_HEADER.get(name)


def found_in(attributes: ObjectAttributes) -> frozenset[Attribute]:
    """What an object has."""
    found = {one for one in map(attribute_of, attributes.headers.keys(), attributes.headers.values()) if one is not None}
    found |= {_A.TAGS} if attributes.tag_count else set()
    found |= {_A.CHECKSUM} if attributes.checksums else set()
    if attributes.headers.get("x-amz-acl") in _PUBLIC or ALL_USERS in attributes.headers.get("x-amz-grant-read", ""):
        found |= {_A.PUBLIC_READ}
    return frozenset(found)


def fate_of(fates: Fates, way: Way, attribute: Attribute) -> Fate:
    """What was seen to become of *attribute*; where nothing was seen (an older record), that it arrives."""
    if attribute is _A.LAST_MODIFIED:
        return Fate.LOST
    assumed = Fate.ABSENT if attribute in _OF_ACL else Fate.KEPT if way is Way.COPY else Fate.SENT
    return Fate(fates.get(way, {}).get(attribute, assumed))


def losses(attributes: ObjectAttributes, fates: Fates, way: Way) -> frozenset[Attribute]:
    """What of an object's attributes would not arrive."""
    lost = {found for found in found_in(attributes) if fate_of(fates, way, found) not in _ARRIVES}
    if not all(_can_be_sent(name, value) for name, value in attributes.headers.items()):
        lost.add(_A.STORAGE_CLASS)
    if way is Way.PUT and not all(_can_be_sent(name, value) for name, value in attributes.checksums.items()):
        lost.add(_A.CHECKSUM)
    return frozenset(lost)


def least_lost(attributes: ObjectAttributes, fates: Fates, ways: Iterable[Way], policy: Policy) -> frozenset[Attribute]:
    """What would not arrive on that one of *ways* which does the least harm: parks for the fewest, then loses the fewest."""
    return min((losses(attributes, fates, way) for way in ways), key=lambda lost: (len(policy.parking(lost)), len(lost)))


def to_send(attributes: ObjectAttributes, fates: Fates, way: Way) -> ObjectAttributes:
    """What a write has to carry: not what the store takes over by itself, nor what it would refuse."""

    def wanted(name: str, value: str) -> bool:
        attribute = attribute_of(name, value)
        return attribute is None or (fate_of(fates, way, attribute) is Fate.SENT and _can_be_sent(name, value))

    headers = {name: value for name, value in attributes.headers.items() if wanted(name, value)}
    checksums = {name: value for name, value in attributes.checksums.items() if wanted(name, value)}
    return replace(attributes, headers=headers, checksums=checksums)


def _can_be_sent(name: str, value: str) -> bool:
    """Whether a write may ask for just this value. The checksum of an upload in parts ("...-3") is none of the bytes as a whole."""
    if name == "x-amz-storage-class":
        return value in _CLASSES
    return not name.startswith("x-amz-checksum-") or "-" not in value


def needs_head(fates: Fates, policy: Policy) -> bool:
    """Whether CopyObject may lose something that only a look at the source's headers tells, and somebody minds."""
    return any(policy.minds(one) and fate_of(fates, Way.COPY, one) in _NOT_BY_ITSELF for one in Attribute if one not in _NO_HEADER)


def needs_acl(fates: Fates, way: Way, policy: Policy) -> bool:
    """Whether objects have ACLs of their own that *way* does not take over, and somebody minds."""
    return any(policy.minds(one) and fate_of(fates, way, one) in _NOT_BY_ITSELF for one in _OF_ACL)


def ways_of(seen: Capabilities, *, copy_mode: str) -> tuple[Way, ...]:
    """The ways that a run goes on an endpoint: by the store itself where that is safe (S3) and wished, or the operator vouches for it."""
    safe = seen.copy_if_absent and seen.copy_source_if_match
    by_store = copy_mode == "server" or (copy_mode == "auto" and safe)
    return (Way.COPY, Way.PARTS) if by_store else (Way.PUT, Way.PARTS)


def is_vouched_for(seen: Capabilities, *, copy_mode: str) -> bool:
    """Whether, on some way, nothing but the operator's word keeps others from the new keys."""
    return copy_mode == "server" and not (seen.copy_if_absent and seen.puts_back_safely)


def takes_small_together(seen: Capabilities, *, copy_mode: str) -> bool:
    """Whether small objects go several in one request (app.stages.snowballs): no condition can go with it."""
    return seen.takes_snowballs and is_vouched_for(seen, copy_mode=copy_mode)


def unkept(fates: Fates, ways: Iterable[Way], policy: Policy) -> list[Attribute]:
    """What the operator will not start a run without, and this endpoint cannot keep on one of *ways*."""
    bad = {Fate.LOST, Fate.DENIED, Fate.UNSEEN}
    tried = list(ways)
    return in_order(
        one
        for one in Attribute
        if one is not _A.LAST_MODIFIED and policy.rule(one) is Rule.FAIL and any(fate_of(fates, way, one) in bad for way in tried)
    )
