"""What real stores say when something is in the way: rights, locks, encryption, wrong credentials."""

from __future__ import annotations

import io
import secrets
from base64 import b64encode
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from hashlib import md5
from typing import TYPE_CHECKING

import pytest
from minio import Minio
from minio.commonconfig import ENABLED, GOVERNANCE, Filter
from minio.credentials.providers import StaticProvider
from minio.lifecycleconfig import Expiration, LifecycleConfig, Rule
from minio.minioadmin import MinioAdmin
from minio.retention import Retention
from minio.versioningconfig import SUSPENDED, VersioningConfig

from app.clock import BootClock
from app.errors import CredentialsError, DeniedError, EncryptedError, MissingObjectError, ObjectError, StoreRequestError
from app.looks import look
from app.minio_store import MinioStore
from app.object_store import ObjectAttributes, ObjectInfo
from app.testing import FixedDeadline, InMemoryStore

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.contract.conftest import Server

NOTHING = ObjectAttributes()
LEASE = FixedDeadline()


@dataclass(frozen=True)
class Place:
    """A bucket on MinIO, with the owner's client and the store under test."""

    server: Server
    bucket: str
    client: Minio
    store: MinioStore
    opened: list[MinioStore] = field(default_factory=list)

    def as_user(self, *actions: str) -> MinioStore:
        """The store as seen with credentials that may do only so much."""
        name = f"u{secrets.token_hex(6)}"
        owner = StaticProvider(self.server.access_key, self.server.secret_key)
        admin = MinioAdmin(endpoint=self.server.endpoint.partition("//")[2], credentials=owner, secure=False)
        resources = [f"arn:aws:s3:::{self.bucket}", f"arn:aws:s3:::{self.bucket}/*"]
        statement = {"Effect": "Allow", "Action": [f"s3:{action}" for action in actions], "Resource": resources}
        admin.user_add(name, "user-secret-1")
        admin.policy_add(name, policy={"Version": "2012-10-17", "Statement": [statement]})
        admin.policy_set(name, user=name)
        admin._http.clear()
        store = MinioStore(
            endpoint=self.server.endpoint,
            access_key=name,
            secret_key="user-secret-1",
            bucket=self.bucket,
            capabilities=self.store.capabilities,
        )
        self.opened.append(store)
        return store


@pytest.fixture
def place(minio: Server) -> Iterator[Place]:
    """A bucket that is made for one test; object lock needs one of its own."""
    bucket = f"refusals-{secrets.token_hex(4)}"
    client = Minio(minio.endpoint.partition("//")[2], minio.access_key, minio.secret_key, secure=False, region="us-east-1")
    client.make_bucket(bucket, object_lock=True)
    store = MinioStore(
        endpoint=minio.endpoint,
        access_key=minio.access_key,
        secret_key=minio.secret_key,
        bucket=bucket,
        capabilities=InMemoryStore.like_minio().capabilities,
    )
    made = Place(minio, bucket, client, store, [store])
    yield made
    for opened in made.opened:
        opened.close()
    client._http.clear()


def _put(store: MinioStore, key: str, body: bytes = b"body", headers: dict[str, str] | None = None) -> ObjectInfo:
    return store.put(key, body, ObjectAttributes(headers=headers or {}), condition=None, deadline=LEASE)


def test_look_needs_no_right_to_list(place: Place) -> None:
    """Where listing is denied keys are looked at one by one (CASES 15); MinIO then says 404 of an absent one, where AWS says 403."""
    _put(place.store, "present")
    user = place.as_user("GetObject")
    with pytest.raises(DeniedError):
        user.list_page(prefix="", start_after="")
    looks = look(user, ["present", *(f"absent-{number}" for number in range(20))], clock=BootClock())

    assert looks.found == {"present": place.store.stat("present")} | {f"absent-{number}": None for number in range(20)}
    assert looks.failed == {}


def test_look_without_the_right_to_read_is_denied(place: Place) -> None:
    """A HEAD's 403 is neither missing nor present; the listing still shows what is there."""
    _put(place.store, "present")
    user = place.as_user("ListBucket")
    looks = look(user, ["present", "absent"], clock=BootClock())

    assert looks.found == {}
    assert {key: type(error) for key, error in looks.failed.items()} == {"present": DeniedError, "absent": DeniedError}
    assert [info.key for info in user.list_page(prefix="", start_after="").objects] == ["present"]


def test_delete_is_denied_key_by_key(place: Place) -> None:
    """Every move hears that the right to delete is lacking (CASES 15)."""
    infos = [_put(place.store, "a"), _put(place.store, "b"), _put(place.store, "odd\x10")]
    refusals = place.as_user("GetObject", "ListBucket").delete(infos, deadline=LEASE)

    assert {key: type(refusal) for key, refusal in refusals.items()} == dict.fromkeys(["a", "b", "odd\x10"], DeniedError)
    assert [place.store.stat(info.key).etag for info in infos] == [info.etag for info in infos]


def test_write_is_denied(place: Place) -> None:
    """PUT, copy and upload say so, and change nothing."""
    source = _put(place.store, "a")
    user = place.as_user("GetObject", "ListBucket")
    for write in (
        lambda: user.put("b", b"", NOTHING, condition=None, deadline=LEASE),
        lambda: user.copy(source, "b", condition=None, deadline=LEASE),
        lambda: user.create_upload("b", NOTHING, deadline=LEASE),
    ):
        with pytest.raises(DeniedError):
            write()
    with pytest.raises(MissingObjectError):
        place.store.stat("b")


@pytest.mark.parametrize("name", ["minio", "seaweed"])
def test_wrong_secret_is_denied(name: str, request: pytest.FixtureRequest) -> None:
    """And the message shows no secret (S10)."""
    server: Server = request.getfixturevalue(name)
    store = MinioStore(endpoint=server.endpoint, access_key=server.access_key, secret_key="wrong-secret", bucket="some-bucket")
    for call in (lambda: store.stat("a"), lambda: _put(store, "a"), store.make_bucket):
        with pytest.raises(DeniedError) as refusal:
            call()
        assert "wrong-secret" not in str(refusal.value)
    with pytest.raises(CredentialsError):  # by which workers tell it from what one object is denied for
        store.list_page(prefix=".rekey/", start_after="", limit=1)
    store.close()


def test_missing_bucket_is_said_to_be_missing(minio: Server) -> None:
    """It is no missing object: a run with a wrong bucket parks nothing as missing."""
    store = MinioStore(endpoint=minio.endpoint, access_key=minio.access_key, secret_key=minio.secret_key, bucket="no-such-bucket")
    page = lambda: store.list_page(prefix="", start_after="")  # noqa: E731
    for call in (lambda: store.stat("a"), lambda: store.read("a", max_bytes=1), lambda: _put(store, "a"), page, store.is_versioned):
        with pytest.raises(StoreRequestError, match="bucket does not exist"):
            call()
    assert not store.bucket_exists()
    store.close()


def test_held_object_is_deleted_by_a_marker_and_stays_held(place: Place) -> None:
    """A lock is never bypassed: the version stays, and what was moved is protected as before (CASES 13)."""
    until = (datetime.now(UTC) + timedelta(days=1)).replace(microsecond=0)
    place.client.put_object(place.bucket, "held", io.BytesIO(b"x"), 1, retention=Retention(GOVERNANCE, until), legal_hold=True)
    read = place.store.read("held", max_bytes=10)
    place.store.put("moved", b"x", read.attributes, condition=None, deadline=LEASE)
    moved = place.store.read("moved", max_bytes=10)

    assert read.attributes.headers["x-amz-object-lock-mode"] == "GOVERNANCE"
    assert moved.attributes == read.attributes
    assert place.client.get_object_retention(place.bucket, "moved").retain_until_date == until
    assert place.client.is_object_legal_hold_enabled(place.bucket, "moved")
    assert place.store.delete([read.info], deadline=LEASE) == {"held": None}
    versions = [found for found in place.client.list_objects(place.bucket, include_version=True) if found.object_name == "held"]
    assert sorted(found.is_delete_marker for found in versions) == [False, True]


def test_suspended_versioning_identifies_nothing_by_version(minio: Server) -> None:
    """Its objects have the version "null", and a delete takes the object for good (H7)."""
    bucket = f"suspended-{secrets.token_hex(4)}"
    client = Minio(minio.endpoint.partition("//")[2], minio.access_key, minio.secret_key, secure=False, region="us-east-1")
    client.make_bucket(bucket)
    client.set_bucket_versioning(bucket, VersioningConfig(ENABLED))
    client.set_bucket_versioning(bucket, VersioningConfig(SUSPENDED))
    store = MinioStore(endpoint=minio.endpoint, access_key=minio.access_key, secret_key=minio.secret_key, bucket=bucket)
    _put(store, "a")

    assert not store.is_versioned()
    assert store.stat("a").version_id is None
    store.close()
    client._http.clear()


def test_lifecycle_rules_that_remove_objects_are_named(place: Place) -> None:
    """Doctor warns of them (H22)."""
    rules = [
        Rule(ENABLED, rule_filter=Filter(prefix="clients/"), rule_id="a", expiration=Expiration(days=1)),
        Rule("Disabled", rule_filter=Filter(prefix="off/"), rule_id="b", expiration=Expiration(days=1)),
    ]
    before = place.store.lifecycle()
    place.client.set_bucket_lifecycle(place.bucket, LifecycleConfig(rules))

    assert (before, [(rule.prefix, rule.acts) for rule in place.store.lifecycle()]) == (
        [],
        [("clients/", ("removes objects after 1 days",))],
    )


def test_object_under_a_customer_key_is_encrypted(seaweed: Server) -> None:
    """SSE-C: HEAD and GET say so, whatever the 400 looks like (CASES 12). MinIO takes such keys over TLS only."""
    store = MinioStore(endpoint=seaweed.endpoint, access_key=seaweed.access_key, secret_key=seaweed.secret_key, bucket="encrypted")
    store.make_bucket()
    secret = secrets.token_bytes(32)
    prefix = "x-amz-server-side-encryption-customer"
    headers = {
        f"{prefix}-algorithm": "AES256",
        f"{prefix}-key": b64encode(secret).decode(),
        f"{prefix}-key-md5": b64encode(md5(secret, usedforsecurity=False).digest()).decode(),
    }
    _put(store, "a", headers=headers)
    calls = (lambda: store.stat("a"), lambda: store.read("a", max_bytes=100))
    for call in calls:
        with pytest.raises(ObjectError) as refusal:
            call()
        assert type(refusal.value) is EncryptedError
    store.close()
