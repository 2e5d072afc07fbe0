"""Which spellings a store takes for one object, where no probe has told yet: by HEADs of an object that is there, nothing written."""

from __future__ import annotations

import contextlib
from unicodedata import normalize

from app.errors import ObjectError
from app.object_keys import Equivalence
from app.object_store import ObjectInfo, ObjectStore


def folds_of(store: ObjectStore) -> Equivalence:
    """The equivalence as far as the first objects show it; a spelling that cannot be tried counts as another object."""
    try:
        objects = store.list_page(prefix="", start_after="", delimiter="", limit=100).objects
    except ObjectError:  # listing is denied: nothing is known
        return Equivalence()
    keys = {info.key for info in objects}
    plain = next((info for info in objects if not info.key.startswith("/")), None)
    nested = next((info for info in objects if "/" in info.key.strip("/") and "//" not in info.key), None)
    cased = next((info for info in objects if info.key.swapcase() != info.key and info.key.swapcase() not in keys), None)
    accented = next((info for info in objects if _respelled(info.key) not in {info.key, *keys}), None)
    return Equivalence(
        folds_leading_slash=plain is not None and _same(store, plain, "/" + plain.key),
        folds_double_slash=nested is not None and _same(store, nested, nested.key.replace("/", "//", 1)),
        folds_backslash=nested is not None and _same(store, nested, nested.key.replace("/", "\\", 1)),
        folds_dots=nested is not None and _same(store, nested, nested.key.replace("/", "/./", 1)),
        folds_case=cased is not None and _same(store, cased, cased.key.swapcase()),
        folds_unicode=accented is not None and _same(store, accented, _respelled(accented.key)),
    )


def are_two(store: ObjectStore, one: ObjectInfo, other: ObjectInfo) -> bool:
    """Whether two keys surely name two objects: versions that differ, or a listing that has each key as it is spelled.

    A store may fold keys in a way that no probe asks for; then the equal object at the other key is the object itself (case 1).
    """
    return not one.is_same_version(other) or (_is_listed(store, one.key) and _is_listed(store, other.key))


def _is_listed(store: ObjectStore, key: str) -> bool:
    with contextlib.suppress(ObjectError):
        return any(found.key == key for found in store.list_page(prefix=key, start_after="", delimiter="", limit=1).objects)
    return False


def _respelled(key: str) -> str:
    """The key with its accents as one letter each, or apart where they are so already."""
    composed = normalize("NFC", key)
    return composed if composed != key else normalize("NFD", key)


def _same(store: ObjectStore, there: ObjectInfo, spelling: str) -> bool:
    with contextlib.suppress(ObjectError):
        found = store.stat(spelling)
        return (found.etag, found.size, found.last_modified) == (there.etag, there.size, there.last_modified)
    return False
