"""The adapter over a scripted transport: what is signed and sent, and what each answer is taken for."""

from __future__ import annotations

from dataclasses import dataclass
from email.utils import formatdate
from hashlib import md5
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, urlsplit

import pytest

from app.errors import (
    BadKeyError,
    ConditionFailedError,
    DeniedError,
    EncryptedError,
    ExpiredRequestError,
    LeaseLostError,
    LockedError,
    MissingObjectError,
    ObjectError,
    ProofError,
    StoreRequestError,
    StoreUnavailableError,
    UnansweredError,
    UsageError,
)
from app.minio_store import MinioStore
from app.object_store import IfAbsent, IfMatch, ObjectAttributes, ObjectInfo, Packed
from app.s3_http import Answer
from app.s3_snowball import pack
from app.testing import FixedDeadline, InMemoryStore, ManualClock

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

STORE_OFFSET = 1_795_000_000  # the store's clock minus the boot clock
NOTHING = ObjectAttributes()
SOURCE = ObjectInfo(key="old key", etag="e1", size=3, last_modified=1)
OBJECT = {"etag": '"e1"', "content-length": "3", "last-modified": "Wed, 25 Nov 2026 02:51:03 GMT"}


class Script:
    """A transport that gives the answers it was given, dated by the store's clock, and notes the requests."""

    host = "store.example"
    connections = 10  # that can be had

    def __init__(self, clock: ManualClock) -> None:
        self.clock = clock
        self.skew = 0.0
        self.unreachable = False  # for what is begun
        self.answers: list[Answer | Exception] = []
        self.sent: list[tuple[str, str, Mapping[str, str], bytes, float]] = []

    def then(self, status: int, body: str | bytes = b"", **headers: str) -> None:
        """Queue an answer."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        text = body.encode() if isinstance(body, str) else body
        self.answers.append(Answer(status=status, headers=named, body=text, sent_at=0, received_at=0))

    def send(
        self,
        method: str,
        target: str,
        headers: Mapping[str, str],
        body: bytes = b"",
        *,
        timeout: float,
        max_body: int | None = None,
        admit: Callable[[int], None] | None = None,
    ) -> Answer:
        """The next answer."""
        del max_body, admit
        self.sent.append((method, target, headers, body, timeout))
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        now = self.clock.boot()
        date = formatdate(now + STORE_OFFSET + self.skew, usegmt=True)
        return Answer(status=answer.status, headers={"date": date, **answer.headers}, body=answer.body, sent_at=now, received_at=now)

    def begin(self, method: str, target: str, headers: Mapping[str, str], body: bytes = b"", *, timeout: float) -> BegunByScript:
        """Sent now; its answer is the script's next one when it is taken."""
        self.sent.append((method, target, headers, body, timeout))
        if self.unreachable:
            raise StoreUnavailableError("refused")
        return BegunByScript(self, self.clock.boot())

    def prepare(self, wanted: int, *, timeout: float) -> int:
        """As many as can be had."""
        del timeout
        if not self.connections:
            raise StoreUnavailableError("refused")
        return min(wanted, self.connections)

    def close(self) -> None:
        """Nothing to close."""


@dataclass
class BegunByScript:
    """A request without an answer yet."""

    script: Script
    sent_at: float

    def answer(self, *, timeout: float, max_body: int | None = None, admit: Callable[[int], None] | None = None) -> Answer:
        """The script's next one; what was sent stands there already."""
        try:
            return self.script.send("", "", {}, timeout=timeout, max_body=max_body, admit=admit)
        finally:
            self.script.sent.pop()

    def drop(self) -> None:
        """Nobody wants it."""


@pytest.fixture
def clock() -> ManualClock:
    """A clock that stands still."""
    return ManualClock()


@pytest.fixture
def script(clock: ManualClock) -> Script:
    """The scripted transport; the first request is answered, so that the store's time is known."""
    script = Script(clock)
    script.then(403)
    return script


@pytest.fixture
def store(script: Script, clock: ManualClock) -> MinioStore:
    """The adapter over it, with the store's time known."""
    store = MinioStore(
        endpoint="http://store.example",
        access_key="access",
        secret_key="very-secret",
        bucket="bucket",
        clock=clock,
        transport=script,
        capabilities=InMemoryStore.conditional().capabilities,
    )
    store.store_time()
    script.sent.clear()
    return store


def _query(target: str) -> dict[str, str]:
    return dict(parse_qsl(urlsplit(target).query, keep_blank_values=True))


def test_store_time_is_asked_for_once_without_credentials(script: Script, clock: ManualClock) -> None:
    """Any answer has a Date, also a refusal; the wall clock of this machine plays no part (CASES 20)."""
    store = MinioStore(endpoint="http://h", access_key="a", secret_key="s", bucket="bucket", clock=clock, transport=script)

    assert [store.store_time(), store.store_time()] == [1000 + STORE_OFFSET] * 2
    assert [(method, target, headers) for method, target, headers, _, _ in script.sent] == [("HEAD", "/bucket", {})]


def test_read_is_dated_by_the_store(script: Script, store: MinioStore) -> None:
    """Reads are signed in the header with the store's time."""
    script.then(200, **OBJECT)
    store.stat("a b")
    method, target, headers, _, timeout = script.sent[0]

    assert (method, target, timeout) == ("HEAD", "/bucket/a%20b", 10)
    assert headers["x-amz-date"] == "20261118T112320Z"
    assert headers["authorization"].startswith("AWS4-HMAC-SHA256 Credential=access/20261118/us-east-1/s3/aws4_request")


@pytest.mark.parametrize(("remaining", "expires", "timeout"), [(60.0, 10, 10.0), (7.9, 7, 7.9), (1.0, 1, 1.0)])
def test_write_ends_at_the_store_with_the_lease(script: Script, store: MinioStore, remaining: float, expires: int, timeout: float) -> None:
    """The signature ends after min(request time-out, lease) by the store's clock, and so does the wait for the answer (H2)."""
    script.then(200, etag='"e"')
    store.put("k", b"body", NOTHING, condition=IfAbsent(), deadline=FixedDeadline(remaining))
    _, target, headers, body, waited = script.sent[0]

    assert _query(target)["X-Amz-Date"] == "20261118T112320Z"
    assert _query(target)["X-Amz-Expires"] == str(expires)
    assert _query(target)["X-Amz-SignedHeaders"] == "host;if-none-match"
    assert (headers, body, waited) == ({"if-none-match": "*"}, b"body", timeout)


@pytest.mark.parametrize("remaining", [0.99, 0.0, -5.0])
def test_write_is_not_sent_when_the_lease_is_over(script: Script, store: MinioStore, remaining: float) -> None:
    """Too late to be carried out in time is too late."""
    lease = FixedDeadline(remaining)
    writes: list[Callable[[], object]] = [
        lambda: store.put("k", b"", NOTHING, condition=None, deadline=lease),
        lambda: store.copy(SOURCE, "k", condition=None, deadline=lease),
        lambda: store.create_upload("k", NOTHING, deadline=lease),
        lambda: store.copy_part("u", "k", 1, SOURCE, first=0, last=2, deadline=lease),
        lambda: store.put_part("u", "k", 1, b"", deadline=lease),
        lambda: store.complete_upload("u", "k", ["e"], condition=None, deadline=lease),
        lambda: store.delete([SOURCE], deadline=lease),
        lambda: store.delete([ObjectInfo(key="x\r", etag="e", size=1, last_modified=1)], deadline=lease),
    ]
    for write in writes:
        with pytest.raises(LeaseLostError):
            write()

    assert script.sent == []


def test_write_goes_out_once_whatever_happens(script: Script, store: MinioStore) -> None:
    """An unanswered request is not sent again."""
    script.answers = [UnansweredError("reset"), StoreUnavailableError("refused")]
    with pytest.raises(UnansweredError):
        store.put("k", b"", NOTHING, condition=None, deadline=FixedDeadline())
    with pytest.raises(StoreUnavailableError):
        store.delete([SOURCE], deadline=FixedDeadline())

    assert len(script.sent) == 2


def test_read_that_got_no_answer_holds_nothing_up(script: Script, store: MinioStore) -> None:
    """It has changed nothing, so that its move need not keep its lease to the end (S7)."""
    script.answers = [UnansweredError("reset"), UnansweredError("reset")]
    with pytest.raises(StoreUnavailableError):
        store.stat("k")
    with pytest.raises(StoreUnavailableError):
        store.read("k", max_bytes=10)
    script.then(504)
    with pytest.raises(StoreUnavailableError):
        store.stat("k")


@pytest.mark.parametrize(("seconds", "sent"), [(0, ["k", "other"]), (3, ["k", "other"]), (5, ["k", "other", "k"])])
def test_answer_to_a_read_ahead_is_taken_unless_it_has_waited_long(
    script: Script, clock: ManualClock, store: MinioStore, seconds: float, sent: list[str]
) -> None:
    """The store may have closed its connection by then; the object is asked for anew."""
    script.answers += [Answer(status=200, headers=OBJECT, body=b"abc", sent_at=0, received_at=0)] * 2
    store.read_ahead(["k"])
    store.read("other", max_bytes=10)
    clock.advance(seconds)

    assert store.read("k", max_bytes=10).body == b"abc"
    assert [target.rpartition("/")[2] for _, target, *_ in script.sent] == sent


def test_failure_of_a_read_ahead_is_met_by_the_read_itself(script: Script, store: MinioStore) -> None:
    """Another object's write must not fail for it: neither for a key that cannot be, nor where the answer does not come."""
    assert store.read_ahead(["/", "k"]) == 0
    assert store.read_ahead(["k"]) == 1
    script.answers.append(UnansweredError("reset"))

    assert len(script.sent) == 1
    with pytest.raises(BadKeyError):
        store.read("/", max_bytes=10)
    with pytest.raises(StoreUnavailableError):
        store.read("k", max_bytes=10)


@pytest.mark.parametrize(("connections", "begun"), [(0, 0), (3, 3), (10, 6)])
def test_looks_ahead_are_as_many_as_connections_can_be_had(script: Script, store: MinioStore, connections: int, begun: int) -> None:
    """A store that is away, or that bounds the connections, is no reason to fail: each look is sent later."""
    script.connections = connections
    keys = list("abcdef")

    assert store.look_ahead(keys) == begun
    assert [(method, target) for method, target, *_ in script.sent] == [("HEAD", f"/bucket/{key}") for key in keys[:begun]]
    for key in keys[:begun]:
        script.then(200, **{name.replace("-", "_"): value for name, value in OBJECT.items()})
        assert store.stat(key).key == key
    assert len(script.sent) == begun


def test_looks_ahead_try_a_store_that_is_away_once(script: Script, store: MinioStore) -> None:
    """Each connection that is not answered takes up to the time-out."""
    script.unreachable = True

    assert store.look_ahead(["a", "b", "c"]) == 0
    assert len(script.sent) == 1


@pytest.mark.parametrize("attributes", [False, True])
def test_look_takes_no_answer_to_one_of_the_other_kind(script: Script, store: MinioStore, *, attributes: bool) -> None:
    """A look for attributes asks for more."""
    script.answers += [Answer(status=200, headers=OBJECT, body=b"", sent_at=0, received_at=0)] * 2
    store.look_ahead(["k"], attributes=attributes)
    (store.stat if attributes else store.head)("k")

    assert len(script.sent) == 2


@pytest.mark.parametrize(("waited", "left"), [(0, 10.0), (4, 6.0), (9.5, 1.0), (60, 1.0)])
def test_answer_to_a_write_that_was_begun_has_the_time_that_the_write_has(
    script: Script, clock: ManualClock, store: MinioStore, waited: float, left: float
) -> None:
    """From its sending on; an answer that is there already is read however long it has waited for us."""
    writing = store.begin_put("k", b"abc", ObjectAttributes(), condition=IfAbsent(), deadline=FixedDeadline(60.0))
    script.then(200, etag='"e"')
    clock.advance(waited)
    taken: list[float] = []
    send = script.send

    def answer(*values: object, timeout: float, **more: object) -> Answer:
        taken.append(timeout)
        return send(*values, timeout=timeout, **more)  # type: ignore[arg-type]

    script.send = answer  # type: ignore[method-assign, assignment]

    assert writing.result().etag == "e"
    assert (script.sent[0][0], script.sent[0][3], script.sent[0][4]) == ("PUT", b"abc", 10.0)
    assert taken == [left]


def test_write_that_was_begun_and_gets_no_answer_may_have_been_carried_out(script: Script, store: MinioStore) -> None:
    """Unlike a read's (S7)."""
    writing = store.begin_put("k", b"abc", ObjectAttributes(), condition=IfAbsent(), deadline=FixedDeadline(60.0))
    script.answers.append(UnansweredError("reset"))

    with pytest.raises(UnansweredError):
        writing.result()


@pytest.mark.parametrize(("again", "sent"), [(["a", "b", "c"], "abc"), (["b", "c"], "abc"), (["c", "a"], "abc"), (["a"], "ab")])
def test_read_that_was_sent_ahead_is_not_sent_again(script: Script, store: MinioStore, again: list[str], sent: str) -> None:
    """Named once more with those that follow, it is kept; the others are dropped."""
    assert store.read_ahead(["a", "b"]) == 2
    assert store.read_ahead(again) == len(again)

    assert "".join(target[-1] for _, target, *_ in script.sent) == sent


def test_copy_names_its_source_once_encoded_and_its_version(script: Script, store: MinioStore) -> None:
    """The source is encoded like a target, and must have the ETag that was seen (CASES 3)."""
    script.then(200, "<CopyObjectResult><LastModified>2026-11-25T02:51:03.9Z</LastModified><ETag>&#34;e1&#34;</ETag></CopyObjectResult>")
    copied = store.copy(
        ObjectInfo(key="a+b%20é", etag="e1", size=3, last_modified=1), "new", condition=IfMatch("e0"), deadline=FixedDeadline()
    )

    assert script.sent[0][2] == {
        "x-amz-copy-source": "/bucket/a%2Bb%2520%C3%A9",
        "x-amz-copy-source-if-match": '"e1"',
        "if-match": '"e0"',
    }
    assert copied == ObjectInfo(key="new", etag="e1", size=3, last_modified=1795575063)


@pytest.mark.parametrize(
    ("status", "body", "expected"),
    [
        (200, "<Error><Code>InternalError</Code><Message>failed</Message></Error>", StoreRequestError),
        (200, " \n <?xml version='1.0'?><Error><Code>SlowDown</Code></Error>", StoreUnavailableError),
        (200, "<CopyObjectResult></CopyObjectResult>", ProofError),
        (200, "", ProofError),
        (200, "<html/>", ProofError),
        (404, "<Error><Code>NoSuchKey</Code></Error>", MissingObjectError),
        (412, "<Error><Code>PreconditionFailed</Code></Error>", ConditionFailedError),
        (403, "<Error><Code>AccessDenied</Code></Error>", DeniedError),
        (504, "<html/>", UnansweredError),
    ],
)
def test_copy_counts_only_with_its_proof(script: Script, store: MinioStore, status: int, body: str, expected: type[Exception]) -> None:
    """Status 200 with an error inside, without an ETag or with a strange body is no success (CASES 8)."""
    script.then(status, body)

    with pytest.raises(expected):
        store.copy(SOURCE, "new", condition=None, deadline=FixedDeadline())


@pytest.mark.parametrize(("condition", "expected"), [(None, "old key"), (IfAbsent(), "new"), (IfMatch("e"), "new")])
def test_failed_condition_of_a_copy_names_the_key_it_may_concern(
    script: Script, store: MinioStore, condition: IfAbsent | IfMatch | None, expected: str
) -> None:
    """Without a condition on the target it was the source's."""
    script.then(412, "<Error><Code>PreconditionFailed</Code></Error>")

    with pytest.raises(ConditionFailedError) as refusal:
        store.copy(SOURCE, "new", condition=condition, deadline=FixedDeadline())
    assert refusal.value.object_key == expected


def test_put_counts_only_with_an_etag(script: Script, store: MinioStore) -> None:
    """A gateway that says 200 and nothing else has proved nothing."""
    script.then(200)

    with pytest.raises(ProofError):
        store.put("k", b"", NOTHING, condition=None, deadline=FixedDeadline())


def test_put_over_a_missing_object_fails_its_condition(script: Script, store: MinioStore) -> None:
    """S3 answers 404 to If-Match where nothing is."""
    script.then(404, "<Error><Code>NoSuchKey</Code></Error>")

    with pytest.raises(ConditionFailedError):
        store.put("k", b"", NOTHING, condition=IfMatch("e"), deadline=FixedDeadline())


def test_put_time_is_an_upper_bound(script: Script, store: MinioStore, clock: ManualClock) -> None:
    """The object was written no later than the answer was dated, or a second after: some servers make their Date once a second."""
    clock.advance(2)
    script.then(200, etag='"e"', x_amz_version_id="v7")

    assert store.put("k", b"abc", NOTHING, condition=None, deadline=FixedDeadline()) == ObjectInfo(
        key="k", etag="e", size=3, last_modified=1003 + STORE_OFFSET, version_id="v7"
    )


def test_put_of_a_held_object_sends_its_checksum(script: Script, store: MinioStore) -> None:
    """S3 asks for Content-MD5 where retention is set."""
    script.then(200, etag='"e"')
    store.put("k", b"", ObjectAttributes(headers={"x-amz-object-lock-legal-hold": "ON"}), condition=None, deadline=FixedDeadline())

    assert script.sent[0][2]["content-md5"] == "1B2M2Y8AsgTpgAmY7PhCfg=="


def test_snowball_of_which_something_else_arrived_counts_as_unanswered(script: Script, store: MinioStore) -> None:
    """Names and headers in a tar file have no check of their own; the answer's ETag is the MD5 of the whole as it arrived."""
    packed = [Packed("a/1", b"x", {"content-type": "a/b"}), Packed("a/2", b"y", {})]
    tar = pack(packed)
    script.then(200, etag=f'"{md5(tar, usedforsecurity=False).hexdigest()}"')
    script.then(200, etag=f'"{md5(tar.replace(b"a/2", b"a/3"), usedforsecurity=False).hexdigest()}"')

    written = store.put_snowball("s.tar", packed, deadline=FixedDeadline())
    assert [info.key for info in written] == ["a/1", "a/2"]
    with pytest.raises(UnansweredError, match="did not arrive as it was sent"):
        store.put_snowball("s.tar", packed, deadline=FixedDeadline())


def test_write_dated_too_late_is_expired_not_denied(script: Script, store: MinioStore) -> None:
    """A 403 after the signature's end parks nothing (M2)."""
    script.then(403, "<Error><Code>AccessDenied</Code></Error>")
    script.skew = 10

    with pytest.raises(ExpiredRequestError):
        store.put("k", b"", NOTHING, condition=None, deadline=FixedDeadline(5))


def test_read_refused_for_a_clock_that_was_set_is_no_denial(script: Script, store: MinioStore) -> None:
    """A HEAD's 403 has no body; the Date tells that the signature's was an hour off (CASES 20). The next one is dated rightly."""
    script.skew = 3600
    script.then(403)
    with pytest.raises(StoreUnavailableError):
        store.stat("k")
    script.then(403)
    script.then(200, **OBJECT)
    store.stat("k")

    assert script.sent[-1][2]["x-amz-date"] == "20261118T122320Z"


@pytest.mark.parametrize(
    ("status", "body", "expected"),
    [
        (400, "<Error><Code>InvalidRequest</Code><Message>Server Side Encryption</Message></Error>", EncryptedError),
        (400, "<Error><Code>ExpiredToken</Code></Error>", StoreUnavailableError),
        (403, "<Error><Code>AccessDenied</Code></Error>", DeniedError),
        (206, "x", StoreRequestError),
    ],
)
def test_bad_request_to_a_head_is_explained_by_a_get(
    script: Script, store: MinioStore, status: int, body: str, expected: type[Exception]
) -> None:
    """A HEAD's 400 may mean SSE-C or an expired token; one byte's GET says which, so that a token's end parks nothing."""
    script.then(400)
    script.then(status, body)

    with pytest.raises(expected):
        store.stat("k")
    assert (script.sent[1][0], script.sent[1][2]["range"]) == ("GET", "bytes=0-0")


@pytest.mark.parametrize("missing", ["etag", "content-length", "last-modified"])
def test_answer_that_does_not_describe_the_object_is_refused(script: Script, store: MinioStore, missing: str) -> None:
    """A version without ETag, size or time cannot be recognised again."""
    script.then(200, **{name.replace("-", "_"): value for name, value in OBJECT.items() if name != missing})

    with pytest.raises(StoreRequestError):
        store.stat("k")


def test_null_version_identifies_nothing(script: Script, store: MinioStore) -> None:
    """In a suspended bucket every write has the version id "null" (H7)."""
    script.then(200, **OBJECT, x_amz_version_id="null")

    assert store.stat("k").version_id is None


def test_attributes_are_what_readers_see(script: Script, store: MinioStore) -> None:
    """Standard headers, metadata, storage class, encryption and holds are carried on; what belongs to the answer is not."""
    carried = {
        "content-type": "image/png",
        "cache-control": "max-age=5",
        "content-encoding": "gzip",
        "content-disposition": "inline",
        "content-language": "de",
        "expires": "Thu, 01 Jan 2099 00:00:00 GMT",
        "x-amz-meta-a": "gr\xc3\xbc",
        "x-amz-website-redirect-location": "/y",
        "x-amz-server-side-encryption": "aws:kms",
        "x-amz-server-side-encryption-aws-kms-key-id": "k",
        "x-amz-storage-class": "STANDARD_IA",
        "x-amz-object-lock-mode": "GOVERNANCE",
        "x-amz-object-lock-retain-until-date": "2099-01-01T00:00:00Z",
        "x-amz-object-lock-legal-hold": "ON",
    }
    script.answers.append(
        Answer(status=200, headers=OBJECT | carried | {"server": "s", "x-amz-tagging-count": "2"}, body=b"abc", sent_at=0, received_at=0)
    )

    read = store.read("k", max_bytes=10)

    assert read.attributes == ObjectAttributes(headers=carried, tag_count=2)
    assert read.body == b"abc"


def test_attributes_leave_out_what_a_write_would_be_refused_for(script: Script, store: MinioStore) -> None:
    """The standard class goes without saying, and a retention that has ended cannot be set again."""
    ended = {"x-amz-object-lock-mode": "GOVERNANCE", "x-amz-object-lock-retain-until-date": "2020-01-01T00:00:00Z"}
    plain = {"x-amz-storage-class": "STANDARD", "x-amz-object-lock-legal-hold": "OFF"}
    script.answers.append(Answer(status=200, headers=OBJECT | ended | plain, body=b"abc", sent_at=0, received_at=0))

    assert store.read("k", max_bytes=10).attributes == ObjectAttributes()


def _info(key: str) -> ObjectInfo:
    return ObjectInfo(key=key, etag="e-" + key, size=1, last_modified=1)


def _delete_result(deleted: list[str], errors: Mapping[str, str]) -> str:
    done = "".join(f"<Deleted><Key>{key}</Key></Deleted>" for key in deleted)
    refused = "".join(f"<Error><Key>{key}</Key><Code>{code}</Code></Error>" for key, code in errors.items())
    return f"<DeleteResult>{done}{refused}</DeleteResult>"


def test_delete_reads_the_result_of_each_key(script: Script, store: MinioStore) -> None:
    """One request, a result a key; a key that the answer does not name is not deleted."""
    codes = {"c": "AccessDenied", "d": "PreconditionFailed", "e": "NoSuchKey", "f": "ObjectLocked", "g": "InternalError"}
    script.then(200, _delete_result(["a"], codes))

    results = store.delete([_info(key) for key in "abcdefg"], deadline=FixedDeadline())

    assert {key: type(error) for key, error in results.items()} == {
        "a": type(None),
        "b": StoreRequestError,
        "c": DeniedError,
        "d": ConditionFailedError,
        "e": type(None),
        "f": LockedError,
        "g": StoreRequestError,
    }
    assert len(script.sent) == 1


@pytest.mark.parametrize(("honoured", "expected"), [(True, True), (False, False)])
def test_delete_sends_etags_only_where_they_are_honoured(script: Script, store: MinioStore, *, honoured: bool, expected: bool) -> None:
    """On other stores the condition would only look like one."""
    store.capabilities = (InMemoryStore.conditional() if honoured else InMemoryStore.like_minio()).capabilities
    script.then(200, _delete_result(["a"], {}))
    script.then(204)
    store.delete([_info("a"), _info("x\r")], deadline=FixedDeadline())

    assert (b"<ETag>" in script.sent[0][3]) is expected
    assert ("if-match" in script.sent[1][2]) is expected


def test_delete_of_keys_that_xml_changes_goes_one_by_one(script: Script, store: MinioStore) -> None:
    """A carriage return in XML would name the neighbour with a line feed (CASES 7); folded names would not be found in the answer (M6)."""
    odd = ["x\ry.png", "\x10", "/a", "a//b", "a\\b", "folder/", " a"]
    script.then(200, _delete_result(["a&amp;b"], {}))
    for _ in odd:
        script.then(204)

    results = store.delete([_info("a&b"), *map(_info, odd)], deadline=FixedDeadline())

    assert results == dict.fromkeys(["a&b", *odd])
    assert [method for method, *_ in script.sent] == ["POST"] + ["DELETE"] * len(odd)
    assert [urlsplit(target).path for _, target, *_ in script.sent[1:3]] == ["/bucket/x%0Dy.png", "/bucket/%10"]
    assert b"x" not in script.sent[0][3].partition(b"<Object>")[2]


def test_delete_of_single_keys_ends_when_its_caller_says_so(script: Script, store: MinioStore) -> None:
    """Each of those requests is signed only if the looks behind it are still new enough, and nobody has stopped the deletes (S4)."""
    script.then(200, _delete_result(["a"], {}))
    script.then(204)
    told = iter([True, True, False])

    results = store.delete([_info("a"), _info("b//1"), _info("b//2"), _info("b//3")], deadline=FixedDeadline(), still=lambda: next(told))

    assert results == {"a": None, "b//1": None}
    assert [method for method, *_ in script.sent] == ["POST", "DELETE"]


def test_delete_of_keys_that_no_request_can_name_is_refused_key_by_key(script: Script, store: MinioStore) -> None:
    """A lone surrogate, or a key that would address the bucket itself, is never sent."""
    results = store.delete([_info("a\ud800"), _info(""), _info("//")], deadline=FixedDeadline())

    assert {type(error) for error in results.values()} == {BadKeyError}
    assert script.sent == []


def test_delete_that_came_too_late_is_expired(script: Script, store: MinioStore) -> None:
    """MinIO says so by 200 with AccessDenied for each key (M2)."""
    script.then(200, _delete_result([], {"a": "AccessDenied"}))
    script.skew = 10

    with pytest.raises(ExpiredRequestError):
        store.delete([_info("a")], deadline=FixedDeadline(5))


def test_delete_that_expired_half_way_is_unanswered(script: Script, store: MinioStore) -> None:
    """Some keys are gone, so "not carried out" would be a lie."""
    script.then(200, _delete_result(["a"], {"b": "AccessDenied"}))
    script.skew = 10

    with pytest.raises(UnansweredError):
        store.delete([_info("a"), _info("b")], deadline=FixedDeadline(5))


def test_delete_throttled_as_a_whole_is_unavailable(script: Script, store: MinioStore) -> None:
    """Keys that were all refused for now are no attempts."""
    script.then(200, _delete_result([], {"a": "SlowDown", "b": "SlowDown"}))

    with pytest.raises(StoreUnavailableError):
        store.delete([_info("a"), _info("b")], deadline=FixedDeadline())


def test_delete_throttled_half_way_is_unanswered(script: Script, store: MinioStore) -> None:
    """Some keys are gone and some are to be tried again: all are looked at anew."""
    script.then(200, _delete_result(["a"], {"b": "SlowDown"}))

    with pytest.raises(UnansweredError):
        store.delete([_info("a"), _info("b")], deadline=FixedDeadline())


def test_delete_whose_single_part_is_not_carried_out_is_unanswered(script: Script, store: MinioStore) -> None:
    """The keys in company are gone already when the single one is refused for now."""
    script.then(200, _delete_result(["a"], {}))
    script.then(503)

    with pytest.raises(UnansweredError):
        store.delete([_info("a"), _info("x\r")], deadline=FixedDeadline())


@pytest.mark.parametrize(
    ("status", "body"), [(403, "<Error><Code>AccessDenied</Code></Error>"), (200, "<Error><Code>AccessDenied</Code></Error>")]
)
def test_delete_denied_as_a_whole_is_denied_for_each_key(script: Script, store: MinioStore, status: int, body: str) -> None:
    """Each move gets its reason."""
    script.then(status, body)

    results = store.delete([_info("a"), _info("b")], deadline=FixedDeadline())

    assert {key: type(error) for key, error in results.items()} == {"a": DeniedError, "b": DeniedError}
    assert [error.object_key for error in results.values() if isinstance(error, ObjectError)] == ["a", "b"]


def test_delete_with_an_answer_that_is_none_is_unanswered(script: Script, store: MinioStore) -> None:
    """Who knows what was deleted."""
    script.then(200, "<html/>")

    with pytest.raises(UnansweredError):
        store.delete([_info("a")], deadline=FixedDeadline())


def test_abort_of_an_upload_that_is_gone_is_no_error(script: Script, store: MinioStore) -> None:
    """It may have been completed, aborted or cleaned up."""
    script.then(404, "<Error><Code>NoSuchUpload</Code></Error>")
    store.abort_upload("u", "k")

    assert _query(script.sent[0][1])["uploadId"] == "u"


@pytest.mark.parametrize("body", ["<Error><Code>InternalError</Code></Error>", "<CompleteMultipartUploadResult/>", "", "<html/>"])
def test_complete_counts_only_with_an_etag(script: Script, store: MinioStore, body: str) -> None:
    """Complete answers 200 before it knows; the body tells (CASES 8)."""
    script.then(200, body)

    with pytest.raises((StoreRequestError, ProofError)):
        store.complete_upload("u", "k", ["e"], condition=IfAbsent(), deadline=FixedDeadline())


def test_page_is_asked_from_start_after_and_never_continued(script: Script, store: MinioStore) -> None:
    """A continued listing is a snapshot on MinIO (M1)."""
    script.then(200, "<ListBucketResult></ListBucketResult>")
    store.list_page(prefix="a b/", start_after="a b/c", limit=7)

    assert _query(script.sent[0][1]) == {
        "delimiter": "/",
        "encoding-type": "url",
        "list-type": "2",
        "max-keys": "7",
        "prefix": "a b/",
        "start-after": "a b/c",
    }


@pytest.mark.parametrize("bucket", ["", "a", "a/b", "b?x", "../etc", "x" * 64, "-ab"])
def test_bucket_that_cannot_be_one_is_refused(bucket: str) -> None:
    """A bucket's name never changes which path is addressed."""
    with pytest.raises(UsageError):
        MinioStore(endpoint="http://h", access_key="a", secret_key="s", bucket=bucket)


def test_time_out_below_a_second_is_refused() -> None:
    """Signatures end in whole seconds."""
    with pytest.raises(UsageError):
        MinioStore(endpoint="http://h", access_key="a", secret_key="s", bucket="bucket", request_timeout=0.5)


def test_store_that_was_not_probed_has_no_capabilities() -> None:
    """Nothing is assumed."""
    store = MinioStore(endpoint="http://h", access_key="a", secret_key="very-secret", bucket="bucket")

    with pytest.raises(UsageError):
        _ = store.capabilities
    assert "very-secret" not in repr(store)
