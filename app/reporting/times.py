"""Times as ISO 8601 in UTC. Pure."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import lru_cache

from app.database import MICROSECONDS


def from_micros(micros: int | None) -> str | None:
    """UTC microseconds, as the database's clock gives them."""
    if micros is None:
        return None
    seconds, rest = divmod(micros, MICROSECONDS)
    return f"{_second(seconds)}.{rest:06d}Z"


def from_seconds(seconds: int | None) -> str | None:
    """UTC seconds, as the store's clock gives them."""
    return None if seconds is None else f"{_second(seconds)}Z"


@lru_cache(maxsize=50_000)  # a report's times lie close together: making the text takes ten times as long as finding it
def _second(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S")
