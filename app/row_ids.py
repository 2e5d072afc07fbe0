"""The id of a row of the assets table as text for the ledger, and back. Pure.

A JSON list, one entry a column of the id; what JSON cannot say itself is an object with a one-letter tag.
"""

from __future__ import annotations

import datetime as dt
import decimal
import json
import uuid
from collections.abc import Callable, Sequence


def to_text(values: Sequence[object]) -> str:
    """The values of the id columns as one text, equal for equal ids only.

    Raises:
        TypeError: A column has a type that cannot be an id (floats and such).
    """
    return json.dumps([_tagged(value) for value in values], ensure_ascii=True, separators=(",", ":"))


def from_text(text: str) -> tuple[object, ...]:
    """The values again, of the types that the database gave them with."""
    return tuple(_plain(value) for value in json.loads(text))


def _tagged(value: object) -> object:
    if isinstance(value, bool) or value is None:
        raise TypeError(f"a row id cannot be {value!r}")
    if isinstance(value, int | str):
        return value
    if isinstance(value, uuid.UUID):
        return {"u": value.hex}
    if isinstance(value, decimal.Decimal):
        return {"d": str(value)}
    if isinstance(value, dt.datetime):
        return {"t": value.isoformat()}
    if isinstance(value, dt.date):
        return {"a": value.isoformat()}
    if isinstance(value, bytes | bytearray | memoryview):
        return {"b": bytes(value).hex()}
    raise TypeError(f"a row id cannot be of type {type(value).__name__}")


def _plain(value: object) -> object:
    if not isinstance(value, dict):
        return value
    ((tag, text),) = value.items()
    makers: dict[str, Callable[[str], object]] = {
        "u": uuid.UUID,
        "d": decimal.Decimal,
        "t": dt.datetime.fromisoformat,
        "a": dt.date.fromisoformat,
        "b": bytes.fromhex,
    }
    return makers[tag](text)
