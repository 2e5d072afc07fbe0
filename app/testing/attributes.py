"""What an in-memory store makes of the headers of a write."""

from __future__ import annotations

from typing import TYPE_CHECKING

from app.errors import DeniedError, StoreRequestError
from app.fidelity import attribute_of
from app.fidelity_rules import Attribute

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from app.testing.versions import Behaviour, StoredVersion

_ACL = ("x-amz-acl", "x-amz-grant-")
_CHECKSUM = "x-amz-checksum-"


def check(behaviour: Behaviour, key: str, headers: Mapping[str, str]) -> None:
    """Refuse a write that says what this store, or these credentials, may not set."""
    asked = {attribute_of(name, value) for name, value in headers.items()}
    if asked & behaviour.denies:
        raise DeniedError(key, "AccessDenied")
    if asked & behaviour.refuses:
        raise StoreRequestError(key, "NotImplemented")


def without(headers: Mapping[str, str], attributes: Collection[Attribute | None]) -> dict[str, str]:
    """*headers* but for those of *attributes*."""
    return {name: value for name, value in headers.items() if attribute_of(name, value) not in attributes}


def apart(headers: Mapping[str, str]) -> tuple[dict[str, str], dict[str, str], dict[str, str]]:
    """What a HEAD shows at once, what it shows when asked (checksums), and the ACL."""
    acl = {name: value for name, value in headers.items() if name.startswith(_ACL)}
    checksums = {name: value for name, value in headers.items() if name.startswith(_CHECKSUM)}
    return {name: value for name, value in headers.items() if name not in acl and name not in checksums}, checksums, acl


def copied(behaviour: Behaviour, found: StoredVersion, headers: Mapping[str, str]) -> tuple[dict[str, str], str]:
    """Headers and tags of a CopyObject of *found* whose request says *headers*."""
    dropped = behaviour.copy_drops | behaviour.copy_ignores
    kept = without({**found.carried, **found.checksums, **found.acl}, dropped) | without(headers, behaviour.copy_ignores)
    return kept, "" if Attribute.TAGS in dropped else found.tags
