"""Who wants which key, in a private temporary file: written in the rows' order, read in the keys'.

A set of 10 million keys would take some gigabytes of memory. SQLite sorts them on disk and takes CACHE_KIB whatever their number;
its text order is that of the UTF-8 bytes, as a listing's is.
"""

from __future__ import annotations

import sqlite3
import tempfile
from collections.abc import Collection, Iterator, Sequence
from enum import IntEnum
from pathlib import Path
from types import TracebackType
from typing import Self

from app.errors import RekeyError

CACHE_KIB = 32 * 1024
BLOCK = 5000
ROWS_A_PAGE = 500


class Role(IntEnum):
    """What a row has to do with a key; a key's entries come in this order."""

    OLD = 0  # the row names it and shall be moved away
    PLACED = 1  # the row names it and stays
    NAMED = 2  # a row outside the run names it, or one that cannot be moved
    NEW = 3  # the row shall be moved to it


Entry = tuple[str, int, str | None]  # canonical key, role, row id (None: of a table in REFERENCES)


class NoRoomError(RekeyError):
    """The temporary file could not be written."""


class Entries:
    """The entries of one plan. The file is only this user's, and gone with the block that opened it."""

    def __init__(self) -> None:
        self.count = 0

    def __enter__(self) -> Self:
        self._folder = tempfile.TemporaryDirectory(prefix="rekey-plan-")
        # isolation_level None: transactions are begun and ended here. Nothing survives a crash, and nothing needs to.
        self._file = sqlite3.connect(Path(self._folder.name) / "entries.db", isolation_level=None, check_same_thread=False)
        for setting in ("journal_mode=OFF", "synchronous=OFF", f"cache_size=-{CACHE_KIB}", "temp_store=FILE", "locking_mode=EXCLUSIVE"):
            self._file.execute(f"PRAGMA {setting}")
        self._file.execute("CREATE TABLE entries (key TEXT NOT NULL, role INTEGER NOT NULL, row_id TEXT)")
        self._file.execute("CREATE TABLE parked (row_id TEXT PRIMARY KEY) WITHOUT ROWID")
        self._file.execute("CREATE TABLE suffixed (row_id TEXT PRIMARY KEY) WITHOUT ROWID")
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._file.close()
        self._folder.cleanup()

    def add(self, entries: Sequence[Entry]) -> None:
        """Write some entries."""
        self._write("INSERT INTO entries VALUES (?, ?, ?)", entries)
        self.count += len(entries)

    def park(self, row_ids: Collection[str]) -> None:
        """Note rows that would not be moved; a row that is noted twice counts once."""
        self._write("INSERT OR IGNORE INTO parked VALUES (?)", [(row_id,) for row_id in row_ids])

    def suffix(self, row_ids: Collection[str]) -> None:
        """Note rows that get a key with a suffix, since another asset has theirs."""
        self._write("INSERT OR IGNORE INTO suffixed VALUES (?)", [(row_id,) for row_id in row_ids])

    def suffixed(self) -> Iterator[list[str]]:
        """Those of them that would be moved, some at a time."""
        page = "SELECT row_id FROM suffixed WHERE row_id > ? AND row_id NOT IN (SELECT row_id FROM parked) ORDER BY row_id LIMIT ?"
        after = ""
        while rows := [row_id for (row_id,) in self._file.execute(page, (after, ROWS_A_PAGE))]:
            yield rows
            after = rows[-1]

    def suffixed_among(self, row_ids: Sequence[str]) -> list[str]:
        """Which of a few rows are among them."""
        chosen = ", ".join("?" for _ in row_ids)
        return [row_id for (row_id,) in self._file.execute(f"SELECT row_id FROM suffixed WHERE row_id IN ({chosen})", list(row_ids))]

    def parked(self) -> int:
        """How many rows were noted."""
        return int(self._file.execute("SELECT COUNT(*) FROM parked").fetchone()[0])

    def blocks(self) -> Iterator[list[Entry]]:
        """All entries in the order of their keys, roles and rows."""
        found = self._file.execute("SELECT key, role, row_id FROM entries ORDER BY key, role, rowid")
        while block := found.fetchmany(BLOCK):
            yield block

    def old_keys(self) -> Iterator[list[tuple[str, str, int]]]:
        """Each old key of a row that would be moved, with one of its rows and their number."""
        rows = f"role = {Role.OLD:d} AND row_id NOT IN (SELECT row_id FROM parked)"
        found = self._file.execute(f"SELECT key, MIN(row_id), COUNT(*) FROM entries WHERE {rows} GROUP BY key ORDER BY key").fetchmany
        while block := found(BLOCK):
            yield block

    def _write(self, statement: str, values: Sequence[tuple[object, ...]]) -> None:
        if not values:
            return
        try:
            self._file.execute("BEGIN")
            self._file.executemany(statement, values)
            self._file.execute("COMMIT")
        except sqlite3.OperationalError as error:
            raise NoRoomError(
                f"no room for the plan's temporary file in {tempfile.gettempdir()} (TMPDIR names another place): {error}"
            ) from error
