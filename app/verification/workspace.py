"""The private file in which a verification lays side by side what it has read: rows, objects, findings.

SQLite, so that 10^7 of each cost disk (300 bytes or so an asset) and no memory. A page is committed with the cursor behind it and with
what it gave, so that an interrupted verification goes on where it was.
"""

from __future__ import annotations

import json
import os
import re
import sqlite3
import stat
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from app.errors import UsageError
from app.object_store import ObjectInfo
from app.verification.findings import Finding, Kind

CACHE_KIB = 32 * 1024
_TABLES = """
CREATE TABLE notes (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE rows (seq INTEGER PRIMARY KEY, row_id TEXT NOT NULL, key TEXT, name TEXT, scheme TEXT NOT NULL, examined INTEGER NOT NULL);
CREATE TABLE objects (
  name TEXT PRIMARY KEY, key TEXT NOT NULL, etag TEXT NOT NULL, size INTEGER NOT NULL, time INTEGER NOT NULL
) WITHOUT ROWID;
CREATE TABLE explained (name TEXT PRIMARY KEY, why TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE findings (seq INTEGER PRIMARY KEY, kind TEXT NOT NULL, row_id TEXT, key TEXT, detail TEXT);
CREATE TABLE entries (
  seq INTEGER PRIMARY KEY, row_id TEXT NOT NULL, old_key TEXT NOT NULL, new_key TEXT NOT NULL, client TEXT, etag TEXT, size INTEGER,
  source_etag TEXT, source_size INTEGER,   noted_at TEXT NOT NULL
);
CREATE TABLE sick (seq INTEGER PRIMARY KEY, kind TEXT NOT NULL, row_id TEXT NOT NULL, old_key TEXT NOT NULL, new_key TEXT, detail TEXT);
CREATE INDEX findings_kind ON findings (kind);
CREATE INDEX entries_row ON entries (row_id, old_key, noted_at);
"""
_NAMES = frozenset(re.findall(r"CREATE TABLE (\w+)", _TABLES))
_BESIDE = ("-journal", "-wal", "-shm")  # what SQLite keeps beside a file while it is open, or after a crash

Row = tuple[str, str | None, str | None, str, int]  # row id, key, canonical key (None: no object can have it), scheme, examined


class Workspace:
    """One verification's file."""

    def __init__(self, path: Path, identity: Mapping[str, Any], *, resume: bool) -> None:
        """Open the file for a verification of *identity*; without *resume* it starts empty.

        Raises:
            UsageError: Another verification has it, it cannot be written, it is somebody else's, or there is none of this kind to go on
                with.
        """
        self.path = path
        wanted = json.dumps(identity, sort_keys=True)
        if resume and not path.exists():
            raise UsageError(f"there is no interrupted verification to go on with ({path}): leave out --resume")
        try:
            _refuse_what_is_not_ours(path)
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            os.close(os.open(path, os.O_CREAT | os.O_WRONLY, 0o600))  # keys of clients' files are nobody else's business
            self._database = _open(path)
            with self.page():
                if not resume:
                    self._empty()
                    self.note("identity", wanted)
                found = self.noted("identity")
        except (OSError, sqlite3.Error) as error:
            raise UsageError(f"--state {path}: {_in_words(error)}") from None
        if found != wanted:
            self._database.close()
            raise UsageError(f"--resume: {path} is of a verification of another bucket, table or run: leave out --resume")

    def _empty(self) -> None:
        for kind, name in self._database.execute("SELECT type, name FROM sqlite_master WHERE name NOT LIKE 'sqlite_%'").fetchall():
            self._database.execute(f'DROP {kind} IF EXISTS "{name}"')
        for statement in filter(str.strip, _TABLES.split(";")):
            self._database.execute(statement)

    @contextmanager
    def page(self) -> Iterator[None]:
        """All of it is kept, or nothing."""
        self._database.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self._database.execute("ROLLBACK")
            raise
        self._database.execute("COMMIT")

    def note(self, name: str, value: object) -> None:
        """Keep a value under *name*."""
        self._database.execute("INSERT OR REPLACE INTO notes VALUES (?, ?)", (name, json.dumps(value)))

    def noted(self, name: str, default: Any = None) -> Any:  # noqa: ANN401 - what was kept
        """The value kept under *name*."""
        found = self._database.execute("SELECT value FROM notes WHERE name = ?", (name,)).fetchone()
        return json.loads(found[0]) if found else default

    def count(self, name: str, more: int) -> None:
        """Add to the count kept under *name*."""
        self.note(name, self.noted(name, 0) + more)

    def add_rows(self, rows: Iterable[Row]) -> None:
        """Keep rows."""
        self._database.executemany("INSERT INTO rows (row_id, key, name, scheme, examined) VALUES (?, ?, ?, ?, ?)", rows)

    def add_objects(self, objects: Iterable[tuple[str, ObjectInfo]]) -> None:
        """Keep objects by canonical key."""
        values = ((name, info.key, info.etag, info.size, info.last_modified) for name, info in objects)
        self._database.executemany("INSERT OR REPLACE INTO objects VALUES (?, ?, ?, ?, ?)", values)

    def index_rows(self) -> None:
        """Make rows findable by object and by id: once all are there, since sorting is cheaper than inserting."""
        self._database.execute("CREATE INDEX IF NOT EXISTS rows_name ON rows (name)")
        self._database.execute("CREATE INDEX IF NOT EXISTS rows_id ON rows (row_id)")

    def mark_examined(self, row_ids: Sequence[str]) -> None:
        """Note that the ledger has an outcome for rows."""
        self._database.executemany("UPDATE rows SET examined = 1 WHERE row_id = ?", ((row_id,) for row_id in row_ids))

    def explain(self, name: str, why: str) -> None:
        """Note why an object without a row is there."""
        self._database.execute("INSERT OR IGNORE INTO explained VALUES (?, ?)", (name, why))

    def why(self, name: str) -> str | None:
        """Why an object without a row is there, if that was noted."""
        found = self._database.execute("SELECT why FROM explained WHERE name = ?", (name,)).fetchone()
        return found[0] if found else None

    def keys_of(self, row_ids: Sequence[str]) -> dict[str, str | None]:
        """What rows named when they were read."""
        marks = ", ".join("?" * len(row_ids))
        return dict(self._database.execute(f"SELECT row_id, key FROM rows WHERE row_id IN ({marks})", list(row_ids)))

    def objects(self, names: Sequence[str]) -> dict[str, ObjectInfo]:
        """Objects as they were listed, by canonical key."""
        marks = ", ".join("?" * len(names))
        found = self._database.execute(f"SELECT name, key, etag, size, time FROM objects WHERE name IN ({marks})", list(names))
        return {name: ObjectInfo(key=key, etag=etag, size=size, last_modified=time) for name, key, etag, size, time in found}

    def select(self, statement: str, *values: object) -> list[tuple[Any, ...]]:
        """The rows of a query."""
        return self._database.execute(statement, values).fetchall()

    def insert_entries(self, values: Iterable[tuple[object, ...]]) -> None:
        """Keep entries of the journal."""
        names = "row_id, old_key, new_key, client, etag, size, source_etag, source_size, noted_at"
        self._database.executemany(f"INSERT INTO entries ({names}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", values)

    def forget_sick(self) -> None:
        """Forget the rows that an earlier attempt found to name deleted keys."""
        self._database.execute("DELETE FROM sick")

    def add_sick(self, values: Iterable[tuple[object, ...]]) -> None:
        """Keep rows that name deleted keys: case, row id, old key, new key, detail."""
        self._database.executemany("INSERT INTO sick (kind, row_id, old_key, new_key, detail) VALUES (?, ?, ?, ?, ?)", values)

    def sick_counts(self) -> dict[str, int]:
        """How many such rows there are of each case."""
        return dict(self.select("SELECT kind, COUNT(*) FROM sick GROUP BY kind"))

    def healable(self, *, after: int, limit: int) -> list[tuple[Any, ...]]:
        """The next rows that can be healed: number and row id."""
        return self.select("SELECT seq, row_id FROM sick WHERE kind = 'healable' AND seq > ? ORDER BY seq LIMIT ?", after, limit)

    def add(self, findings: Iterable[Finding]) -> None:
        """Keep findings."""
        values = ((finding.kind, finding.row_id, finding.key, finding.detail) for finding in findings)
        self._database.executemany("INSERT INTO findings (kind, row_id, key, detail) VALUES (?, ?, ?, ?)", values)

    def counts(self) -> dict[Kind, int]:
        """How many findings there are of each kind."""
        return {Kind(kind): number for kind, number in self.select("SELECT kind, COUNT(*) FROM findings GROUP BY kind")}

    def examples(self, kind: Kind, *, limit: int) -> list[Finding]:
        """The first findings of a kind."""
        found = self.select("SELECT kind, row_id, key, detail FROM findings WHERE kind = ? ORDER BY seq LIMIT ?", kind, limit)
        return [_finding(values) for values in found]

    def findings(self) -> Iterator[Finding]:
        """All findings, one at a time."""
        for values in self._database.execute("SELECT kind, row_id, key, detail FROM findings ORDER BY seq"):
            yield _finding(values)

    def close(self, *, remove: bool) -> None:
        """Close the file; *remove* it where nothing is left to go on with."""
        self._database.close()
        if remove:
            for ending in ("", *_BESIDE):
                Path(f"{self.path}{ending}").unlink(missing_ok=True)


def _refuse_what_is_not_ours(path: Path) -> None:
    """Raise UsageError where the file is no former workspace and no new or empty file: it is emptied now, and removed at the end."""
    try:
        found = path.stat()
    except FileNotFoundError:
        size = 0
    else:
        if not stat.S_ISREG(found.st_mode):
            raise UsageError(f"--state {path}: it is no regular file: name one that may be emptied and removed")
        size = found.st_size
    if size and not _is_workspace(path):
        raise UsageError(f"--state {path}: it holds something else, which would be lost: name a file for this command alone")
    for beside in (Path(f"{path}{ending}") for ending in _BESIDE):
        if not size and beside.exists() and (not beside.is_file() or beside.stat().st_size):
            raise UsageError(f"--state {path}: {beside} is there without it, and would be lost: name another, or remove that")


def _is_workspace(path: Path) -> bool:
    """Whether the file has the tables of a workspace and no other, or none yet; asked for as any reader does: nothing is changed."""
    database = sqlite3.connect(path, isolation_level=None, timeout=1.0)
    try:
        found = database.execute("SELECT name FROM sqlite_master WHERE type <> 'index' AND name NOT LIKE 'sqlite_%'").fetchall()
    except sqlite3.DatabaseError as error:
        if isinstance(error, sqlite3.OperationalError):  # it is locked, or cannot be read
            raise
        return False
    finally:
        database.close()
    return {name for (name,) in found} in (set(), _NAMES)  # a process that was killed at once has left no tables


def _in_words(error: OSError | sqlite3.Error) -> str:
    if "locked" in str(error):
        return "another verification, or another program, is using it"
    why = error.strerror if isinstance(error, OSError) else error
    return f"{why}: what is read is kept in a file meanwhile; name one that can be written, as --state FILE"


def _open(path: Path) -> sqlite3.Connection:
    database = sqlite3.connect(path, isolation_level=None, timeout=1.0, check_same_thread=False)
    database.execute("PRAGMA locking_mode=EXCLUSIVE")
    database.execute("PRAGMA journal_mode=WAL")
    database.execute("PRAGMA synchronous=OFF")  # a machine that loses its power begins anew
    database.execute(f"PRAGMA cache_size=-{CACHE_KIB}")
    return database


def _finding(values: Sequence[Any]) -> Finding:
    kind, row_id, key, detail = values
    return Finding(kind=Kind(kind), row_id=row_id, key=key, detail=detail)
