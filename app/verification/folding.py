"""Which spellings a store takes for one object, found out by reading alone: a verification writes nothing, so it cannot probe."""

from __future__ import annotations

from app.errors import ObjectError
from app.object_store import Capabilities, ObjectStore


def capabilities_by_reading(store: ObjectStore) -> Capabilities:
    """What an endpoint's answers to HEADs of other spellings of an object show; nothing else is taken for granted."""
    page = store.list_page(prefix="", start_after="", delimiter="", limit=100)
    keys = [info.key for info in page.objects]
    plain = next((key for key in keys if not key.startswith("/")), None)
    nested = next((key for key in keys if "/" in key[1:-1] and "//" not in key), None)
    lettered = next((key for key in keys if key.swapcase() != key and key.swapcase() not in keys), None)
    return Capabilities(
        put_if_absent=False,
        put_if_match=False,
        copy_if_absent=False,
        copy_if_match=False,
        copy_source_if_match=False,
        complete_if_absent=False,
        complete_if_match=False,
        delete_if_match=False,
        query_signed_expiry=False,
        ordered_listing=False,
        folds_leading_slash=plain is not None and _is_there(store, f"/{plain}"),
        folds_double_slash=nested is not None and _is_there(store, nested.replace("/", "//", 1)),
        folds_backslash=nested is not None and _is_there(store, nested.replace("/", "\\")),
        folds_case=lettered is not None and _is_there(store, lettered.swapcase()),
        versioning=False,
    )


def _is_there(store: ObjectStore, key: str) -> bool:
    try:
        store.stat(key)
    except ObjectError:  # another object, which is not there, or a key that this store refuses
        return False
    return True
