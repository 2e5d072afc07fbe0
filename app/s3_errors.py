"""What the error answers of S3 and its relatives mean, as the errors of this product."""

from __future__ import annotations

from typing import TYPE_CHECKING

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
    ProofError,
    RekeyError,
    StoreFullError,
    StoreRequestError,
    StoreUnavailableError,
    UnansweredError,
)
from app.s3_xml import read_error

if TYPE_CHECKING:
    from collections.abc import Mapping

    from app.s3_http import Answer

MAX_DETAIL = 300
NO_BUCKET = "the bucket does not exist"
MAX_SEGMENT_BYTES = 255  # MinIO and SeaweedFS keep a segment as a file name; some MinIO versions answer 500 to a longer one
MAX_KEY_BYTES = 1024

# Refused for now and not carried out: neither an attempt nor the asset's fault (CASES 17, 20, 23).
_NOT_NOW = frozenset(
    {
        "BandwidthLimitExceeded",
        "Busy",
        "ExpiredToken",
        "ExpiredTokenException",
        "OperationAborted",
        "RequestLimitExceeded",
        "RequestNotReadyYet",
        "RequestTimeTooSkewed",
        "RequestTimeout",
        "ServerBusy",
        "ServiceUnavailable",
        "SlowDown",
        "SlowDownRead",
        "SlowDownWrite",
        "Throttling",
        "ThrottlingException",
        "TokenRefreshRequired",
        "TooManyRequests",
        "XMinioServerNotInitialized",
    }
)
_FULL = frozenset({"InsufficientStorage", "QuotaExceeded", "XMinioAdminBucketQuotaExceeded", "XMinioStorageFull"})
_DENIED = frozenset({"AccessDenied", "AllAccessDisabled"})
_CREDENTIALS = frozenset(
    {"AccountProblem", "InvalidAccessKeyId", "InvalidClientTokenId", "InvalidToken", "NotSignedUp", "SignatureDoesNotMatch"}
)
_BAD_KEY = frozenset(
    {
        "DirectoryObjectContainsData",
        "ExistingObjectIsDirectory",
        "InvalidObjectName",
        "InvalidURI",
        "KeyTooLong",
        "KeyTooLongError",
        "ObjectParentIsFile",
        "XMinioObjectExistsAsDirectory",
        "XMinioParentIsObject",
    }
)
_BY_CODE: dict[str, type[RekeyError]] = {
    **dict.fromkeys(_NOT_NOW, StoreUnavailableError),
    **dict.fromkeys(_DENIED, DeniedError),
    **dict.fromkeys(_CREDENTIALS, CredentialsError),
    **dict.fromkeys(_BAD_KEY, BadKeyError),
    "NoSuchKey": MissingObjectError,
    "NoSuchVersion": MissingObjectError,
    "PreconditionFailed": ConditionFailedError,
    "ConditionalRequestConflict": ConditionFailedError,
    "InvalidObjectState": ArchivedError,
    "ObjectLocked": LockedError,
    "NoSuchBucket": StoreRequestError,
}
# For answers without a code (HEAD, proxies). 502 and 504 come from a proxy that may have passed the request on.
_BY_STATUS: dict[int, type[RekeyError]] = {
    403: DeniedError,
    404: MissingObjectError,
    408: UnansweredError,
    412: ConditionFailedError,
    414: BadKeyError,
    429: StoreUnavailableError,
    502: UnansweredError,
    503: StoreUnavailableError,
    504: UnansweredError,
    507: StoreFullError,
}


_TELLING = frozenset({403, 408, 412, 429, 502, 503, 504, 507})  # these mean the same whatever code comes with them


def store_error(key: str, *, status: int, code: str, message: str) -> RekeyError:
    """The error that an answer's status, code and message stand for; status 0 for one key's part of a larger answer."""
    detail = _clean(f"{code}: {message}" if code and message else code or message or f"status {status}")
    if code == "NoSuchBucket":
        detail = f"{NO_BUCKET} ({detail})"
    kind = _by_message(code, message) or _BY_CODE.get(code) or (BadKeyError if code.startswith("XMinioInvalid") else None)
    if kind is None and (not code or status in _TELLING):
        kind = _BY_STATUS.get(status)
    if kind in {None, StoreRequestError} and status in {400, 500} and _is_odd(key):
        kind = BadKeyError
    kind = kind or StoreRequestError
    return kind(key, detail) if kind in _OBJECT_ERRORS else kind(detail)


def answer_error(answer: Answer, key: str, *, expires_at: int | None = None, now: int | None = None) -> RekeyError:
    """The error that a whole answer stands for; *expires_at*: when its signature ended, *now*: the answer's own date."""
    code, message = read_error(answer.body or b"")
    code = code or answer.headers.get("x-minio-error-code", "")
    message = message or answer.headers.get("x-minio-error-desc", "").strip('"')
    if answer.status == 403 and has_expired(message, expires_at=expires_at, now=now):  # noqa: PLR2004
        return ExpiredRequestError(_clean(f"{code}: {message}"))
    return store_error(key, status=answer.status, code=code, message=message)


def has_expired(message: str, *, expires_at: int | None, now: int | None) -> bool:
    """Whether an AccessDenied only says that the query signature has ended (M2): by the store's own date, or in its words."""
    return "request has expired" in message.lower() or (expires_at is not None and now is not None and now >= expires_at)


def proof_missing(key: str, headers: Mapping[str, str]) -> ProofError:
    """The error for a success without an ETag: nothing says what was stored (CASES 8)."""
    return ProofError(key, f"the answer names no ETag (server: {_clean(headers.get('server', 'unknown'))})")


def _by_message(code: str, message: str) -> type[RekeyError] | None:
    """Where one code has several meanings, the message decides."""
    text = message.lower()
    if "worm protected" in text or "object lock" in text or "legal hold" in text:
        return LockedError
    if code in _FULL or "no space left on device" in text:  # MinIO says so in an InternalError, where the disk fills up while it writes
        return StoreFullError
    if code in {"InvalidRequest", "InvalidArgument", "BadRequest", ""} and "encryption" in text:
        return EncryptedError
    return None


def _is_odd(key: str) -> bool:
    """Whether stores that keep keys as file names are known to refuse such a key, in whatever words."""
    data = key.encode("utf-8", "replace")
    return len(data) > MAX_KEY_BYTES or any(len(part) > MAX_SEGMENT_BYTES or part in {b"", b".", b".."} for part in data.split(b"/"))


def _clean(text: str) -> str:
    """One line without control characters, of bounded length (H28: it goes into the ledger)."""
    return "".join([char if char.isprintable() else " " for char in text[:MAX_DETAIL]]).strip()


_OBJECT_ERRORS = frozenset(
    {
        ArchivedError,
        BadKeyError,
        ConditionFailedError,
        CredentialsError,
        DeniedError,
        EncryptedError,
        LockedError,
        MissingObjectError,
        StoreRequestError,
    }
)
