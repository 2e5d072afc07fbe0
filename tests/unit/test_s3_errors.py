"""What the error answers of stores and proxies mean."""

from __future__ import annotations

import pytest

from app.errors import (
    ArchivedError,
    BadKeyError,
    ConditionFailedError,
    CredentialsError,
    DeniedError,
    EncryptedError,
    ExpiredRequestError,
    LockedError,
    MissingObjectError,
    RekeyError,
    StoreFullError,
    StoreRequestError,
    StoreUnavailableError,
    UnansweredError,
)
from app.s3_errors import answer_error, store_error
from app.s3_http import Answer

SSE_C = "The object was stored using a form of Server Side Encryption. The correct parameters must be provided to retrieve the object."


@pytest.mark.parametrize(
    ("status", "code", "message", "expected"),
    [
        (404, "NoSuchKey", "", MissingObjectError),
        (404, "NoSuchBucket", "", StoreRequestError),
        (404, "NoSuchUpload", "", StoreRequestError),
        (404, "", "", MissingObjectError),
        (403, "AccessDenied", "Access Denied.", DeniedError),
        (403, "SignatureDoesNotMatch", "", CredentialsError),
        (403, "SomethingElse", "", DeniedError),
        (403, "", "", DeniedError),
        (412, "PreconditionFailed", "", ConditionFailedError),
        (409, "ConditionalRequestConflict", "", ConditionFailedError),
        (412, "", "", ConditionFailedError),
        (409, "OperationAborted", "", StoreUnavailableError),
        (503, "SlowDown", "", StoreUnavailableError),
        (503, "SlowDownWrite", "", StoreUnavailableError),
        (503, "", "", StoreUnavailableError),
        (429, "TooManyRequests", "", StoreUnavailableError),
        (507, "XMinioStorageFull", "", StoreFullError),
        (500, "InternalError", "We encountered an internal error: cause(no space left on device)", StoreFullError),
        (507, "", "", StoreFullError),
        (400, "ExpiredToken", "", StoreUnavailableError),
        (403, "RequestTimeTooSkewed", "", StoreUnavailableError),
        (403, "RequestNotReadyYet", "", StoreUnavailableError),
        (502, "", "", UnansweredError),
        (504, "", "", UnansweredError),
        (408, "", "", UnansweredError),
        (403, "InvalidObjectState", "", ArchivedError),
        (400, "InvalidRequest", "Object is WORM protected and cannot be overwritten", LockedError),
        (403, "AccessDenied", "Access Denied because object protected by object lock.", LockedError),
        (400, "InvalidRequest", SSE_C, EncryptedError),
        (400, "InvalidArgument", "Requests specifying Server Side Encryption with Customer provided keys ...", EncryptedError),
        (400, "KeyTooLongError", "", BadKeyError),
        (400, "XMinioInvalidObjectName", "", BadKeyError),
        (400, "XMinioInvalidResourceName", "", BadKeyError),
        (500, "InternalError", "", StoreRequestError),
        (501, "NotImplemented", "", StoreRequestError),
        (400, "InvalidRequest", "", StoreRequestError),
        (0, "InternalError", "", StoreRequestError),
        (0, "AccessDenied", "", DeniedError),
    ],
)
def test_answer_means(status: int, code: str, message: str, expected: type[RekeyError]) -> None:
    """Each known answer is the error that the stages act on; everything else counts as an attempt."""
    assert expected is type(store_error("k", status=status, code=code, message=message))


@pytest.mark.parametrize("key", ["x" * 256, "বাংলা" * 20, "a/../b", "a//b", "x/" * 600 + "x"])
@pytest.mark.parametrize(("status", "code"), [(500, "InternalError"), (400, "InvalidRequest"), (400, "")])
def test_vague_refusal_of_an_odd_key_is_a_bad_key(key: str, status: int, code: str) -> None:
    """Some versions answer 500 to a name that is too long: a permanent error, whatever it is dressed as (CASES 6)."""
    assert type(store_error(key, status=status, code=code, message="")) is BadKeyError


def _answer(status: int, body: bytes = b"", **headers: str) -> Answer:
    return Answer(
        status=status, headers={name.replace("_", "-"): value for name, value in headers.items()}, body=body, sent_at=0, received_at=0
    )


def test_denial_after_the_end_of_the_signature_is_an_expiry() -> None:
    """A 403 dated at or after the signature's end says only that the request came too late (H2)."""
    denied = _answer(403, b"<Error><Code>AccessDenied</Code><Message>Access Denied.</Message></Error>")

    assert type(answer_error(denied, "k", expires_at=100, now=99)) is DeniedError
    assert type(answer_error(denied, "k", expires_at=100, now=100)) is ExpiredRequestError
    assert type(answer_error(denied, "k", expires_at=None, now=100)) is DeniedError


def test_denial_that_speaks_of_expiry_is_an_expiry() -> None:
    """MinIO and AWS say so in words."""
    answer = _answer(403, b"<Error><Code>AccessDenied</Code><Message>Request has expired</Message></Error>")

    assert type(answer_error(answer, "k", expires_at=100, now=None)) is ExpiredRequestError


def test_code_of_a_head_is_taken_from_minio_headers() -> None:
    """A HEAD has no body; MinIO names the code in a header."""
    answer = _answer(404, x_minio_error_code="NoSuchBucket", x_minio_error_desc='"The specified bucket does not exist"')

    error = answer_error(answer, "k")

    assert type(error) is StoreRequestError
    assert "bucket does not exist" in str(error)


@pytest.mark.parametrize("body", [b"<html><body>503</body></html>", b"<Error><Code>", b"\xff\xfe", b""])
def test_body_that_is_no_error_document_leaves_the_status(body: bytes) -> None:
    """A proxy's page is judged by its status."""
    assert type(answer_error(_answer(503, body), "k")) is StoreUnavailableError


def test_text_of_a_store_is_cleaned() -> None:
    """What goes into the ledger is one bounded line without control characters (H28)."""
    text = store_error("k", status=500, code="Bad\x00Code", message="line\nbreak" + "x" * 5000).args[1]

    assert text.startswith("Bad Code: line break")
    assert text.isprintable()
    assert len(text) <= 300
