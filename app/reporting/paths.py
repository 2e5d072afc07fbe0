"""Which old paths of a run clash with each other or with new ones: kept in a temporary file, so that 10^8 of them need no memory."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from enum import StrEnum
from hashlib import blake2b
from types import TracebackType
from typing import Self

_TABLE = "CREATE TABLE paths (move INTEGER PRIMARY KEY, exact BLOB, folded BLOB, target BLOB, target_folded BLOB)"
_INDEXES = ("(folded, exact, move)", "(target)", "(target_folded)")
_VERDICTS = """
SELECT p.move,
    EXISTS (SELECT 1 FROM paths q WHERE q.target = p.exact),
    EXISTS (SELECT 1 FROM paths q WHERE q.folded = p.folded AND q.exact = p.exact AND q.move < p.move),
    EXISTS (SELECT 1 FROM paths q WHERE q.folded = p.folded AND q.exact != p.exact)
        OR EXISTS (SELECT 1 FROM paths q WHERE q.target_folded = p.folded)
FROM paths p WHERE p.move BETWEEN ? AND ?
"""


class Verdict(StrEnum):
    """What there is to say of one old path."""

    PLAIN = "plain"
    REUSED = "reused"  # it is another asset's new path: what is asked for there is that one
    TWICE = "twice"  # another asset had it too, and is listed with it
    FOLDED = "folded"  # another path differs from it by case only


class PathBook:
    """Old and new paths by their digests: 16 bytes each, four to a move."""

    def __init__(self) -> None:
        """Nothing is written before memory is short: SQLite's own temporary file, which is gone when it is closed."""
        self._db = sqlite3.connect("")
        self._db.execute(_TABLE)
        self.count = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._db.close()

    def add(self, entries: Iterable[tuple[int, str, str]]) -> None:
        """Note moves: id, old path, new path."""
        rows = [(move, *_digests(old), *_digests(new)) for move, old, new in entries]
        self._db.executemany("INSERT OR IGNORE INTO paths VALUES (?, ?, ?, ?, ?)", rows)
        self.count += len(rows)

    def index(self) -> None:
        """All are noted: make it quick to ask."""
        for number, columns in enumerate(_INDEXES):
            self._db.execute(f"CREATE INDEX paths_{number} ON paths {columns}")

    def verdicts(self, first: int, last: int) -> dict[int, Verdict]:
        """Of each noted move from *first* to *last*."""
        found = self._db.execute(_VERDICTS, (first, last))
        return {move: _verdict(reused=reused, twice=twice, folded=folded) for move, reused, twice, folded in found}


def _verdict(*, reused: int, twice: int, folded: int) -> Verdict:
    if reused:
        return Verdict.REUSED
    if twice:
        return Verdict.TWICE
    return Verdict.FOLDED if folded else Verdict.PLAIN


def _digests(path: str) -> tuple[bytes, bytes]:
    plain = path.encode("utf-8", "surrogatepass")
    return _digest(plain), _digest(plain.lower())  # of bytes: ASCII letters only, as nginx folds them


def _digest(path: bytes) -> bytes:
    return blake2b(path, digest_size=16).digest()
