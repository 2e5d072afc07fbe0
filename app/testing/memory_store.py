"""An object store in memory that keeps every promise of the port, with S3's semantics and faults by script."""

from __future__ import annotations

import functools
import itertools
import re
from collections.abc import Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from mimetypes import guess_type
from typing import TYPE_CHECKING, TypeVar
from urllib.parse import parse_qsl

from app.errors import (
    ArchivedError,
    ConditionFailedError,
    DeniedError,
    LeaseLostError,
    MissingObjectError,
    ObjectError,
    RekeyError,
    StoreFullError,
    StoreRequestError,
    StoreUnavailableError,
    UnansweredError,
)
from app.fidelity_rules import Attribute
from app.gauge import Reading
from app.object_store import (
    MAX_DELETED,
    MAX_LISTED,
    Condition,
    Deadline,
    IfAbsent,
    ListedPage,
    ObjectAttributes,
    ObjectInfo,
    Packed,
    PageAsked,
    ReadObject,
    Writing,
)
from app.s3_snowball import pack
from app.s3_text import is_deleted_alone
from app.testing import attributes as attributes_of
from app.testing.application import UNTYPED, ApplicationSide
from app.testing.listing import list_names, without_nested
from app.testing.versions import CONDITIONAL, LIKE_MINIO, Behaviour, StoredVersion, etag_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from app.clock import Clock


_AHEAD: ContextVar[Mapping[tuple[int, str], ReadObject | RekeyError]] = ContextVar("ahead")  # of each thread, or greenlet
_LOOKED: ContextVar[Mapping[tuple[int, str, str], ObjectInfo | ReadObject | RekeyError]] = ContextVar("looked")
_LISTED: ContextVar[Mapping[tuple[int, PageAsked], ListedPage | RekeyError]] = ContextVar("listed")
_Seen = TypeVar("_Seen", ObjectInfo, ReadObject)
_At = TypeVar("_At")
_Held = TypeVar("_Held")
_Answer = TypeVar("_Answer")
_CONTROL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f]")  # what XML cannot carry


@dataclass(slots=True)
class _Upload:
    name: str
    headers: Mapping[str, str]
    parts: dict[int, tuple[bytes, str]] = field(default_factory=dict)  # with their ETags


class InMemoryStore(ApplicationSide):
    """``app.object_store.ObjectStore`` in memory."""

    public: tuple[str, ...] = ()  # prefixes that anybody may read
    answered: Reading = Reading()

    def __init__(
        self,
        behaviour: Behaviour = CONDITIONAL,
        *,
        clock: Clock | None = None,
        request_timeout: float = 10.0,
        on_call: Callable[[str, str], None] | None = None,
    ) -> None:
        super().__init__(behaviour, clock=clock, request_timeout=request_timeout, on_call=on_call)
        self._uploads: dict[str, _Upload] = {}
        self._upload_numbers = itertools.count(1)

    @classmethod
    def conditional(cls, *, clock: Clock | None = None, on_call: Callable[[str, str], None] | None = None) -> InMemoryStore:
        """A store that honours every condition and folds no key, like AWS."""
        return cls(CONDITIONAL, clock=clock, on_call=on_call)

    @classmethod
    def like_minio(cls, *, clock: Clock | None = None, on_call: Callable[[str, str], None] | None = None) -> InMemoryStore:
        """A store that ignores conditions on CopyObject and DeleteObjects and folds a leading slash (M3, M6)."""
        return cls(LIKE_MINIO, clock=clock, on_call=on_call)

    def close(self) -> None:
        """Nothing to close."""

    def reading(self) -> Reading:
        """What a test has put into ``answered``."""
        return self.answered

    def stat(self, key: str) -> ObjectInfo:
        """HEAD."""
        return self._looked_at("stat", key, ObjectInfo) or self._read("stat", key, lambda: self._statted(key))

    def _statted(self, key: str) -> ObjectInfo:
        return self._current(key).info(key)

    def head(self, key: str) -> ReadObject:
        """HEAD, with the attributes."""
        return self._looked_at("head", key, ReadObject) or self._read("head", key, lambda: self._headed(key))

    def _headed(self, key: str) -> ReadObject:
        found = self._current(key)
        return ReadObject(info=found.info(key), attributes=self._described(found, key), body=None)

    def _described(self, found: StoredVersion, key: str) -> ObjectAttributes:
        tags = len(parse_qsl(found.tags, keep_blank_values=True)) if found.tags else 0
        guessed = {"content-type": guess_type(key)[0] or UNTYPED} if self._behaviour.guesses_type else {}
        return ObjectAttributes(headers={**guessed, **found.carried}, tag_count=tags, checksums=dict(found.checksums))

    def is_public(self, key: str) -> bool:
        """Whether the key begins with one of ``public``, and the object is there."""

        def act() -> bool:
            here = self._bucket.current(self._behaviour.name(key)) is not None
            return here and key.startswith(tuple(self.public))

        return self._read("is_public", key, act)

    def look_ahead(self, keys: Sequence[str], *, attributes: bool = False) -> int:
        """The HEADs are answered now, well or ill, and ``stat`` or ``head`` gives that."""
        method = "head" if attributes else "stat"
        look: Callable[[str], ObjectInfo | ReadObject] = self._headed if attributes else self._statted

        def ask(key: str) -> ObjectInfo | ReadObject:
            return self._read(method, key, functools.partial(look, key))

        _LOOKED.set({(id(self), method, key): _well_or_ill(functools.partial(ask, key)) for key in keys})
        return len(keys)

    def _looked_at(self, method: str, key: str, kind: type[_Seen]) -> _Seen | None:
        return _taken(_LOOKED, (id(self), method, key), kind)

    def list_page(self, *, prefix: str, start_after: str, delimiter: str = "/", limit: int = MAX_LISTED) -> ListedPage:
        """One ListObjectsV2 request from *start_after*."""
        asked = PageAsked(prefix, start_after, delimiter, limit)
        return _taken(_LISTED, (id(self), asked), ListedPage) or self._listing(asked)

    def list_ahead(self, pages: Sequence[PageAsked]) -> int:
        """The pages are listed now, well or ill, and ``list_page`` gives that."""
        _LISTED.set({(id(self), page): _well_or_ill(functools.partial(self._listing, page)) for page in pages})
        return len(pages)

    def _listing(self, asked: PageAsked) -> ListedPage:
        def act() -> ListedPage:
            page = list_names(
                self._bucket.names() if self._behaviour.lists_below_objects else without_nested(self._bucket.names()),
                prefix=asked.prefix,
                start_after=asked.start_after,
                delimiter=asked.delimiter,
                limit=min(asked.limit, MAX_LISTED),
                by_folder=not self._behaviour.ordered_listing and self._behaviour.ordered_folders,
                collated=not self._behaviour.ordered_folders,
            )
            objects = [replace(self._current(name).info(self._listed(name)), version_id=None) for name in page.names]
            return ListedPage(objects=objects, truncated=page.truncated, last=page.last)

        return self._read("list_page", asked.prefix, act)

    def read_ahead(self, keys: Sequence[str]) -> int:
        """The GETs are answered now, well or ill, and ``read`` gives that."""
        known = _AHEAD.get({})
        ahead = {at: known[at] for key in keys if (at := (id(self), key)) in known}
        for key in keys:
            if (id(self), key) not in ahead:
                ahead[id(self), key] = _well_or_ill(functools.partial(self._got, key))
        _AHEAD.set(ahead)
        return len(keys)

    def read(self, key: str, *, max_bytes: int, admit: Callable[[int], None] = lambda _bytes: None) -> ReadObject:
        """GET."""
        found = _taken(_AHEAD, (id(self), key), ReadObject) or self._got(key)
        if found.body is None or len(found.body) > max_bytes:
            return replace(found, body=None)
        admit(len(found.body))
        return found

    def _got(self, key: str) -> ReadObject:
        return self._read("read", key, lambda: self._object(key))

    def _object(self, key: str) -> ReadObject:
        found = self._warm(key, self._current(key))
        return ReadObject(info=found.info(key), attributes=self._described(found, key), body=found.body)

    def read_range(self, info: ObjectInfo, *, first: int, last: int, admit: Callable[[int], None] = lambda _bytes: None) -> bytes:
        """GET of some bytes."""

        def act() -> bytes:
            found = self._warm(info.key, self._current(info.key))
            if found.etag != info.etag:
                raise ConditionFailedError(info.key, "PreconditionFailed")
            admit(last - first + 1)
            return (found.body or b"")[first : last + 1]

        return self._read("read_range", info.key, act)

    def tags(self, key: str) -> str:
        """The object's tags, URL-encoded."""
        return self._read("tags", key, lambda: self._current(key).tags)

    def part_size(self, info: ObjectInfo, number: int) -> int | None:
        """Bytes of one part; None for an object that was uploaded whole, or where the store does not tell."""

        def act() -> int | None:
            found = self._current(info.key)
            if found.etag != info.etag:
                raise ConditionFailedError(info.key, "PreconditionFailed")
            told = self._behaviour.tells_parts and 0 < number <= len(found.parts)
            return found.parts[number - 1] if told else None

        return self._read("part_size", info.key, act)

    def acl(self, key: str) -> Mapping[str, str]:
        """Who besides its owner may do what with the object."""

        def act() -> Mapping[str, str]:
            if self._behaviour.hides_acl:
                raise DeniedError(key, "AccessDenied")
            if self._behaviour.knows_no_acl:
                raise StoreRequestError(key, "NotImplemented")
            return dict(self._current(key).acl)

        return self._read("acl", key, act)

    def release_hold(self, key: str) -> None:
        """End a legal hold."""
        found = self._current(key)
        headers = attributes_of.without(found.headers, {Attribute.LEGAL_HOLD})
        self._bucket.replace_current(self._behaviour.name(key), replace(found, headers=headers))

    def put(self, key: str, body: bytes, attributes: ObjectAttributes, *, condition: Condition | None, deadline: Deadline) -> ObjectInfo:
        """PUT."""
        rules = self._behaviour

        def act() -> ObjectInfo:
            name = rules.name(key)
            headers = {**attributes.headers, **attributes.checksums}
            attributes_of.check(rules, key, headers)
            self._check(key, name, condition, absent=rules.put_if_absent, match=rules.put_if_match)
            arrived = self._arrived(body)
            return self._add(name, arrived, etag_of(arrived), headers).info(key)

        return self._write("put", key, deadline, act)

    def copy(
        self, source: ObjectInfo, key: str, *, condition: Condition | None, deadline: Deadline, headers: Mapping[str, str] | None = None
    ) -> ObjectInfo:
        """CopyObject of exactly *source*."""
        rules = self._behaviour

        def act() -> ObjectInfo:
            name = rules.name(key)
            found = self._source(source)
            self._check(key, name, condition, absent=rules.copy_if_absent, match=rules.copy_if_match)
            kept, tags = attributes_of.copied(rules, found, headers or {})
            attributes_of.check(rules, key, {**kept, "x-amz-tagging": tags} if tags else kept)
            arrived = self._arrived(found.body or b"")
            return self._add(name, arrived, etag_of(arrived), kept, tags=tags).info(key)

        return self._write("copy", key, deadline, act)

    def begin_put(self, key: str, body: bytes, attributes: ObjectAttributes, *, condition: Condition | None, deadline: Deadline) -> Writing:
        """The PUT is carried out now, well or ill, and ``result`` gives that."""
        return _begun(lambda: self.put(key, body, attributes, condition=condition, deadline=deadline))

    def begin_copy(
        self, source: ObjectInfo, key: str, *, condition: Condition | None, deadline: Deadline, headers: Mapping[str, str] | None = None
    ) -> Writing:
        """The CopyObject is carried out now, well or ill, and ``result`` gives that."""
        return _begun(lambda: self.copy(source, key, condition=condition, deadline=deadline, headers=headers))

    def put_snowball(self, name: str, objects: Sequence[Packed], *, deadline: Deadline) -> Sequence[ObjectInfo]:
        """One PUT of a tar file; the members are written one after the other, each a step of its own."""

        def act() -> Sequence[ObjectInfo]:
            if not self._behaviour.takes_snowballs:
                self._add(self._behaviour.name(name), pack(objects), "of a tar file", {})
                return [ObjectInfo(key=one.key, etag=etag_of(one.body), size=len(one.body), last_modified=int(self.now)) for one in objects]
            try:
                return [self._unpacked(one, first=one is objects[0]) for one in objects]
            except (ObjectError, StoreUnavailableError) as error:
                raise UnansweredError(f"one of {len(objects)} objects in a request was refused, perhaps: {error}") from error

        return self._write("put_snowball", objects[0].key, deadline, act)

    def _unpacked(self, one: Packed, *, first: bool) -> ObjectInfo:
        if not first and self.on_call is not None:
            self.on_call("put_snowball", one.key)
        return self._alone(lambda: self._unpacked_at_once(one))()

    def _unpacked_at_once(self, one: Packed) -> ObjectInfo:
        fault = self.faults.take("put_packed", one.key)
        if fault is not None and not fault.carried_out:
            raise fault.error(one.key)
        name = self._behaviour.name(one.key)
        self._check(one.key, name, None, absent=True, match=True)
        arrived = self._arrived(one.body)
        written = self._add(name, arrived, etag_of(arrived), one.headers).info(one.key)
        if fault is not None:
            raise fault.error(one.key)
        return replace(written, version_id=None, etag=etag_of(one.body), size=len(one.body))

    def create_upload(self, key: str, attributes: ObjectAttributes, *, deadline: Deadline) -> str:
        """Start a multipart upload and give its id."""

        def act() -> str:
            attributes_of.check(self._behaviour, key, attributes.headers)
            upload_id = f"upload-{next(self._upload_numbers)}"
            headers = attributes_of.without(attributes.headers, self._behaviour.parts_ignore)
            self._uploads[upload_id] = _Upload(self._behaviour.name(key), headers)
            return upload_id

        return self._write("create_upload", key, deadline, act)

    def copy_part(self, upload_id: str, key: str, number: int, source: ObjectInfo, *, first: int, last: int, deadline: Deadline) -> str:
        """UploadPartCopy of bytes *first* to *last* of exactly *source*."""

        def act() -> str:
            part = (self._source(source).body or b"")[first : last + 1]
            if len(part) != last + 1 - first:
                raise StoreRequestError(key, "InvalidRange")
            etag = etag_of(part) if self._behaviour.hashes_copied_parts else etag_of(b"in chunks: " + part)
            self._upload(upload_id, key).parts[number] = (part, etag)
            return etag

        return self._write("copy_part", key, deadline, act)

    def put_part(self, upload_id: str, key: str, number: int, body: bytes, *, deadline: Deadline) -> str:
        """UploadPart."""

        def act() -> str:
            self._upload(upload_id, key).parts[number] = (body, etag_of(body))
            return etag_of(body)

        return self._write("put_part", key, deadline, act)

    def complete_upload(self, upload_id: str, key: str, etags: Sequence[str], *, condition: Condition | None, deadline: Deadline) -> str:
        """CompleteMultipartUpload."""
        rules = self._behaviour

        def act() -> str:
            if rules.completes_again and upload_id not in self._uploads:
                return self._completed_before(key, etags)
            upload = self._upload(upload_id, key)
            there = [upload.parts.get(number, (b"", "")) for number in range(1, len(etags) + 1)]
            if not there or [etag for _, etag in there] != list(etags):
                raise StoreRequestError(key, "InvalidPart")
            parts = [part for part, _ in there]
            self._check(key, upload.name, condition, absent=rules.complete_if_absent, match=rules.complete_if_match)
            del self._uploads[upload_id]
            digests = b"".join(bytes.fromhex(etag) for etag in etags)
            sizes = tuple(len(part) for part in parts)
            return self._add(upload.name, b"".join(parts), f"{etag_of(digests)}-{len(parts)}", upload.headers, parts=sizes).etag

        return self._write("complete_upload", key, deadline, act)

    def abort_upload(self, upload_id: str, key: str) -> None:
        """Give up a multipart upload."""
        self._read("abort_upload", key, lambda: self._uploads.pop(upload_id, None))

    def delete(
        self, objects: Sequence[ObjectInfo], *, deadline: Deadline, still: Callable[[], bool] = lambda: True
    ) -> Mapping[str, ObjectError | None]:
        """DeleteObjects, never by version id; keys that it cannot name go last, and ask *still* one by one."""
        if len(objects) > MAX_DELETED:
            raise ValueError(f"at most {MAX_DELETED} objects a request")
        ordered = sorted(objects, key=lambda info: is_deleted_alone(info.key))
        if not ordered or not still():
            return {}

        def act() -> Mapping[str, ObjectError | None]:
            results: dict[str, ObjectError | None] = {}
            for info in ordered:
                if results and is_deleted_alone(info.key) and not still():
                    break
                results[info.key] = self._delete_key(info, first=info is ordered[0])
            return results

        return self._write("delete", ordered[0].key, deadline, act)

    def is_versioned(self) -> bool:
        """Whether a DELETE leaves a marker."""
        return self._behaviour.versioning

    def put_expired(self, key: str, body: bytes) -> None:
        """A PUT whose query signature has ended."""
        self._expire()
        self._add(self._behaviour.name(key), body, etag_of(body), {})

    def delete_expired(self, info: ObjectInfo) -> None:
        """A DeleteObjects whose query signature has ended."""
        self._expire()
        self._bucket.remove(self._behaviour.name(info.key), now=int(self.now))

    def unfinished_uploads(self) -> list[str]:
        """The ids of uploads neither completed nor aborted."""
        return list(self._uploads)

    def _delete_key(self, info: ObjectInfo, *, first: bool) -> ObjectError | None:
        if not first and self.on_call is not None:
            self.on_call("delete", info.key)
        return self._alone(lambda: self._delete_at_once(info))()

    def _delete_at_once(self, info: ObjectInfo) -> ObjectError | None:
        fault = self.faults.take("delete_key", info.key)
        try:
            if fault is not None and not fault.carried_out:
                raise fault.error(info.key)
            name = self._behaviour.name(info.key)
            found = self._bucket.current(name)
            if found is not None and self._behaviour.delete_if_match and found.etag != info.etag:
                return ConditionFailedError(info.key, "PreconditionFailed")
            if found is not None:
                self._bucket.remove(name, now=int(self.now))
            if fault is not None:
                raise fault.error(info.key)
        except MissingObjectError:
            return None
        except ObjectError as error:
            return error
        return None

    def _arrived(self, body: bytes) -> bytes:
        return body[:-1] if self._behaviour.cuts else body

    def _source(self, source: ObjectInfo) -> StoredVersion:
        found = self._version(source) if self.capabilities.pins_version and source.version_id else self._current(source.key)
        if self._behaviour.copy_source_if_match and found.etag != source.etag:
            raise ConditionFailedError(source.key, "PreconditionFailed")
        return self._warm(source.key, found)

    def _warm(self, key: str, found: StoredVersion) -> StoredVersion:
        if found.is_frozen:
            raise ArchivedError(key, "InvalidObjectState: The operation is not valid for the object's storage class")
        return found

    def _version(self, source: ObjectInfo) -> StoredVersion:
        versions = self._bucket.versions(self._behaviour.name(source.key))
        found = next((version for version in versions if version.version_id == source.version_id), None)
        if found is None or found.body is None:
            raise MissingObjectError(source.key, "NoSuchVersion")
        return found

    def _listed(self, name: str) -> str:
        return _CONTROL.sub("\N{REPLACEMENT CHARACTER}", name) if self._behaviour.mangles_listed else name

    def _completed_before(self, key: str, etags: Sequence[str]) -> str:
        if self._bucket.current(self._behaviour.name(key)) is None:
            raise StoreRequestError(key, "NoSuchUpload")
        return f"{etag_of(b''.join(bytes.fromhex(etag) for etag in etags))}-{len(etags)}"

    def _check(self, key: str, name: str, condition: Condition | None, *, absent: bool, match: bool) -> None:
        found = self._bucket.current(name)
        if isinstance(condition, IfAbsent):
            refused = absent and found is not None
        else:
            refused = condition is not None and match and (found is None or found.etag != condition.etag)
        if refused:
            raise ConditionFailedError(key, "PreconditionFailed")
        room = self._behaviour.room
        if room is not None and found is None and len(self._bucket.names()) >= room:
            raise StoreFullError("XMinioStorageFull")

    def _upload(self, upload_id: str, key: str) -> _Upload:
        upload = self._uploads.get(upload_id)
        if upload is None or upload.name != self._behaviour.name(key):
            raise StoreRequestError(key, "NoSuchUpload")
        return upload


def _well_or_ill(ask: Callable[[], _Answer]) -> _Answer | RekeyError:
    """What a request comes to."""
    try:
        return ask()
    except RekeyError as error:
        return error


def _taken(record: ContextVar[Mapping[_At, _Held]], at: _At, kind: type[_Answer]) -> _Answer | None:
    """What a request that was sent ahead came to, once. Raises what it says."""
    ahead = dict(record.get({}))
    found = ahead.pop(at, None)
    record.set(ahead)
    if isinstance(found, RekeyError):
        raise found
    return found if isinstance(found, kind) else None


@dataclass(frozen=True, slots=True)
class _Written:
    """A write that was carried out, or was not."""

    answer: ObjectInfo | RekeyError

    def result(self) -> ObjectInfo:
        """What came of it."""
        if isinstance(self.answer, RekeyError):
            raise self.answer
        return self.answer


def _begun(write: Callable[[], ObjectInfo]) -> _Written:
    """What a request came to; one that the lease leaves no time for is not sent."""
    try:
        return _Written(write())
    except LeaseLostError:
        raise
    except RekeyError as error:
        return _Written(error)
