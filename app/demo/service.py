"""The service that owns the assets: a table, a bucket, and a book of what it wrote. Plain SQL and the minio client; it knows no stage.

The book is the demonstration's memory, kept apart from table and bucket: what it says is what readers must get.
"""

from __future__ import annotations

import hashlib
import io
import math
import os
import sqlite3
import time
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import urllib3
from minio import Minio
from minio.error import MinioException, S3Error

from app.errors import DemonstrationError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

TABLE = "client_assets"
OLD_FOLDER = "uploads/"
NOT_FOUND = frozenset({"NoSuchKey", "NoSuchObject", "ResourceNotFound"})
TROUBLE = (MinioException, urllib3.exceptions.HTTPError, sqlite3.Error, OSError)  # what a request of the service may end with
_LOCKED_SECONDS = 30.0  # for the one writer that SQLite admits
_REQUEST_SECONDS = 30.0
_SCHEMA = f"""
CREATE TABLE {TABLE} (
  id INTEGER PRIMARY KEY, client_id INTEGER NOT NULL, file_name TEXT, content_type TEXT NOT NULL, object_key TEXT NOT NULL
);
CREATE INDEX {TABLE}_object_key ON {TABLE} (object_key);
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Version:
    """One upload of an asset: what was sent, to which key, and when the store had answered (by ``time.monotonic``)."""

    digest: bytes
    content_type: str
    key: str
    answered_at: float = math.inf  # for ever under way, until it is known better


@dataclass(slots=True, kw_only=True, eq=False)
class Asset:
    """What the service knows of one asset. Only one thread writes to it; a version is on record before it is sent."""

    id: int
    client: int
    name: str
    first_key: str
    settled: bool = False  # row and object are both there
    fixed: bool = False  # the writer leaves it alone
    versions: list[Version] = field(default_factory=list)
    removed_at: float | None = None  # set before the row goes
    removed_key: str | None = None  # the key that the row had last
    written_at: float = -math.inf  # by the live writer

    @property
    def newest(self) -> Version:
        """The last upload."""
        return self.versions[-1]


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What a GET gave."""

    digest: bytes
    content_type: str

    def is_version(self, version: Version) -> bool:
        """Whether this is what *version* sent."""
        return (self.digest, self.content_type) == (version.digest, version.content_type)


class Table:
    """The service's table over a connection of its own; for one thread."""

    def __init__(self, database: str) -> None:
        self._connection = sqlite3.connect(database, timeout=_LOCKED_SECONDS, isolation_level=None, check_same_thread=False)

    def create(self) -> None:
        """Make the table, with an index on its keys: who names an object is asked often."""
        self._connection.executescript(_SCHEMA)

    def insert(self, rows: list[tuple[int, int, str | bytes | None, str, str]]) -> None:
        """Add rows of id, client, file name, content type and key in one transaction; a name in bytes becomes text as it is."""
        self._connection.execute("BEGIN IMMEDIATE")
        self._connection.executemany(f"INSERT INTO {TABLE} VALUES (?, ?, CAST(? AS TEXT), ?, ?)", rows)
        self._connection.execute("COMMIT")

    def key(self, asset_id: int) -> str | None:
        """The key of a row; None where there is no such row."""
        found = self._connection.execute(f"SELECT object_key FROM {TABLE} WHERE id = ?", (asset_id,)).fetchone()
        return str(found[0]) if found else None

    def keys(self) -> dict[int, str]:
        """The key of every row by its id."""
        return dict(self._connection.execute(f"SELECT id, object_key FROM {TABLE}"))

    def delete(self, asset_id: int) -> str | None:
        """Take a row out and give the key that it had last."""
        self._connection.execute("BEGIN IMMEDIATE")
        key = self.key(asset_id)
        self._connection.execute(f"DELETE FROM {TABLE} WHERE id = ?", (asset_id,))
        self._connection.execute("COMMIT")
        return key

    def select(self, statement: str) -> list[tuple[str, ...]]:
        """The rows of any other question."""
        return self._connection.execute(statement).fetchall()

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()


class Bucket:
    """The service's bucket over the minio client; safe for threads. No request is sent a second time: what failed shall be seen."""

    def __init__(self, settings: Mapping[str, str], *, connections: int = 1) -> None:
        endpoint = settings["REKEY_S3_ENDPOINT"]
        pool = urllib3.PoolManager(maxsize=connections, timeout=urllib3.Timeout(_REQUEST_SECONDS), retries=False)
        self._name = settings["REKEY_S3_BUCKET"]
        self._client = Minio(
            endpoint.partition("://")[2],
            access_key=settings["REKEY_S3_ACCESS_KEY"],
            secret_key=settings["REKEY_S3_SECRET_KEY"],
            secure=endpoint.startswith("https:"),
            region=settings.get("REKEY_S3_REGION", "us-east-1"),
            http_client=pool,
        )
        self._pool = pool

    def put(self, key: str, body: bytes, content_type: str) -> None:
        """Upload."""
        self._client.put_object(self._name, key, io.BytesIO(body), len(body), content_type=content_type)

    def get(self, key: str) -> Found | None:
        """What is at *key*; None where nothing is."""
        try:
            response = self._client.get_object(self._name, key)
        except S3Error as error:
            if error.code in NOT_FOUND:
                return None
            raise
        try:
            digest = hashlib.sha256()
            for part in response.stream(256 * 1024):
                digest.update(part)
            return Found(digest=digest.digest(), content_type=response.headers.get("Content-Type", ""))
        finally:
            response.close()
            response.release_conn()

    def remove(self, key: str) -> None:
        """Delete."""
        self._client.remove_object(self._name, key)

    def keys(self) -> set[str]:
        """The keys of all objects that are the service's own: below .rekey/ is the journal of the deletes."""
        names = (str(found.object_name) for found in self._client.list_objects(self._name, recursive=True))
        return {name for name in names if not name.startswith(".rekey/")}

    def is_empty(self) -> bool:
        """Whether nothing at all is in it; one page of its listing tells."""
        return next(self._client.list_objects(self._name, recursive=True), None) is None

    def close(self) -> None:
        """Close the connections."""
        self._pool.clear()


def upload(bucket: Bucket, asset: Asset, body: bytes, content_type: str, *, key: str) -> None:
    """Send a version of *asset* to *key*; it is in the asset's book before, and answered after."""
    version = Version(digest=hashlib.sha256(body).digest(), content_type=content_type, key=key)
    asset.versions.append(version)
    bucket.put(key, body, content_type)
    asset.versions[-1] = replace(version, answered_at=time.monotonic())


def old_key(number: int, name: str) -> str:
    """Where the service kept its uploads before: by their number, with the suffix of their name."""
    suffix = os.path.splitext(name)[1]  # noqa: PTH122 - a name, not a place on a disk
    plain = suffix.isascii() and suffix[1:].isalnum() and len(suffix) <= 10  # noqa: PLR2004 - longer ones are no suffixes
    return f"{OLD_FOLDER}{number:06d}{suffix if plain else ''}"


def new_key(client: int, name: str) -> str:
    """Where the service puts its uploads since it was told the new scheme."""
    return f"clients/{client}/assets/{name}"


def in_words(error: BaseException) -> str:
    """A failure of a request on one line."""
    return f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"


@contextmanager
def asking(what: str) -> Iterator[None]:
    """Let trouble with table or bucket end the demonstration, which cannot do without *what*.

    Raises:
        DemonstrationError: There was trouble.
    """
    try:
        yield
    except TROUBLE as error:
        raise DemonstrationError(f"{what}: {in_words(error)}") from error
