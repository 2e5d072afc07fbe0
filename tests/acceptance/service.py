"""The service that owns the table and the bucket: fills both, acts on them, and counts again by plain SQL and minio's own client.

Nothing of the product is used in here: what it says is compared with what this sees.
"""

from __future__ import annotations

import io
import json
import random
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import urllib3
from minio import Minio
from minio.error import S3Error
from sqlalchemy import Engine, create_engine, text
from sqlalchemy.pool import NullPool

if TYPE_CHECKING:
    from tests.servers import S3Server

REGION = "us-east-1"
CONNECTIONS = 8
CLIENTS = 25
_TYPES = ("image/png", "image/jpeg", "application/pdf", "text/plain; charset=utf-8", "application/octet-stream")
_ABSENT = frozenset({"NoSuchKey", "NoSuchBucket"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Content:
    """What readers see of an object."""

    body: bytes
    content_type: str
    metadata: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Asset:
    """A row and its object as they were before the run."""

    id: int
    client: int
    old_key: str
    new_key: str
    content: Content


class Bucket:
    """The bucket over minio's own client; safe for threads. What fails is not sent again."""

    def __init__(self, store: S3Server, name: str, *, seconds: float = 20.0, secret_key: str | None = None) -> None:
        self.name = name
        pool = urllib3.PoolManager(maxsize=CONNECTIONS, timeout=urllib3.Timeout(seconds), retries=False)
        self._pool = pool
        self._client = Minio(
            store.endpoint.partition("://")[2],
            access_key=store.access_key,
            secret_key=secret_key or store.secret_key,
            secure=False,
            region=REGION,
            http_client=pool,
        )

    def make(self, *, locks: bool = False) -> None:
        """Make it; *locks*: its objects can be locked, and have versions therefore."""
        self._client.make_bucket(self.name, object_lock=locks)

    def hold(self, key: str) -> None:
        """Lay a legal hold on what is at *key* now."""
        self._client.enable_object_legal_hold(self.name, key)

    def put(self, key: str, content: Content) -> None:
        """Upload."""
        metadata: dict[str, Any] = dict(content.metadata)
        self._client.put_object(
            self.name, key, io.BytesIO(content.body), len(content.body), content_type=content.content_type, metadata=metadata
        )

    def put_with(self, key: str, **headers: str) -> None:
        """Upload a byte with headers that minio's client has no place for."""
        answer = self._pool.request("PUT", self._client.presigned_put_object(self.name, key), body=b"x", headers=headers)
        assert answer.status == 200, answer.data

    def get(self, key: str) -> Content | None:
        """What is at *key*, None where nothing is."""
        try:
            response = self._client.get_object(self.name, key)
        except S3Error as error:
            if error.code in _ABSENT:
                return None
            raise
        try:
            body = response.read()
            headers = {name.lower(): value for name, value in response.headers.items()}
        finally:
            response.close()
            response.release_conn()
        prefix = "x-amz-meta-"
        return Content(
            body=body,
            content_type=headers.get("content-type", ""),
            metadata={name.removeprefix(prefix): value for name, value in headers.items() if name.startswith(prefix)},
        )

    def remove(self, key: str) -> None:
        """Delete."""
        self._client.remove_object(self.name, key)

    def publish(self, prefix: str) -> None:
        """Let anybody read what lies below *prefix*, and nothing else."""
        resource = f"arn:aws:s3:::{self.name}/{prefix}*"
        statement = {"Effect": "Allow", "Principal": "*", "Action": ["s3:GetObject"], "Resource": [resource]}
        self._client.set_bucket_policy(self.name, json.dumps({"Version": "2012-10-17", "Statement": [statement]}))

    def keys(self) -> set[str]:
        """The keys of all objects but the product's own."""
        return set(self.versions())

    def journal(self) -> list[str]:
        """The keys of the product's journal."""
        return [str(info.object_name) for info in self._client.list_objects(self.name, prefix=".rekey/journal/", recursive=True)]

    def versions(self) -> dict[str, tuple[str, str]]:
        """ETag and last modification of each object: equal before and after if nobody wrote."""
        found = self._client.list_objects(self.name, recursive=True)
        seen = {str(info.object_name): (str(info.etag), str(info.last_modified)) for info in found}
        return {name: version for name, version in seen.items() if not name.startswith(".rekey/")}

    def close(self) -> None:
        """Close the connections."""
        self._pool.clear()


class Table:
    """The table over connections of its own."""

    def __init__(self, url: str, name: str) -> None:
        self.name = name
        self.engine: Engine = create_engine(url, poolclass=NullPool)

    def create(self, *, key_type: str = "TEXT", more: str = "") -> None:
        """Make it, with an index on the keys as a service has it."""
        self.run(f"CREATE TABLE {self.name} (id BIGINT PRIMARY KEY, client_id BIGINT, object_key {key_type}, title TEXT{more})")
        self.run(f"CREATE INDEX {self.name.replace('.', '_')}_key ON {self.name} (object_key)")

    def insert(self, rows: Sequence[Mapping[str, object]]) -> None:
        """Add rows, all of the same columns."""
        if rows:
            names = list(rows[0])
            statement = f"INSERT INTO {self.name} ({', '.join(names)}) VALUES ({', '.join(f':{name}' for name in names)})"
            with self.engine.begin() as connection:
                connection.execute(text(statement), list(rows))

    def run(self, statement: str, **values: object) -> list[tuple[Any, ...]]:
        """One statement in a transaction of its own; gives its rows."""
        with self.engine.begin() as connection:
            found = connection.execute(text(statement), values)
            return [tuple(row) for row in found] if found.returns_rows else []

    def key(self, number: int) -> str | None:
        """The key that a row names, None where there is no such row."""
        found = self.run(f"SELECT object_key FROM {self.name} WHERE id = :id", id=number)
        return found[0][0] if found else None

    def save_key(self, number: int, key: str | None) -> None:
        """Save another key into a row."""
        self.run(f"UPDATE {self.name} SET object_key = :key WHERE id = :id", key=key, id=number)

    def keys(self) -> dict[int, Any]:
        """The key of each row."""
        return {row[0]: row[1] for row in self.run(f"SELECT id, object_key FROM {self.name}")}


class Service:
    """One table and one bucket with their assets."""

    def __init__(self, url: str, store: S3Server, *, table: str, bucket: str) -> None:
        self.table = Table(url, table)
        self.bucket = Bucket(store, bucket)

    def fill(self, count: int, *, first: int = 1) -> list[Asset]:
        """Upload assets of many sizes and types to the root of the bucket and insert their rows."""
        return self.add([make_asset(number) for number in range(first, first + count)])

    def fill_large(self, count: int, *, size: int) -> list[Asset]:
        """Upload assets of one size and insert their rows."""
        plain = [make_asset(number) for number in range(1, count + 1)]
        block = random.Random(size).randbytes(size - 16)
        return self.add([replace(one, content=replace(one.content, body=f"{one.id:016d}".encode() + block)) for one in plain])

    def add(self, assets: list[Asset]) -> list[Asset]:
        """Upload *assets* and insert their rows."""
        self.upload({asset.old_key: asset.content for asset in assets})
        rows = [{"id": asset.id, "client_id": asset.client, "object_key": asset.old_key, "title": f"asset {asset.id}"} for asset in assets]
        self.table.insert(rows)
        return assets

    def upload(self, contents: Mapping[str, Content]) -> None:
        """Put many objects."""
        _in_parallel(lambda key: self.bucket.put(key, contents[key]), contents)

    def differences(self, assets: Iterable[Asset], *, at_old_keys: Collection[str] = ()) -> list[str]:
        """Where table and bucket are not as they must be when all *assets* were moved, and no object is left but *at_old_keys*."""
        by_id = {asset.id: asset for asset in assets}
        rows = self.table.keys()
        wrong = [f"row {number} names {rows.get(number)!r}" for number, asset in by_id.items() if rows.get(number) != asset.new_key]
        wrong += [f"row {number} is nobody's" for number in rows.keys() - by_id.keys()]
        objects = self.bucket.keys()
        expected = {asset.new_key for asset in by_id.values()} | set(at_old_keys)
        wrong += [f"there is an object {key!r}" for key in sorted(objects - expected)]
        wrong += [f"there is no object {key!r}" for key in sorted(expected - objects)]
        there = [asset for asset in by_id.values() if asset.new_key in objects]
        seen = _in_parallel(lambda asset: self._recounted(asset.new_key), there)
        wrong += [f"{asset.new_key!r} has changed" for asset, content in zip(there, seen, strict=True) if content != asset.content]
        return wrong

    def _recounted(self, key: str) -> Content | None:
        """What is at *key*; asked once more where the connection, which has lain idle for the length of a run, was being closed."""
        try:
            return self.bucket.get(key)
        except urllib3.exceptions.ProtocolError:
            return self.bucket.get(key)

    def close(self) -> None:
        """Close the connections."""
        self.bucket.close()


def make_asset(number: int) -> Asset:
    """Asset *number*: its content follows from its number alone."""
    chance = random.Random(number)
    client, name = 1 + number % CLIENTS, f"file-{number}.bin"
    size = 0 if number % 97 == 0 else chance.randint(1, 6000)
    content = Content(
        body=f"asset {number} ".encode()[:size] + chance.randbytes(max(0, size - 12)),
        content_type=_TYPES[number % len(_TYPES)],
        metadata={"owner": f"client-{client}", "number": str(number)},
    )
    return Asset(id=number, client=client, old_key=name, new_key=f"clients/{client}/assets/{name}", content=content)


def _in_parallel(call: Callable[[Any], Any], items: Iterable[Any]) -> list[Any]:
    with ThreadPoolExecutor(CONNECTIONS) as pool:
        return list(pool.map(call, items))
