"""What becomes of an object's attributes on each store: the probe's findings as known facts, and what the probe must not miss."""

from __future__ import annotations

import os
import secrets
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from minio import Minio

from app.errors import DeniedError, ObjectError, StoreRequestError
from app.fidelity import Way, found_in, losses, to_send
from app.fidelity_rules import READERS, Attribute
from app.minio_store import MinioStore
from app.object_store import IfAbsent, ObjectAttributes
from app.probe import probe
from app.testing import FixedDeadline, InMemoryStore
from app.testing.versions import ACLS, CONDITIONAL, LIKE_AWS, LIKE_MINIO, Behaviour

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.contract.conftest import Server, Subject

_A = Attribute
PLAIN = READERS - {_A.REDIRECT, _A.PUBLIC_READ}
LOCKS = {_A.RETENTION, _A.LEGAL_HOLD}
KEYS = {_A.ENCRYPTION, _A.KMS}
TAKEN_OVER = dict.fromkeys(PLAIN | {_A.STORAGE_CLASS, _A.CHECKSUM}, ("kept", "sent", "sent")) | {_A.CHECKSUM: ("kept", "sent", "lost")}
NOT_THERE = dict.fromkeys(ACLS | LOCKS | KEYS | {_A.REDIRECT}, ("absent", "absent", "absent"))
ASKED_FOR = ("sent", "sent", "sent")
# By CopyObject, GET + PUT, parts: the facts that the fidelity contract is built on.
FACTS = {
    "memory": TAKEN_OVER | NOT_THERE,
    "memory-like-minio": TAKEN_OVER | NOT_THERE | {_A.EXPIRES: ("lost", "sent", "sent")},
    "memory-like-aws": TAKEN_OVER | NOT_THERE | dict.fromkeys(ACLS | KEYS | {_A.STORAGE_CLASS, _A.REDIRECT}, ASKED_FOR),
    "minio": TAKEN_OVER | NOT_THERE | {_A.EXPIRES: ("lost", "sent", "sent")},
    "seaweed": TAKEN_OVER | NOT_THERE | {_A.ENCRYPTION: ASKED_FOR},
    "versitygw": TAKEN_OVER | NOT_THERE | {_A.STORAGE_CLASS: ("absent", "absent", "absent"), _A.REDIRECT: ASKED_FOR},
}
FACTS |= {f"memory-like-{name}": FACTS[name] for name in ("seaweed", "versitygw")}
BY_COPY_OF_LOCKS = {"minio": "sent", "seaweed": "kept"}  # in a bucket with object lock

PAGE = Path(__file__).parents[2] / "docs" / "fidelity.md"
STORES = {"minio": "MinIO", "seaweed": "SeaweedFS", "versitygw": "Versity's gateway", "memory-like-aws": "S3, as documented"}
WORDS = {"kept": "kept", "sent": "sent again", "lost": "**lost**", "absent": "-"}


def _table(store: MinioStore | InMemoryStore) -> dict[Attribute, tuple[str, ...]]:
    fates = store.capabilities.fidelity
    return {one: tuple(fates[way][one] for way in Way) for one in Attribute if one is not _A.LAST_MODIFIED}


def test_fates_are_the_known_ones(subject: Subject) -> None:
    """What each way keeps, as it was seen to."""
    assert _table(subject.store) == FACTS[subject.name]


def _page() -> str:
    """The table of ways as docs/fidelity.md has it: the text around it stands there (the one of paths is tests/chains/matrix.py's)."""
    text, _, rest = PAGE.read_text(encoding="utf-8").partition("| attribute | seen by |")
    heads = [f"{store}: {way}" for store in STORES.values() for way in ("CopyObject", "GET + PUT", "parts")]
    lines = [f"| attribute | seen by | {' | '.join(heads)} |", "|---" * (len(heads) + 2) + "|"]
    for one in Attribute:
        if one is _A.LAST_MODIFIED:
            continue
        fates = [fate for name in STORES for fate in _fates_of(name, one)]
        lines.append(f"| `{one}` | {'readers' if one in READERS else 'owners'} | {' | '.join(fates)} |")
    return text + "\n".join(lines) + "\n" + rest[rest.index("\n## ") :]


def _fates_of(name: str, one: Attribute) -> list[str]:
    fates = FACTS[name][one]
    if one in LOCKS and name in BY_COPY_OF_LOCKS:
        fates = (BY_COPY_OF_LOCKS[name], "sent", "sent")
    if one in LOCKS and name == "memory-like-aws":
        return ["not tried"] * 3
    if one in KEYS and name == "minio":
        fates = ASKED_FOR  # with a key of its own: see below
    return [WORDS[fate] for fate in fates]


def test_matrix_in_the_docs_is_made_of_the_facts() -> None:
    """REWRITE_FIDELITY=1 makes it anew."""
    if os.environ.get("REWRITE_FIDELITY") == "1":
        PAGE.write_text(_page(), encoding="utf-8")

    assert PAGE.read_text(encoding="utf-8") == _page()


@pytest.fixture
def with_locks(request: pytest.FixtureRequest) -> Iterator[MinioStore]:
    """A probed bucket with object lock."""
    server: Server = request.getfixturevalue(request.param)
    bucket = f"locks-{secrets.token_hex(4)}"
    client = Minio(server.endpoint.partition("//")[2], server.access_key, server.secret_key, secure=False, region="us-east-1")
    client.make_bucket(bucket, object_lock=True)
    client._http.clear()
    store = MinioStore(endpoint=server.endpoint, access_key=server.access_key, secret_key=server.secret_key, bucket=bucket)
    store.capabilities = probe(store)
    yield store
    store.close()


@pytest.mark.parametrize(("with_locks", "by_copy"), BY_COPY_OF_LOCKS.items(), indirect=["with_locks"], ids=BY_COPY_OF_LOCKS)
def test_locks_are_found_where_the_bucket_has_them(with_locks: MinioStore, by_copy: str) -> None:
    """MinIO's CopyObject drops them unless it is told again, SeaweedFS keeps them (CASES 13)."""
    table = _table(with_locks)

    assert {table[one] for one in LOCKS} == {(by_copy, "sent", "sent")}
    assert with_locks.list_page(prefix="", start_after="", delimiter="").objects == []


def test_keys_are_found_where_the_store_has_them(minio_with_keys: Server) -> None:
    """CopyObject drops the encryption in silence: SSE-S3 and SSE-KMS have to be asked for again (CASES 12)."""
    store = MinioStore(
        endpoint=minio_with_keys.endpoint,
        access_key=minio_with_keys.access_key,
        secret_key=minio_with_keys.secret_key,
        bucket=f"keys-{secrets.token_hex(4)}",
    )
    store.make_bucket()
    store.capabilities = probe(store)
    table = _table(store)
    store.close()

    assert {table[one] for one in KEYS} == {ASKED_FOR}


SWITCHES = [
    replace(CONDITIONAL, copy_drops=frozenset({_A.STORAGE_CLASS, _A.TAGS})),
    replace(CONDITIONAL, copy_ignores=frozenset({_A.METADATA})),
    replace(CONDITIONAL, parts_ignore=frozenset({_A.TAGS, _A.EXPIRES})),
    replace(CONDITIONAL, lacks=CONDITIONAL.lacks | {_A.CONTENT_LANGUAGE}),
    replace(CONDITIONAL, denies=frozenset({_A.TAGS})),
    replace(LIKE_AWS, denies=frozenset({_A.PUBLIC_READ})),
    replace(LIKE_AWS, hides_acl=True),
    replace(LIKE_AWS, refuses=frozenset()),
    LIKE_MINIO,
]


@pytest.mark.parametrize("behaviour", SWITCHES)
def test_probe_sees_each_attribute_that_is_lost(behaviour: Behaviour) -> None:
    """By its effect, on each way, and nothing else with it."""
    store = InMemoryStore(behaviour)

    assert probe(store).fidelity == behaviour.capabilities().fidelity
    assert (store.contents(), store.unfinished_uploads()) == ({}, [])


def test_probe_leaves_no_object_on_hold() -> None:
    """What was written to try a legal hold is free again."""
    store = InMemoryStore(replace(CONDITIONAL, refuses=frozenset(), versioning=True))
    seen = probe(store)
    tried = {key for name, key in store.calls if name == "put" and "fidelity" in key}

    assert seen.fidelity[Way.PUT][_A.LEGAL_HOLD] == "sent"
    assert len(tried) == 2
    assert not [one for key in tried for one in store.versions(key)[-2:] if "x-amz-object-lock-legal-hold" in one.headers]


RICH = {
    "content-type": "image/png",
    "content-encoding": "br",
    "content-disposition": "attachment; filename*=UTF-8''gr%C3%BC%C3%9Fe.png",
    "content-language": "de, en",
    "cache-control": "max-age=31536000, immutable",
    "expires": "Thu, 01 Jan 2099 00:00:00 GMT",
    "x-amz-meta-mixed-case": "As Is",
    "x-amz-meta-utf8": "grüße".encode().decode("latin-1"),
    "x-amz-meta-rfc2047": "=?UTF-8?B?Z3LDvMOfZQ==?=",
    "x-amz-storage-class": "REDUCED_REDUNDANCY",
    "x-amz-tagging": "kind=logo&a%20b=c",
    "x-amz-server-side-encryption": "AES256",
    "x-amz-website-redirect-location": "/elsewhere",
    "x-amz-acl": "public-read",
}


@pytest.mark.parametrize("way", Way)
def test_what_is_not_called_lost_arrives(subject: Subject, way: Way) -> None:
    """An object with everything that the store takes goes each way: what arrives is all but the losses foretold."""
    store, fates, key = subject.store, subject.capabilities.fidelity, subject.key(f"rich-{way}")
    source_key = subject.key("rich")
    taken = {name: value for name, value in RICH.items() if name != "x-amz-server-side-encryption" or _A.ENCRYPTION in _found(subject)}
    store.put(source_key, b"body", ObjectAttributes(headers=taken), condition=None, deadline=subject.lease)
    has = _all(subject, source_key)
    sent = to_send(has, fates, way)
    source = store.stat(source_key)
    if way is Way.COPY:
        store.copy(source, key, condition=None, deadline=subject.lease, headers=sent.headers)
    elif way is Way.PUT:
        store.put(key, b"body", sent, condition=IfAbsent(), deadline=subject.lease)
    else:
        upload = store.create_upload(key, sent, deadline=subject.lease)
        part = store.copy_part(upload, key, 1, source, first=0, last=3, deadline=subject.lease)
        store.complete_upload(upload, key, [part], condition=IfAbsent(), deadline=subject.lease)
    arrived, lost = _all(subject, key), losses(has, fates, way)

    assert {_A.METADATA, _A.TAGS, _A.CONTENT_TYPE, _A.EXPIRES} <= found_in(has)
    assert found_in(arrived) >= found_in(has) - lost
    unlike = {name for name, value in has.headers.items() if arrived.headers.get(name) != value}
    assert found_in(ObjectAttributes(headers={name: has.headers[name] for name in unlike})) <= lost


def _found(subject: Subject) -> set[Attribute]:
    return {one for one in Attribute if subject.capabilities.fidelity[Way.PUT].get(one) == "sent"}


def _all(subject: Subject, key: str) -> ObjectAttributes:
    """What a write needs for the object at *key* to arrive whole."""
    found = subject.store.head(key).attributes
    more = {"x-amz-tagging": subject.store.tags(key)} if found.tag_count else {}
    acl = {} if subject.name.endswith("versitygw") else subject.store.acl(key)  # which knows none
    return replace(found, headers={**found.headers, **more, **acl})


def test_acl_is_told_as_a_write_takes_it() -> None:
    """Nothing for an object that only its owner may read; hidden from credentials that may not look."""
    store = InMemoryStore(LIKE_AWS)
    for acl in ({}, {"x-amz-acl": "public-read"}, {"x-amz-grant-read": 'id="a"'}):
        store.app_put("k", b"x", acl)
        assert store.acl("k") == acl
    with pytest.raises(DeniedError):
        InMemoryStore(replace(LIKE_AWS, hides_acl=True)).acl("k")


def test_acl_of_a_real_object_names_nobody_but_its_owner(subject: Subject) -> None:
    """No real one takes an ACL with a write: what they show is the owner's alone, and one shows none."""
    headers = {"x-amz-acl": "public-read"}
    subject.store.put(subject.key("a"), b"", ObjectAttributes(headers=headers), condition=None, deadline=subject.lease)

    if subject.name.endswith("versitygw"):
        with pytest.raises(StoreRequestError, match="NotImplemented"):
            subject.store.acl(subject.key("a"))
        return
    assert subject.store.acl(subject.key("a")) == (headers if subject.name == "memory-like-aws" else {})
    with pytest.raises(ObjectError):
        subject.store.acl(subject.key("nothing"))


def test_checksum_is_sent_again_and_checked_by_the_store(subject: Subject) -> None:
    """It comes with a GET; a PUT that says it of other bytes is refused by a real store."""
    name, key = "x-amz-checksum-crc32", subject.key("a")
    store, attributes = subject.store, ObjectAttributes(checksums={"x-amz-checksum-crc32": "DUoRhQ=="})  # of b"hello world"
    store.put(key, b"hello world", attributes, condition=None, deadline=FixedDeadline())

    assert store.read(key, max_bytes=100).attributes.checksums[name] == "DUoRhQ=="
    if not subject.name.startswith("memory"):
        with pytest.raises(ObjectError):
            store.put(key, b"hello  world", attributes, condition=None, deadline=FixedDeadline())
        assert subject.get("a") == b"hello world"
