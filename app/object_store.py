"""The port to the object store: what the protocol needs of S3, one method a request.

``app.minio_store`` is the real one, ``app.testing`` the in-memory one; ``tests/contract`` holds both to the same promises.
Times are the store's own, in whole UTC seconds (a HEAD gives no more). Every method may raise the TransientErrors of ``app.errors``:
StoreUnavailableError (not carried out), UnansweredError (perhaps carried out), ExpiredRequestError and LeaseLostError (not carried out).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, Self

from app.errors import ObjectError
from app.gauge import Reading

MAX_LISTED = 1000  # keys a ListObjectsV2 page (S3)
MAX_DELETED = 1000  # keys a DeleteObjects request (S3)
MAX_PARTS = 10_000  # parts of a multipart upload (S3)
ARCHIVES = frozenset({"GLACIER", "DEEP_ARCHIVE"})  # classes whose bytes cannot be read; GLACIER_IR can, INTELLIGENT_TIERING tells by a GET
MIN_PART_BYTES = 5 * 1024**2  # of each part but the last (S3)
METADATA = ("x-amz-meta-", "x-minio-meta-")  # what user metadata begins with; the latter MinIO keeps and shows as well
UNPACKED = "x-amz-meta-snowball-auto-extract"  # a PUT that says so is taken for a tar file and taken apart (MinIO), conditions or not
PACKED_HEADERS = frozenset({"content-type", "content-encoding", "content-disposition", "content-language", "cache-control", "expires"})
MAX_SINGLE_COPY_BYTES = 5 * 1024**3  # above this CopyObject is refused (S3)


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectInfo:
    """One version of one object as the store described it."""

    key: str
    etag: str  # without quotes
    size: int  # bytes
    last_modified: int  # UTC seconds by the store's clock
    version_id: str | None = None
    storage_class: str | None = field(default=None, compare=False)  # None: not told, or an archived object is restored

    def is_same_version(self, other: ObjectInfo) -> bool:
        """Whether both describe the same version: version ids where both have one, else ETag, size and time (H21, M7)."""
        if self.version_id is not None and other.version_id is not None:
            return self.version_id == other.version_id
        return (self.etag, self.size, self.last_modified) == (other.etag, other.size, other.last_modified)


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectAttributes:
    """What an object has besides its bytes; all headers are ready to be sent with a write (lower-case names).

    ``checksums`` (x-amz-checksum-...) follow from the bytes and say nothing of the object, so that they make no two objects unlike.
    """

    headers: Mapping[str, str] = field(default_factory=dict)
    tag_count: int = 0
    checksums: Mapping[str, str] = field(default_factory=dict, compare=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadObject:
    """The answer to a GET: ``body`` is None where the object is larger than the limit given."""

    info: ObjectInfo
    attributes: ObjectAttributes
    body: bytes | None


@dataclass(frozen=True, slots=True)
class Packed:
    """An object of a snowball. *headers*: those that each object may have in one (``PACKED_HEADERS`` and ``METADATA``), in ASCII."""

    key: str
    body: bytes
    headers: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class ListedPage:
    """One page of a listing: ``objects`` in the store's order; ``truncated``: keys after the last entry may exist.

    ``last`` is the greatest key or common prefix that the page covers (None on an empty page). With a delimiter, keys below a deeper
    "folder" are not in ``objects``.
    """

    objects: Sequence[ObjectInfo]
    truncated: bool
    last: str | None

    @property
    def last_object(self) -> str | None:
        """The key of the last object shown."""
        return self.objects[-1].key if self.objects else None


@dataclass(frozen=True, slots=True)
class IfAbsent:
    """Write only if no object has the key (If-None-Match: *)."""


@dataclass(frozen=True, slots=True)
class IfMatch:
    """Write only over the object with this ETag (If-Match)."""

    etag: str


Condition = IfAbsent | IfMatch


@dataclass(frozen=True, slots=True, kw_only=True)
class Capabilities:
    """What an endpoint was *seen* to honour (probed with throw-away objects, never assumed from its name)."""

    put_if_absent: bool  # PUT If-None-Match: * is refused when the key is taken
    put_if_match: bool
    copy_if_absent: bool  # CopyObject If-None-Match: * (MinIO ignores it)
    copy_if_match: bool  # CopyObject If-Match on the target
    copy_source_if_match: bool
    complete_if_absent: bool  # CompleteMultipartUpload If-None-Match: *
    complete_if_match: bool
    delete_if_match: bool  # <ETag> in DeleteObjects (MinIO ignores it and deletes)
    query_signed_expiry: bool  # M2: a write signed in the query is refused after its X-Amz-Expires
    ordered_listing: bool  # start-after pages come in byte order and are complete (H3)
    folds_leading_slash: bool  # "/x" is the object "x"
    folds_double_slash: bool  # "a//b" is the object "a/b"
    folds_backslash: bool  # "a\b" is the object "a/b"
    folds_case: bool  # "A" is the object "a"
    versioning: bool  # a DELETE without a version id leaves a marker
    folds_dots: bool = False  # "a/./b" and "a/x/../b" are the object "a/b"
    folds_unicode: bool = False  # an accent written as one letter or as two is the same object
    ordered_folders: bool = False  # so come those of one folder's own objects, up to the last one shown (SeaweedFS, by folders)
    lists_below_objects: bool = False  # a listing shows "a/b" also where "a" is an object (MinIO's does not)
    pins_version: bool = False  # a copy can be of one version by its id (S3 asks for the right to s3:GetObjectVersion)
    guesses_type: bool = False  # the content type of an object that was given none is guessed from its key (SeaweedFS)
    takes_snowballs: bool = False  # a PUT of a tar file becomes the objects in it (MinIO's auto-extract)
    fidelity: Mapping[str, Mapping[str, str]] = field(default_factory=dict)  # way of copying -> attribute -> fate (app.fidelity)

    @property
    def lists_folders(self) -> bool:
        """Whether a page of one folder can stand for HEADs of the keys that it covers."""
        return (self.ordered_listing or self.ordered_folders) and not self.folds_case

    @property
    def ignored_conditions(self) -> list[str]:
        """Those of the worker's writes that are not honoured: a copy may have to go by PUT or parts, whatever CopyObject honours."""
        honoured = {
            "PUT If-None-Match": self.put_if_absent,
            "PUT If-Match": self.put_if_match,
            "If-None-Match on CompleteMultipartUpload": self.complete_if_absent,
            "If-Match on CompleteMultipartUpload": self.complete_if_match,
        }
        return [name for name, is_honoured in honoured.items() if not is_honoured]

    @property
    def puts_back_safely(self) -> bool:
        """Whether no write by the worker to a free key goes over an object that has come there meanwhile."""
        return self.put_if_absent and self.complete_if_absent

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> Self:
        """From the record of a run, which an older or a newer program may have made."""
        return cls(**{name: record[name] for name in cls.__slots__ if name in record})


class Deadline(Protocol):
    """The end of a lease as seen by whoever sends requests under it."""

    def remaining(self) -> float:
        """Seconds until the lease ends by the boot clock; zero or less once it is over."""


@dataclass(frozen=True, slots=True)
class PageAsked:
    """One page of a listing: up to *limit* of the objects under *prefix* from *start_after* on, *delimiter* ending folders."""

    prefix: str
    start_after: str
    delimiter: str = "/"
    limit: int = MAX_LISTED


@dataclass(frozen=True, slots=True)
class Seconds:
    """A deadline that is always as far away, for requests that no lease covers."""

    seconds: float

    def remaining(self) -> float:
        """The seconds given."""
        return self.seconds


class Writing(Protocol):
    """A write that was sent, and may be carried out from now on; its answer is taken once."""

    def result(self) -> ObjectInfo:
        """The version written. Raises what ``put`` or ``copy`` does."""


class ObjectStore(Protocol):
    """One bucket. All writes carry a deadline: they are signed so that the store refuses them after min(request time-out, deadline)."""

    @property
    def capabilities(self) -> Capabilities:
        """What this endpoint honours."""

    def reading(self) -> Reading:
        """How the endpoint has answered so far: requests, the time that they took, requests to slow down."""

    def store_time(self) -> int:
        """UTC seconds by the store's clock, never ahead of it (from the Date headers of its answers; asks once if there is none yet)."""

    def stat(self, key: str) -> ObjectInfo:
        """HEAD. Raises MissingObjectError, DeniedError, EncryptedError, BadKeyError."""

    def head(self, key: str) -> ReadObject:
        """HEAD, with the attributes that a write can carry on; there is no body. Raises as ``stat``."""

    def look_ahead(self, keys: Sequence[str], *, attributes: bool = False) -> int:
        """A hint: this thread's next ``stat`` (with *attributes*: ``head``) of the first of *keys* may give what is there from now on.

        None of those that were named before is asked for after all. Gives how many of *keys* are asked for at once now.
        """

    def list_page(self, *, prefix: str, start_after: str, delimiter: str = "/", limit: int = MAX_LISTED) -> ListedPage:
        """One ListObjectsV2 request from *start_after* (never a continuation token: M1)."""

    def list_ahead(self, pages: Sequence[PageAsked]) -> int:
        """A hint: this thread's next ``list_page`` of the first of *pages* may give what is there from now on.

        None of those that were named before is listed after all. Gives how many of *pages* are asked for at once now.
        """

    def read_ahead(self, keys: Sequence[str]) -> int:
        """A hint: this thread's next ``read`` of the first of *keys* may give what is there since it was first named.

        Nothing else that was named before is read after all. Gives how many of *keys* are asked for by now.
        """

    def read(self, key: str, *, max_bytes: int, admit: Callable[[int], None] = lambda _bytes: None) -> ReadObject:
        """GET with all attributes that a write can carry on. Raises as ``stat``, and ArchivedError.

        *admit* is called with the body's size before the body is read; it may wait until there is room in memory.
        """

    def read_range(self, info: ObjectInfo, *, first: int, last: int, admit: Callable[[int], None] = lambda _bytes: None) -> bytes:
        """GET of bytes *first* to *last* (inclusive) of exactly *info*. Raises ConditionFailedError, ProofError and as ``read``."""

    def is_public(self, key: str) -> bool:
        """Whether a HEAD without credentials finds the object: what a browser with a plain link gets."""

    def tags(self, key: str) -> str:
        """The object's tags, URL-encoded as the x-amz-tagging header takes them."""

    def part_size(self, info: ObjectInfo, number: int) -> int | None:
        """Bytes of one part of exactly *info*, as it was uploaded (HEAD with partNumber); None where the store does not tell."""

    def acl(self, key: str) -> Mapping[str, str]:
        """Who besides its owner may do what with the object, as the headers that give a write the same ACL; empty: nobody."""

    def put(self, key: str, body: bytes, attributes: ObjectAttributes, *, condition: Condition | None, deadline: Deadline) -> ObjectInfo:
        """PUT. The ``last_modified`` returned is an upper bound (the answer's Date, and a second). Raises ConditionFailedError."""

    def copy(
        self, source: ObjectInfo, key: str, *, condition: Condition | None, deadline: Deadline, headers: Mapping[str, str] | None = None
    ) -> ObjectInfo:
        """CopyObject of exactly *source* (If-Match on the source, and its version id where that is honoured).

        *headers*: what the store does not take over by itself (storage class, encryption, ACL, locks); metadata and tags come along.
        Raises ConditionFailedError for either condition, MissingObjectError.
        """

    def begin_put(self, key: str, body: bytes, attributes: ObjectAttributes, *, condition: Condition | None, deadline: Deadline) -> Writing:
        """``put``, whose answer is taken later. Raises only what keeps the request from being sent, and UnansweredError."""

    def begin_copy(
        self, source: ObjectInfo, key: str, *, condition: Condition | None, deadline: Deadline, headers: Mapping[str, str] | None = None
    ) -> Writing:
        """``copy``, whose answer is taken later. Raises as ``begin_put``."""

    def put_snowball(self, name: str, objects: Sequence[Packed], *, deadline: Deadline) -> Sequence[ObjectInfo]:
        """One PUT, under the key *name*, of a tar file whose members become *objects*, over whatever is there: all, or it raises.

        Where it raises UnansweredError, some may have been written, and some still be: also where the store has refused it.
        The ETags are those of the bytes sent: the store tells none. Only where ``takes_snowballs`` was seen: another store keeps
        the tar file as an object.
        """

    def create_upload(self, key: str, attributes: ObjectAttributes, *, deadline: Deadline) -> str:
        """Start a multipart upload and give its id."""

    def copy_part(self, upload_id: str, key: str, number: int, source: ObjectInfo, *, first: int, last: int, deadline: Deadline) -> str:
        """UploadPartCopy of bytes *first* to *last* (inclusive) of exactly *source*; gives the part's ETag."""

    def put_part(self, upload_id: str, key: str, number: int, body: bytes, *, deadline: Deadline) -> str:
        """UploadPart; gives the part's ETag (an empty object has no byte range to copy)."""

    def complete_upload(self, upload_id: str, key: str, etags: Sequence[str], *, condition: Condition | None, deadline: Deadline) -> str:
        """CompleteMultipartUpload; gives the object's ETag. Raises ConditionFailedError (the upload is then still there)."""

    def abort_upload(self, upload_id: str, key: str) -> None:
        """Give up a multipart upload; one that is gone already is no error."""

    def delete(
        self, objects: Sequence[ObjectInfo], *, deadline: Deadline, still: Callable[[], bool] = lambda: True
    ) -> Mapping[str, ObjectError | None]:
        """DeleteObjects (keys that XML cannot carry: singly), never by version id; conditional on the ETag where the store honours that.

        *still*: asked before each request is signed; once it says no, none is sent any more, and the keys left are in no answer.

        Returns for each key None (deleted, or was absent) or what the store said (ConditionFailedError, LockedError, DeniedError ...).
        An UnansweredError leaves all keys unknown.
        """
