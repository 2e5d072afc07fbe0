"""The id of a row of the assets table as text for the ledger, and back. Pure.

A JSON list, one entry a column of the id; what JSON cannot say itself is an object with a one-letter tag.
"""

from __future__ import annotations

import datetime as dt
import decimal
import itertools
import json
import uuid
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any


def to_text(values: Sequence[object]) -> str:
    """The values of the id columns as one text, equal for equal ids only.

    Raises:
        TypeError: A column is NULL, or of a type that cannot be an id.
    """
    return json.dumps([_tagged(value) for value in values], ensure_ascii=True, separators=(",", ":"))


def from_text(text: str) -> tuple[object, ...]:
    """The values again, of the types that the database gave them with."""
    return tuple(_plain(value) for value in json.loads(text))


def meant(text: str, *, columns: int) -> list[str]:
    """The ledger's texts for the ids that a person may mean by *text*: 42 is a number or a text, and may be a date or a UUID.

    *columns*: of the primary key; their values are separated by commas.
    """
    parts = text.split(",", columns - 1)
    found = [to_text(values) for values in itertools.product(*map(_readings, parts))] if len(parts) == columns else []
    return found + _as_reported(text, columns)


def _as_reported(text: str, columns: int) -> list[str]:
    """The id that *text* is if it is the JSON list of a report; what is none is no mistake."""
    if not text.startswith("["):
        return []
    with suppress(ValueError, TypeError, KeyError, AttributeError, RecursionError, decimal.InvalidOperation):
        values = from_text(text)
        return [to_text(values)] if len(values) == columns else []
    return []


def shown(text: str) -> str:
    """The ledger's text of an id as a person writes it, and as ``meant`` takes it."""
    return ",".join([value.hex() if isinstance(value, bytes) else str(value) for value in from_text(text)])


def _readings(part: str) -> list[object]:
    found: list[object] = [part]
    for read in (int, uuid.UUID, dt.date.fromisoformat, dt.datetime.fromisoformat, decimal.Decimal):
        with suppress(ValueError, decimal.InvalidOperation):
            found.append(read(part))
    return found


_TAGS: tuple[tuple[type | tuple[type, ...], str, Callable[[Any], str], Callable[[str], object]], ...] = (
    (float, "f", float.hex, float.fromhex),
    (uuid.UUID, "u", lambda value: value.hex, uuid.UUID),
    (decimal.Decimal, "d", str, decimal.Decimal),
    (dt.datetime, "t", dt.datetime.isoformat, dt.datetime.fromisoformat),  # before date, which it is too
    (dt.date, "a", dt.date.isoformat, dt.date.fromisoformat),
    ((bytes, bytearray, memoryview), "b", lambda value: bytes(value).hex(), bytes.fromhex),
)
_MAKERS = {tag: maker for _, tag, _, maker in _TAGS}


def _tagged(value: object) -> object:
    if isinstance(value, bool | int | str):
        return value
    for kind, tag, to_string, _ in _TAGS:
        if isinstance(value, kind):
            return {tag: to_string(value)}
    raise TypeError(f"a row id cannot be {'NULL' if value is None else 'of type ' + type(value).__name__}")


def _plain(value: object) -> object:
    if not isinstance(value, dict):
        return value
    ((tag, text),) = value.items()
    return _MAKERS[tag](text)
