"""The text forms of S3: object keys in URLs and XML, dates, header values. Pure."""

from __future__ import annotations

import re
from calendar import timegm
from functools import lru_cache
from urllib.parse import quote

_PLAIN = re.compile(r"[A-Za-z0-9._~/-]*").fullmatch
# What an XML document carries there and back: no C0 or C1 control (a CR comes back as LF and names another key), no surrogate, no
# non-character, no blank at either end (CASES 7).
_XML_SAFE = re.compile(
    "[!-~\xa1-\ud7ff\ue000-\ufdcf\ufdf0-\ufffd\U00010000-\U0010ffff](?:[ -~\xa0-\ud7ff\ue000-\ufdcf\ufdf0-\ufffd\U00010000-\U0010ffff]*"
    "[!-~\xa1-\ud7ff\ue000-\ufdcf\ufdf0-\ufffd\U00010000-\U0010ffff])?"
).fullmatch
_MONTHS = {
    name: number for number, name in enumerate(["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"], 1)
}


def encode_key(key: str) -> str:
    """The key as a URL path, each byte outside SigV4's unreserved set encoded exactly once (CASES 3)."""
    return key if _PLAIN(key) else quote(key, safe="/-_.~")


def encode_value(value: str) -> str:
    """A value as a query argument, in SigV4's canonical form."""
    return quote(value, safe="-_.~")


def survives_xml(key: str) -> bool:
    """Whether an XML document can name the key without changing it."""
    return _XML_SAFE(key) is not None


def is_deleted_alone(key: str) -> bool:
    """Whether DeleteObjects cannot name the key: XML would change it, or some store names it differently in its answer (M6)."""
    return not survives_xml(key) or key.startswith("/") or key.endswith("/") or "//" in key or "\\" in key


@lru_cache(maxsize=4096)  # neighbours in a batch were often written in the same second
def http_date(text: str) -> int | None:
    """UTC seconds of ``Wed, 25 Nov 2026 02:51:03 GMT``, or None where it is no such date."""
    try:
        _, day, month, year, clock, zone = text.split()
        hour, minute, second = clock.split(":")
        if zone not in {"GMT", "UTC"}:
            return None
        return timegm((int(year), _MONTHS[month], int(day), int(hour), int(minute), int(second)))
    except (ValueError, KeyError):
        return None


@lru_cache(maxsize=4096)
def iso_date(text: str) -> int | None:
    """UTC seconds of ``2026-11-25T02:51:03.123Z``, the fraction cut off as a HEAD cuts it; None where it is no such date."""
    if len(text) < len("2026-11-25T02:51:03Z") or text[10] != "T" or not text.endswith("Z"):
        return None
    try:
        return timegm((int(text[:4]), int(text[5:7]), int(text[8:10]), int(text[11:13]), int(text[14:16]), int(text[17:19])))
    except ValueError:
        return None
