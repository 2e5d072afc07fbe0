"""A key of its own for an asset whose new key is another's: ``logo.png`` becomes ``logo-7x3k9q2m4t.png`` (REKEY_ON_COLLISION=suffix). Pure.

The suffix is a hash of the table, the row's id and its old key, so that it is the same whoever computes it, and whenever. It stands in the
place of the name, and so the key has the template's form: a row that names it is in place.
"""

from __future__ import annotations

import hashlib
import json

from app.key_values import MAX_KEY_BYTES, MAX_SEGMENT_BYTES, KeyRefusedError
from app.states import ParkedReason

LETTERS = "0123456789abcdefghjkmnpqrstvwxyz"  # small ones, so that no store folds two suffixes into one, and none that look alike
LENGTH = 10  # of five bits each: of a million rows with one name, two have the same with a chance of 0.0004 (then the second is parked)
LONGEST_EXTENSION = 16  # characters after the last dot that are taken for an extension


def suffix_of(table: str, row_id: str, old_key: str) -> str:
    """The suffix of one row's asset."""
    said = json.dumps([table, row_id, old_key])  # ASCII, whatever the key holds
    number = int.from_bytes(hashlib.sha256(said.encode()).digest()[:8])
    return "".join(LETTERS[number >> 5 * place & 31] for place in range(LENGTH))


def with_suffix(head: str, name: str, tail: str, suffix: str, *, longest: int | None = None) -> str:
    """The key *head* + *name* + *tail* with *suffix* behind the name's stem, which is cut where the key would become too long.

    *longest*: the characters that the key column takes, where it is bounded.

    Raises:
        KeyRefusedError: Nothing of the name would be left (``too_long``).
    """
    folder, slash, last = name.rpartition("/")
    stem, extension = _split(last)
    before, after = f"{head}{folder}{slash}", f"-{suffix}{extension}{tail}"
    beside = len((before.rpartition("/")[2] + after.partition("/")[0]).encode())  # bytes of the stem's segment that are not its own
    whole = len((before + after).encode())
    while stem:
        too_many = longest is not None and len(before + stem + after) > longest
        size = len(stem.encode())
        if not too_many and size + beside <= MAX_SEGMENT_BYTES and size + whole <= MAX_KEY_BYTES:
            return before + stem + after
        stem = stem[:-1]
    raise KeyRefusedError(ParkedReason.TOO_LONG, "the new key is another asset's, and with a suffix of its own nothing is left of the name")


def _split(name: str) -> tuple[str, str]:
    stem, dot, extension = name.rpartition(".")
    if not stem.strip(".") or not 0 < len(extension) <= LONGEST_EXTENSION:
        return name, ""
    return stem, dot + extension
