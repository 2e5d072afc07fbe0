"""Cases about copies and rights, played on real stores: false answers, headers that readers see, credentials that may not."""

from __future__ import annotations

import secrets
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from minio import MinioAdmin
from minio.credentials import AssumeRoleProvider, StaticProvider
from minio.sse import SseCustomerKey
from urllib3 import PoolManager

from app import resources
from app.doctor.findings import Level
from app.doctor.store import check_store
from app.ledger.reopening import Selection
from app.minio_store import MinioStore
from tests.builders import make_settings
from tests.cases.scripted_door import ScriptedDoor
from tests.chains.bucket import AnswerError, Bucket
from tests.chains.conftest import made_name, seen_of
from tests.chains.live import close_chain, open_chain

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.chains.live import Chain
    from tests.chaos.wire import Request
    from tests.servers import S3Server

ERROR = b"<?xml version='1.0'?><Error><Code>InternalError</Code><Message>We encountered an internal error.</Message></Error>"
SERVED = {
    "content-type": "image/png",
    "content-encoding": "gzip",
    "content-disposition": 'inline; filename="logo.png"',
    "content-language": "de-CH",
    "cache-control": "public, max-age=86400",
    "expires": "Fri, 01 Jan 2027 00:00:00 GMT",
    "x-amz-meta-owner": "anna",
    "x-amz-meta-note": "two  words",
}


class FalseDoor(ScriptedDoor):
    """Tells lies about copies."""

    def __init__(self, bucket: Bucket) -> None:
        super().__init__(bucket.server.endpoint)
        self._bucket = bucket
        self._harm["error_in_200"] = (lambda _: True, lambda passage, request: passage._answer(request, b"200 OK", ERROR))
        self._harm["stripped"] = (lambda _: True, self._without_its_source)

    def _without_its_source(self, passage: Any, request: Request) -> None:  # noqa: ANN401 - of the door
        """As a gateway that ignores the copy header: an empty object, and the answer to a PUT of it."""
        self._bucket.put(_key(request), b"")
        head = b'HTTP/1.1 200 OK\r\nETag: "d41d8cd98f00b204e9800998ecf8427e"\r\nContent-Length: 0\r\n\r\n'
        passage._client.sendall(head)


def _key(request: Request) -> str:
    return request.target.partition("?")[0].split("/", 2)[2]


def _copies(request: Request) -> bool:
    """Whether it writes a new key: by the store's own copy, or by the worker's PUT or part."""
    return request.method == "PUT" and "/clients/" in request.target


@pytest.fixture
def behind_a_door(make_chain: Callable[..., Chain], way: str) -> Iterator[tuple[Chain, FalseDoor]]:
    """A chain whose worker sees the store through a door, and copies on this way."""
    chain = make_chain(**({"inline_bytes": 1} if way == "parts" else {}))
    door = FalseDoor(chain.bucket)
    chain.world.store.close()  # type: ignore[attr-defined] # a real one
    chain.world.store = _store(chain.bucket, door.endpoint, capabilities=chain.world.store.capabilities)  # type: ignore[assignment]
    chain.world.context = chain.world.worker()
    yield chain, door
    door.close()


def _store(bucket: Bucket, endpoint: str, **given: Any) -> MinioStore:  # noqa: ANN401 - of MinioStore
    server = bucket.server
    rights = {"access_key": server.access_key, "secret_key": server.secret_key}
    return MinioStore(**{"endpoint": endpoint, "bucket": bucket.name, "pool_size": 4, **rights, **given})


@pytest.mark.parametrize(("store_name", "way"), [("minio", "put"), ("minio", "parts"), ("seaweed", "copy")], indirect=["store_name"])
def test_case_8_a_copy_counts_only_when_it_is_proved(behind_a_door: tuple[Chain, FalseDoor]) -> None:
    """A 200 with an error in it, an answer that breaks off, an empty object in its place: nothing is switched to that, nothing deleted."""
    chain, door = behind_a_door
    faults = {2: "error_in_200", 3: "truncate", 4: "stripped"}
    bodies = {number: f"body {number}".encode() for number in range(1, 6)}
    for number, body in bodies.items():
        chain.add(number, f"up/{number}.png", body)
    for number, fault in faults.items():
        door.plan(fault, lambda request, name=f"/{number}.png": _copies(request) and name in request.target)  # type: ignore[misc]
    chain.go()

    assert len(door.harmed) == len(faults)
    assert {number: chain.bucket.get(key) for number, key in chain.keys().items()} == bodies
    parked = chain.reasons()
    assert parked in ({}, {4: "target_exists"})
    if parked:  # an object that is not ours is at the new key by now, and stays there
        assert chain.bucket.get("clients/7/assets/4.png") == b""


@pytest.mark.parametrize("store_name", ["minio"], indirect=True)
def test_case_12_what_readers_see_comes_along(chain: Chain) -> None:
    """Six standard headers, two of the user's, tags: equal header by header at the new key, and again at the old one.

    Each for itself goes each path on each store in test_matrix.py, and five hundred objects with many at once in test_corpus.py.
    """
    sent = SERVED | {"x-amz-tagging": "kind=logo&year=2026"}
    assert chain.bucket.put("up/logo.png", b"pixels", sent)
    chain.world.add(1, "up/logo.png", body=None)
    before = _served(chain, "up/logo.png")
    assert before.items() >= SERVED.items()
    chain.go()

    assert chain.world.states() == {"deleted": 1}
    assert _served(chain, "clients/7/assets/logo.png") == before
    chain.back()
    assert _served(chain, "up/logo.png") == before
    assert chain.listed() == ["up/logo.png"]


def _served(chain: Chain, key: str) -> dict[str, str]:
    """Everything that an answer says of the object itself, its tags too; not when it was written, nor by which request it was asked for."""
    found = chain.find(key)
    assert found is not None
    names = {"etag", "content-length", *SERVED} | {name for name in found.headers if name.startswith("x-amz-meta-")}
    tags = chain.of(key).ask("GET", key, query={"tagging": ""}).body.decode()
    pairs = sorted(piece.partition("</Tag>")[0] for piece in tags.split("<Tag>")[1:])
    return {name: found.headers[name] for name in names if name in found.headers} | {"tags": ";".join(pairs)}


def test_case_12_an_object_under_the_client_s_own_key_is_parked(chain: Chain) -> None:
    """Nobody but its owner can read it: parked as encrypted, and it stays; its neighbour moves."""
    if chain.store_name != "seaweed":
        pytest.skip("MinIO takes such a key over TLS only")
    assert chain.bucket.put("up/1.png", b"by the client", SseCustomerKey(secrets.token_bytes(32)).headers())
    chain.world.add(1, "up/1.png", body=None)
    chain.add(2, "up/2.png", b"plain")
    chain.go()

    assert chain.reasons() == {1: "encrypted"}
    assert chain.bucket.keys() == ["clients/7/assets/2.png", "up/1.png"]
    assert chain.keys() == {1: "up/1.png", 2: "clients/7/assets/2.png"}


def test_case_12_the_store_s_encryption_comes_along(minio_with_keys: S3Server, tmp_path: Path) -> None:
    """SSE-S3, on a bucket that does not encrypt by itself."""
    bucket = Bucket(minio_with_keys, made_name())
    bucket.ask("PUT", None)
    chain = open_chain(tmp_path, bucket, seen=seen_of("minio_with_keys", bucket), name="minio", settings={}, table=None)
    chain.bucket.put("up/2.png", b"by the store", {"x-amz-server-side-encryption": "AES256"})
    chain.world.add(2, "up/2.png", body=None)
    chain.go()
    found = bucket.find("clients/7/assets/2.png")
    states = chain.world.states()
    close_chain(chain)
    bucket.close()

    assert states == {"deleted": 1}
    assert found is not None
    assert (found.body, found.headers["x-amz-server-side-encryption"]) == (b"by the store", "AES256")


class Person:
    """A user of MinIO whose rights are granted and taken away."""

    def __init__(self, server: S3Server, bucket: str) -> None:
        self.access_key, self.secret_key = f"user-{secrets.token_hex(4)}", secrets.token_hex(16)
        provider = StaticProvider(server.access_key, server.secret_key)
        self._pool = PoolManager()
        host = server.endpoint.partition("//")[2]
        self._admin = MinioAdmin(endpoint=host, credentials=provider, secure=False, http_client=self._pool)
        self._admin.user_add(self.access_key, self.secret_key)
        self._arn = f"arn:aws:s3:::{bucket}"

    def may(self, *actions: str) -> None:
        """These actions in the bucket, and no others."""
        name = f"policy-{secrets.token_hex(4)}"
        statement = {"Effect": "Allow", "Action": [f"s3:{action}" for action in actions], "Resource": [self._arn, f"{self._arn}/*"]}
        self._admin.policy_add(name, policy={"Version": "2012-10-17", "Statement": [statement]})
        self._admin.policy_set(name, user=self.access_key)

    def ask(self, method: str, bucket: Bucket, key: str) -> int:
        """The status of the answer that this person gets."""
        own = Bucket(replace(bucket.server, access_key=self.access_key, secret_key=self.secret_key), bucket.name)
        try:
            own.ask(method, key)
        except AnswerError as error:
            return error.status
        finally:
            own.close()
        return 200

    def remove(self) -> None:
        """Take the user away."""
        self._admin.user_remove(self.access_key)
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._pool.clear()


ALL = (
    "GetObject",
    "PutObject",
    "DeleteObject",
    "ListBucket",
    "GetObjectTagging",
    "PutObjectTagging",
    "GetBucketLocation",
    "AbortMultipartUpload",
)


@pytest.fixture
def limited(minio: S3Server, tmp_path: Path) -> Iterator[tuple[Chain, Person]]:
    """A chain on MinIO whose worker has the rights that a person is given."""
    bucket = Bucket(minio, made_name())
    bucket.ask("PUT", None)
    chain = open_chain(tmp_path, bucket, seen=seen_of("minio", bucket), name="minio", settings={}, table=None)
    person = Person(minio, bucket.name)
    rights = {"access_key": person.access_key, "secret_key": person.secret_key}
    chain.world.store.close()  # type: ignore[attr-defined] # a real one
    chain.world.store = _store(bucket, minio.endpoint, capabilities=chain.world.store.capabilities, **rights)  # type: ignore[assignment]
    chain.world.context = chain.world.worker()
    yield chain, person
    close_chain(chain)
    bucket.close()
    person.close()


def test_case_15_deletes_that_are_denied_wait_and_need_no_new_copies(limited: tuple[Chain, Person]) -> None:
    """Rows are served from their new keys meanwhile; once the right is granted, a retry deletes and copies nothing."""
    chain, person = limited
    person.may(*(action for action in ALL if action != "DeleteObject"))
    for number in (1, 2, 3):
        chain.add(number, f"up/{number}.png", f"body {number}".encode())
    chain.go()
    old, new = [f"up/{number}.png" for number in (1, 2, 3)], [f"clients/7/assets/{number}.png" for number in (1, 2, 3)]

    assert chain.reasons() == dict.fromkeys((1, 2, 3), "denied")
    assert list(chain.keys().values()) == new
    assert chain.bucket.keys() == sorted(old + new)
    written = [chain.bucket.ask("HEAD", key).headers["last-modified"] for key in new]
    person.may(*ALL)
    time.sleep(1.1)  # so that a new copy would be of another second
    world = chain.world
    world.context.reopening.retry(world.run, Selection())
    chain.go()
    assert world.states() == {"deleted": 3}
    assert chain.bucket.keys() == new
    assert [chain.bucket.ask("HEAD", key).headers["last-modified"] for key in new] == written


def test_case_15_without_the_right_to_list_absent_is_not_told_from_denied(limited: tuple[Chain, Person]) -> None:
    """What is there moves; what answers 403 is neither present nor absent, and parked as denied (MinIO says 404 all the same)."""
    chain, person = limited
    person.may(*(action for action in ALL if action != "ListBucket"))
    for number in range(1, 6):
        chain.add(number, f"up/{number}.png", f"body {number}".encode())
    chain.world.add(6, "up/6.png", body=None)
    chain.go()

    absent = person.ask("HEAD", chain.bucket, "up/6.png")
    assert chain.reasons() == {6: {403: "denied", 404: "missing_source"}[absent]}
    assert chain.world.states() == {"deleted": 5, "parked": 1}
    assert chain.bucket.contents() == {f"clients/7/assets/{number}.png": f"body {number}".encode() for number in range(1, 6)}


def test_case_15_a_right_that_is_lacking_is_named_beforehand(limited: tuple[Chain, Person]) -> None:
    """By `rekey doctor`, before the first row is looked at: one right after the other."""
    chain, person = limited
    for right in ("PutObject", "GetObject", "ListBucket", "GetObjectTagging", "DeleteObject"):
        person.may(*(action for action in ALL if action != right))
        findings, capabilities = check_store(make_settings(), chain.world.store)  # type: ignore[arg-type] # a real one
        problems = [finding.text for finding in findings if finding.level is Level.PROBLEM]

        assert any(f"s3:{right}" in text or (right == "PutObject" and "refuses a PUT" in text) for text in problems), right
        assert capabilities is None


def test_case_23_keys_that_are_exchanged_during_a_run(
    limited: tuple[Chain, Person], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From a profile's file: one user's keys, then temporary ones with a token; the first are gone by then, and nothing is parked."""
    chain, person = limited
    person.may(*ALL)
    file = tmp_path / "credentials"
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(file))
    host = chain.bucket.server.endpoint
    first = Person(chain.bucket.server, chain.bucket.name)
    first.may(*ALL)
    _write_profile(file, first.access_key, first.secret_key)
    settings = make_settings(**chain.world.settings).model_copy(
        update={"s3_endpoint": host, "s3_credentials": "profile", "s3_profile": "mover"}
    )
    resources.configure(settings)
    chain.world.store.close()  # type: ignore[attr-defined] # a real one
    chain.world.store = resources.store_of(settings, chain.world.store.capabilities, pool_size=4)  # type: ignore[assignment]
    chain.world.context = chain.world.worker()
    for number in (1, 2, 3):
        chain.add(number, f"up/{number}.png", f"body {number}".encode())
    chain.world.seed()
    chain.world.do("copy")
    pool = PoolManager()
    given = AssumeRoleProvider(sts_endpoint=host, access_key=person.access_key, secret_key=person.secret_key, http_client=pool).retrieve()
    pool.clear()
    _write_profile(file, given.access_key, given.secret_key, str(given.session_token))
    first.remove()
    chain.go()

    assert chain.world.states() == {"deleted": 3}
    assert chain.contents() == {f"clients/7/assets/{number}.png": f"body {number}".encode() for number in (1, 2, 3)}
    assert [move.attempts for move in chain.world.moves()] == [0, 0, 0]


def _write_profile(file: Path, access_key: str, secret_key: str, token: str = "") -> None:
    lines = ["[mover]", f"aws_access_key_id = {access_key}", f"aws_secret_access_key = {secret_key}"]
    file.write_text("\n".join([*lines, *([f"aws_session_token = {token}"] if token else []), ""]), encoding="utf-8")
