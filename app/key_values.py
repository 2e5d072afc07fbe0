"""Which values of a row may be part of an object key, and as what text. Pure."""

from __future__ import annotations

import datetime as dt
import decimal
import uuid

from app.errors import PermanentError
from app.states import ParkedReason

MAX_KEY_BYTES = 1024  # UTF-8 bytes of a whole key (S3)
MAX_SEGMENT_BYTES = 255  # UTF-8 bytes between two slashes (MinIO and SeaweedFS keep them as file names: case 6)
RESERVED_PREFIX = ".rekey/"  # the product's own objects in the bucket: of the probe, the journal, reports; never an asset
MAX_WHOLE_FLOAT = 2**53  # above this a float is no exact whole number any more

_DOTS = frozenset({".", ".."})


class KeyRefusedError(PermanentError):
    """A row cannot get a new key: ``KeyRefusedError(reason, detail)``; the planner parks the row with both."""

    def __init__(self, reason: ParkedReason, detail: str) -> None:
        super().__init__(reason, detail)
        self.reason = reason
        self.detail = detail

    def __str__(self) -> str:
        return f"{self.reason}: {self.detail}"


def check_old_key(value: object) -> str:
    """The value of the key column, if a store can hold an object of that key.

    Raises:
        KeyRefusedError: It cannot (``bad_name``, ``too_long``).
    """
    if value is not None and not isinstance(value, str):
        raise KeyRefusedError(ParkedReason.BAD_NAME, f"the key column holds no text but {type(value).__name__}")
    key = key_text(value, "the key column")
    if len(key.encode()) > MAX_KEY_BYTES:
        raise KeyRefusedError(ParkedReason.TOO_LONG, f"the key column holds more than {MAX_KEY_BYTES} bytes")
    return key


def check_new_key(key: str) -> str:
    """*key* itself, if it is short enough.

    Raises:
        KeyRefusedError: The whole or a segment is too long (``too_long``).
    """
    if len(key.encode()) > MAX_KEY_BYTES:
        raise KeyRefusedError(ParkedReason.TOO_LONG, f"the new key has more than {MAX_KEY_BYTES} bytes")
    if any(len(segment.encode()) > MAX_SEGMENT_BYTES for segment in key.split("/")):
        raise KeyRefusedError(ParkedReason.TOO_LONG, f"a segment of the new key has more than {MAX_SEGMENT_BYTES} bytes")
    return key


def key_text(value: object, what: str) -> str:
    """The text that *value* stands for in a key; *what* names it in the refusal.

    Raises:
        KeyRefusedError: It is NULL, empty, blank, no UTF-8 text, or of a type without one text form (``bad_name``).
    """
    text = _as_text(value)
    if text is None:
        raise KeyRefusedError(ParkedReason.BAD_NAME, f"{what} is {'NULL' if value is None else 'no text but ' + type(value).__name__}")
    if not text.strip():
        raise KeyRefusedError(ParkedReason.BAD_NAME, f"{what} is {'blank' if text else 'empty'}")
    if not is_utf8(text) or "\0" in text:
        raise KeyRefusedError(ParkedReason.BAD_NAME, f"{what} holds bytes that are no UTF-8 text, or NUL")
    return text


def segment_text(value: object, what: str, *, backslash_is_slash: bool = False) -> str:
    """As ``key_text``, for a value that has to stay within one segment: it could climb into another client's prefix (case 2).

    Raises:
        KeyRefusedError: Besides: it holds a slash, or is ``.`` or ``..`` (``bad_name``).
    """
    text = key_text(value, what)
    if "/" in text or (backslash_is_slash and "\\" in text):
        raise KeyRefusedError(ParkedReason.BAD_NAME, f"{what} holds a slash")
    if text in _DOTS:
        raise KeyRefusedError(ParkedReason.BAD_NAME, f"{what} is {text!r}")
    return text


def has_bad_segment(key: str) -> bool:
    """Whether a segment is empty, blank, ``.`` or ``..`` (a slash at either end makes an empty one)."""
    return any(segment in _DOTS or not segment.strip() for segment in key.split("/"))


def is_utf8(text: str) -> bool:
    """Whether UTF-8 can carry *text*: a lone surrogate stands for bytes in the database that are no UTF-8."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _as_text(value: object) -> str | None:
    """One text for each value, the same on every database; None for types that have none (bool, bytes, fractions, times)."""
    if isinstance(value, str):
        return value
    if isinstance(value, int | uuid.UUID) and not isinstance(value, bool):
        return str(value)
    if isinstance(value, decimal.Decimal) and value.is_finite() and value == value.to_integral_value():
        return str(int(value))  # NUMERIC ids
    if isinstance(value, float) and value.is_integer() and abs(value) < MAX_WHOLE_FLOAT:
        return str(int(value))  # a whole number in a SQLite column of type REAL
    if isinstance(value, dt.date) and not isinstance(value, dt.datetime):
        return value.isoformat()
    return None
