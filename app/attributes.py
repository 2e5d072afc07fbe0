"""Everything that a write has to carry for an object to arrive as it was, and what it cannot (CASES 12, 13)."""

from __future__ import annotations

import posixpath
from collections.abc import Collection
from dataclasses import dataclass, field, replace

from app.errors import FidelityError
from app.fidelity import Fate, Way, attribute_of, fate_of, losses, needs_acl, needs_head, to_send
from app.fidelity_rules import Attribute, Policy, names
from app.object_store import ObjectAttributes, ObjectInfo, ObjectStore, ReadObject

UNTYPED = "application/octet-stream"  # which a store that guesses takes for none


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """What a write carries, and what is lost on its way."""

    attributes: ObjectAttributes = field(default_factory=ObjectAttributes)
    lost: frozenset[Attribute] = frozenset()


def is_retyped(store: ObjectStore, key: str, new_key: str) -> bool:
    """Whether the store may tell another content type at the new key, of an object without one of its own (it goes by the extension)."""
    return store.capabilities.guesses_type and posixpath.splitext(key)[1] != posixpath.splitext(new_key)[1]


def load_of(store: ObjectStore, read: ReadObject, new_key: str, way: Way, policy: Policy) -> Load:
    """What a write of *read* to *new_key* carries.

    Raises:
        FidelityError: It would lose what the operator wishes to be kept; nothing was written.
    """
    has = gathered(store, read, (way,), policy)
    untyped = has.headers.get("content-type", UNTYPED) == UNTYPED and posixpath.splitext(new_key)[1]
    guessed = {Attribute.CONTENT_TYPE} if untyped and is_retyped(store, read.info.key, new_key) else set()
    return _load(read.info, has, store, way, policy, more=frozenset(guessed))


def load_of_copy(
    store: ObjectStore, source: ObjectInfo, *, seen: ReadObject | None, otherwise: Way, policy: Policy
) -> tuple[ObjectInfo, Load] | None:
    """What a CopyObject of *source* has to say, and the version that it is of; None if the way *otherwise* keeps more of it.

    Nothing is asked of a store whose CopyObject takes over everything that somebody minds. *seen*: the source as a HEAD has
    shown it already.

    Raises:
        FidelityError, MissingObjectError and what a HEAD says.
    """
    fates = store.capabilities.fidelity
    if not needs_head(fates, policy) and not needs_acl(fates, Way.COPY, policy):
        return source, Load()
    read = seen or store.head(source.key)
    has = gathered(store, read, (Way.COPY,), policy, or_acl_by=otherwise)

    lost, other = losses(has, fates, Way.COPY), losses(has, fates, otherwise)
    less_harm = (len(policy.parking(other)), len(other)) < (len(policy.parking(lost)), len(lost))
    denied = any(fate_of(fates, Way.COPY, one) is Fate.DENIED for one in lost)  # the store would take it over, and refuse us for that
    if less_harm or denied:
        return None
    return read.info, _load(read.info, has, store, Way.COPY, policy)


def gathered(
    store: ObjectStore, read: ReadObject, ways: Collection[Way], policy: Policy, *, or_acl_by: Way | None = None
) -> ObjectAttributes:
    """All that an object has; what needs a request of its own only where one of *ways* has to be told (the ACL: or that other way)."""
    fates, key = store.capabilities.fidelity, read.info.key
    more: dict[str, str] = {}
    tagged = read.attributes.tag_count and policy.minds(Attribute.TAGS)
    if tagged and any(fate_of(fates, way, Attribute.TAGS) is Fate.SENT for way in ways):
        more["x-amz-tagging"] = store.tags(key)
    if any(needs_acl(fates, way, policy) for way in (*ways, *filter(None, (or_acl_by,)))):
        more |= store.acl(key)
    return replace(read.attributes, headers={**read.attributes.headers, **more}) if more else read.attributes


def comparable(store: ObjectStore, read: ReadObject, policy: Policy) -> ObjectAttributes:
    """What a copy must have in common with its source, but for what the operator lets go."""
    has, fates = gathered(store, read, (Way.PUT, Way.PARTS), policy), store.capabilities.fidelity
    arrives = {Fate.KEPT, Fate.SENT}
    let_go = {one for one in Attribute if policy.lets_go(one) and any(fate_of(fates, way, one) not in arrives for way in Way)}
    if not policy.minds(Attribute.TAGS):  # a copy by the worker has none then
        let_go.add(Attribute.TAGS)
    headers = {name: value for name, value in has.headers.items() if attribute_of(name, value) not in let_go}
    return replace(has, headers=headers, tag_count=0 if Attribute.TAGS in let_go else has.tag_count)


def missing(source: ReadObject, copy: ReadObject) -> frozenset[Attribute]:
    """What a HEAD shows of *source* and not of its *copy*."""
    theirs, ours = source.attributes, copy.attributes
    unlike = {attribute_of(name, value) for name, value in theirs.headers.items() if ours.headers.get(name) != value}
    if theirs.checksums and not ours.checksums:
        unlike.add(Attribute.CHECKSUM)
    if theirs.tag_count != ours.tag_count:
        unlike.add(Attribute.TAGS)
    return frozenset(one for one in unlike if one is not None)


def _load(
    info: ObjectInfo, has: ObjectAttributes, store: ObjectStore, way: Way, policy: Policy, *, more: frozenset[Attribute] = frozenset()
) -> Load:
    fates = store.capabilities.fidelity
    lost = losses(has, fates, way) | more
    parking = policy.parking(lost)
    if parking:
        raise FidelityError(info.key, f"{names(parking)} cannot be kept here (REKEY_FIDELITY)")
    return Load(attributes=to_send(has, fates, way), lost=lost)
