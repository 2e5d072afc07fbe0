"""The stores that the contract is held to, each with the application at its side."""

from __future__ import annotations

import io
import json
import secrets
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Protocol

import pytest
from minio import Minio
from minio.commonconfig import ENABLED, Tags
from minio.error import S3Error
from minio.versioningconfig import VersioningConfig

from app.errors import MissingObjectError
from app.minio_store import MinioStore
from app.object_store import Capabilities, ObjectAttributes, ObjectInfo, ObjectStore
from app.probe import probe
from app.testing import FixedDeadline, InMemoryStore
from app.testing.versions import CONDITIONAL, LIKE_AWS, LIKE_MINIO, LIKE_SEAWEED, LIKE_VERSITYGW

if TYPE_CHECKING:
    from collections.abc import Iterator

LIKE = {"aws": LIKE_AWS, "minio": LIKE_MINIO, "seaweed": LIKE_SEAWEED, "versitygw": LIKE_VERSITYGW}
IN_MEMORY = {"memory": CONDITIONAL} | {f"memory-like-{name}": behaviour for name, behaviour in LIKE.items()}
REAL = ("seaweed", "minio", "versitygw")
NAMES = (*IN_MEMORY, *REAL)


class Application(Protocol):
    """What the application that owns the objects does, by its own means."""

    def put(self, key: str, body: bytes, headers: dict[str, str] | None = None, tags: dict[str, str] | None = None) -> None:
        """Upload or overwrite."""

    def get(self, key: str) -> bytes | None:
        """Read, None where nothing is."""

    def delete(self, key: str) -> None:
        """Delete."""

    def uploads(self, key: str) -> list[str]:
        """The ids of unfinished multipart uploads to this very key."""

    def open(self, prefix: str) -> None:
        """Let anybody read what lies below *prefix*, and nothing else."""


@dataclass(frozen=True)
class MemoryApplication:
    """The application at a store in memory."""

    store: InMemoryStore

    def put(self, key: str, body: bytes, headers: dict[str, str] | None = None, tags: dict[str, str] | None = None) -> None:
        """Upload or overwrite."""
        self.store.app_put(key, body, headers, tags="&".join(f"{name}={value}" for name, value in (tags or {}).items()))

    def get(self, key: str) -> bytes | None:
        """Read, None where nothing is."""
        try:
            return self.store.app_get(key)
        except MissingObjectError:
            return None

    def delete(self, key: str) -> None:
        """Delete."""
        self.store.app_delete(key)

    def uploads(self, key: str) -> list[str]:
        """The ids of unfinished multipart uploads to this very key."""
        return [upload_id for upload_id, upload in self.store._uploads.items() if upload.name == key]

    def open(self, prefix: str) -> None:
        """Let anybody read what lies below *prefix*, and nothing else."""
        self.store.public = (prefix,)


@dataclass(frozen=True)
class MinioApplication:
    """The application at a real store, over minio's own client."""

    client: Minio
    bucket: str

    def put(self, key: str, body: bytes, headers: dict[str, str] | None = None, tags: dict[str, str] | None = None) -> None:
        """Upload or overwrite."""
        named = Tags.new_object_tags() if tags else None
        if named is not None:
            named.update(tags)
        rest = dict(headers or {})
        kind = rest.pop("content-type", "application/octet-stream")
        self.client.put_object(self.bucket, key, io.BytesIO(body), len(body), content_type=kind, metadata=rest, tags=named)

    def get(self, key: str) -> bytes | None:
        """Read, None where nothing is."""
        try:
            answer = self.client.get_object(self.bucket, key)
        except S3Error as error:
            if error.code == "NoSuchKey":
                return None
            raise
        try:
            return answer.read()
        finally:
            answer.close()
            answer.release_conn()

    def delete(self, key: str) -> None:
        """Delete."""
        self.client.remove_object(self.bucket, key)

    def uploads(self, key: str) -> list[str]:
        """The ids of unfinished multipart uploads to this very key: MinIO lists them by whole keys only."""
        found = self.client._list_multipart_uploads(self.bucket, prefix=key).uploads
        return [upload.upload_id for upload in found if upload.object_name == key]

    def open(self, prefix: str) -> None:
        """Let anybody read what lies below *prefix*, and nothing else."""
        resource = f"arn:aws:s3:::{self.bucket}/{prefix}*"
        statement = {"Effect": "Allow", "Principal": "*", "Action": ["s3:GetObject"], "Resource": [resource]}
        self.client.set_bucket_policy(self.bucket, json.dumps({"Version": "2012-10-17", "Statement": [statement]}))


@dataclass(frozen=True)
class Subject:
    """One store under test."""

    name: str
    store: MinioStore | InMemoryStore
    application: Application
    prefix: str = field(default_factory=lambda: f"t-{secrets.token_hex(4)}/")
    lease: FixedDeadline = field(default_factory=FixedDeadline)

    @property
    def port(self) -> ObjectStore:
        """The store as the stages see it."""
        return self.store

    @property
    def capabilities(self) -> Capabilities:
        """What was seen of it."""
        return self.store.capabilities

    def key(self, name: str) -> str:
        """A key of this test's own."""
        return self.prefix + name

    def put(self, name: str, body: bytes = b"body", headers: dict[str, str] | None = None) -> ObjectInfo:
        """Write by the port, whatever is there, and give the version as a HEAD describes it."""
        key = self.key(name)
        self.store.put(key, body, ObjectAttributes(headers=headers or {}), condition=None, deadline=self.lease)
        return self.store.stat(key)

    def get(self, name: str) -> bytes | None:
        """Read by the application."""
        return self.application.get(self.key(name))


class Server(Protocol):
    """A real server, as ``tests/conftest.py`` gives it."""

    endpoint: str
    access_key: str
    secret_key: str


def _real(name: str, server: Server, *, versioned: bool) -> Iterator[Subject]:
    bucket = f"contract-{secrets.token_hex(4)}"
    store = MinioStore(endpoint=server.endpoint, access_key=server.access_key, secret_key=server.secret_key, bucket=bucket, pool_size=16)
    client = Minio(server.endpoint.partition("//")[2], server.access_key, server.secret_key, secure=False, region="us-east-1")
    store.make_bucket()
    if versioned:
        client.set_bucket_versioning(bucket, VersioningConfig(ENABLED))
    store.capabilities = probe(store)
    yield Subject(name, store, MinioApplication(client, bucket))
    store.close()
    client._http.clear()


def _subject(name: str, request: pytest.FixtureRequest, *, versioned: bool) -> Iterator[Subject]:
    if name.startswith("memory"):
        store = InMemoryStore(replace(IN_MEMORY[name], versioning=versioned))
        yield Subject(name, store, MemoryApplication(store))
    else:
        yield from _real(name, request.getfixturevalue(name), versioned=versioned)


@pytest.fixture(scope="session", params=NAMES)
def stores(request: pytest.FixtureRequest) -> Iterator[Subject]:
    """Each store once a session, with a bucket of its own."""
    yield from _subject(request.param, request, versioned=False)


@pytest.fixture
def subject(stores: Subject) -> Subject:
    """A store, and keys that no other test uses."""
    return Subject(stores.name, stores.store, stores.application)


@pytest.fixture(scope="session", params=NAMES)
def versioned_stores(request: pytest.FixtureRequest) -> Iterator[Subject]:
    """Each store once a session, with a versioned bucket."""
    yield from _subject(request.param, request, versioned=True)


@pytest.fixture
def versioned(versioned_stores: Subject) -> Subject:
    """A versioned store, and keys that no other test uses."""
    return Subject(versioned_stores.name, versioned_stores.store, versioned_stores.application)
