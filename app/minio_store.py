"""The object store over S3: MinIO first, any other S3 endpoint by what the probe saw of it.

All requests go the lean way (``app.s3_client``), but for what a person asks about the bucket (``app.minio_bucket``).
"""

from __future__ import annotations

import re
from base64 import b64encode
from dataclasses import dataclass
from functools import partial
from hashlib import md5
from typing import TYPE_CHECKING
from urllib.parse import quote, urlencode

from minio.credentials.providers import Provider, StaticProvider

from app import s3_multipart, s3_snowball, s3_xml
from app.clock import BootClock, Clock
from app.errors import ConditionFailedError, FidelityError, StoreRequestError, UsageError
from app.gauge import Gauge, Reading
from app.minio_bucket import Access, MinioBucket
from app.object_keys import Equivalence
from app.object_store import (
    MAX_LISTED,
    UNPACKED,
    Capabilities,
    Condition,
    Deadline,
    ListedPage,
    ObjectAttributes,
    ObjectInfo,
    Packed,
    PageAsked,
    ReadObject,
    Seconds,
    Writing,
)
from app.s3_acl import read_acl
from app.s3_ahead import ReadsAhead
from app.s3_client import MIN_WRITE_SECONDS, BegunRead, Reply, S3Client
from app.s3_delete import delete_objects
from app.s3_errors import proof_missing
from app.s3_http import Answer, SocketTransport, Transport
from app.s3_multipart import read_result, success, written
from app.s3_objects import TELL_CHECKSUMS, MalformedHeadersError, condition_headers, read_attributes, read_info, read_version
from app.s3_ranges import read_range
from app.s3_signing import ProvidedCredentials
from app.s3_text import encode_value

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from app.errors import ObjectError

_LOOKS: dict[bool, dict[str, str]] = {False: {}, True: TELL_CHECKSUMS}  # headers of a HEAD, without attributes and with
_BUCKET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{1,61}[A-Za-z0-9]").fullmatch


class MinioStore(MinioBucket):
    """One bucket of one S3 endpoint, as ``app.object_store.ObjectStore`` describes it; safe for threads."""

    def __init__(
        self,
        *,
        endpoint: str,
        access_key: str = "",
        secret_key: str = "",
        provider: Provider | None = None,
        bucket: str,
        region: str = "us-east-1",
        request_timeout: float = 10.0,
        pool_size: int = 1,
        capabilities: Capabilities | None = None,
        clock: Clock | None = None,
        ca_file: str | None = None,
        transport: Transport | None = None,
    ) -> None:
        if not _BUCKET(bucket):
            raise UsageError(f"{bucket!r} cannot be the name of a bucket")
        if request_timeout < MIN_WRITE_SECONDS:
            raise UsageError(f"the request time-out is at least {MIN_WRITE_SECONDS} second")
        clock = clock or BootClock()
        transport = transport or SocketTransport(endpoint, clock=clock, keep=pool_size, ca_file=ca_file)
        provider = provider or StaticProvider(access_key, secret_key)
        client = S3Client(
            transport,
            bucket=bucket,
            region=region,
            request_timeout=request_timeout,
            clock=clock,
            credentials=ProvidedCredentials(provider),
        )
        secure = endpoint.startswith("https:")
        access = Access(host=transport.host, secure=secure, region=region, provider=provider, timeout=request_timeout, ca_file=ca_file)
        super().__init__(client, bucket, access)
        self._capabilities = capabilities
        begin = client.begin
        self._ahead = ReadsAhead[str](client, lambda key: begin("GET", key, None, TELL_CHECKSUMS), clock=clock)
        self._looks_ahead = {
            attributes: ReadsAhead[str](client, partial(_begin_head, client, headers), clock=clock)
            for attributes, headers in _LOOKS.items()
        }
        self._pages_ahead = ReadsAhead[PageAsked](client, lambda page: begin("GET", None, _page_query(page), {}), clock=clock)

    def __repr__(self) -> str:
        return f"MinioStore({self._access.host}/{self._bucket})"

    @property
    def capabilities(self) -> Capabilities:
        """What this endpoint honours: as given, or as set after the probe."""
        if self._capabilities is None:
            raise UsageError("the S3 endpoint has not been probed")
        return self._capabilities

    @capabilities.setter
    def capabilities(self, value: Capabilities) -> None:
        self._capabilities = value

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def reading(self) -> Reading:
        """How the endpoint has answered so far."""
        return self._client.gauge.read()

    @property
    def count_refusal(self) -> Callable[[Answer], None]:
        """Counts an answer by which the endpoint has refused a request for now, and which nobody else sees.

        It knows the gauge alone: the transport, which calls it, would else keep the store, and so itself, for the garbage collector.
        """
        return partial(_count_refusal, self._client.gauge)

    def store_time(self) -> int:
        """UTC seconds by the store's clock, never ahead of it."""
        return int(self._client.store_time())

    def stat(self, key: str) -> ObjectInfo:
        """HEAD."""
        return self._described(key, self._head(key, attributes=False).answer.headers)

    def head(self, key: str) -> ReadObject:
        """HEAD, with the attributes that a write can carry on."""
        reply = self._head(key, attributes=True)
        headers = reply.answer.headers
        now = reply.date or self.store_time()
        return ReadObject(info=self._described(key, headers), attributes=read_attributes(headers, now=now), body=None)

    def look_ahead(self, keys: Sequence[str], *, attributes: bool = False) -> int:
        """Send the HEADs now that this thread's next looks at those keys take the answers of."""
        for looks in self._looks_ahead.values():
            looks.drop()
        return self._looks_ahead[attributes].begin_all(keys)

    def _head(self, key: str, *, attributes: bool) -> Reply:
        begun = self._looks_ahead[attributes].take(key)
        reply = self._client.take(begun) if begun is not None else self._client.read("HEAD", key, headers=_LOOKS[attributes])
        if reply.answer.status != 200:  # noqa: PLR2004
            raise self._client.head_error(reply, key)
        return reply

    def list_page(self, *, prefix: str, start_after: str, delimiter: str = "/", limit: int = MAX_LISTED) -> ListedPage:
        """One ListObjectsV2 request from *start_after*."""
        page = PageAsked(prefix, start_after, delimiter, limit)
        begun = self._pages_ahead.take(page)
        reply = self._client.take(begun) if begun is not None else self._client.read("GET", None, _page_query(page))
        body = success(reply, prefix)
        try:
            return s3_xml.read_page(body)
        except s3_xml.XmlError as error:
            raise StoreRequestError(prefix, str(error)) from error

    def list_ahead(self, pages: Sequence[PageAsked]) -> int:
        """Send the requests now that this thread's next listings of those pages take the answers of."""
        self._pages_ahead.drop()
        return self._pages_ahead.begin_all(pages)

    def read_ahead(self, keys: Sequence[str]) -> int:
        """Send the GETs now that this thread's next reads of those keys take the answers of."""
        self._ahead.drop(but=keys)
        return self._ahead.begin_all(keys)

    def read(self, key: str, *, max_bytes: int, admit: Callable[[int], None] = lambda _bytes: None) -> ReadObject:
        """GET with all attributes that a write can carry on; *admit* is called before the body is read."""
        begun = self._ahead.take(key)
        if begun is not None:
            reply = self._client.take(begun, max_body=max_bytes, admit=admit)
        else:
            reply = self._client.read("GET", key, headers=TELL_CHECKSUMS, max_body=max_bytes, admit=admit)
        answer = reply.answer
        if answer.status != 200:  # noqa: PLR2004
            raise reply.error(key)
        return ReadObject(
            info=self._described(key, answer.headers),
            attributes=read_attributes(answer.headers, now=reply.date or self.store_time()),
            body=answer.body,
        )

    def read_range(self, info: ObjectInfo, *, first: int, last: int, admit: Callable[[int], None] = lambda _bytes: None) -> bytes:
        """GET of some bytes of exactly *info*."""
        return read_range(self._client, info, first=first, last=last, admit=admit)

    def is_public(self, key: str) -> bool:
        """Whether a HEAD without credentials finds the object."""
        return self._client.unsigned("HEAD", key).answer.status == 200  # noqa: PLR2004

    def tags(self, key: str) -> str:
        """The object's tags, URL-encoded as the x-amz-tagging header takes them."""
        body = success(self._client.read("GET", key, {"tagging": ""}), key)
        try:
            return urlencode(sorted(s3_xml.read_tags(body)), quote_via=quote)  # some stores tell them in another order each time
        except s3_xml.XmlError as error:
            raise StoreRequestError(key, str(error)) from error

    def part_size(self, info: ObjectInfo, number: int) -> int | None:
        """Bytes of one part of exactly *info*; None where the store does not tell."""
        return s3_multipart.part_size(self._client, info, number)

    def acl(self, key: str) -> Mapping[str, str]:
        """Who besides its owner may do what with the object, as headers of a write."""
        body = success(self._client.read("GET", key, {"acl": ""}), key)
        try:
            return read_acl(body)
        except s3_xml.XmlError as error:
            raise StoreRequestError(key, f"GetObjectAcl: {error}") from error

    def release_hold(self, key: str) -> None:
        """End the legal hold of a throw-away object."""
        body = b'<LegalHold xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Status>OFF</Status></LegalHold>'
        headers = {"content-md5": b64encode(md5(body, usedforsecurity=False).digest()).decode(), "content-type": "application/xml"}
        success(self._client.write("PUT", key, {"legal-hold": ""}, headers, body=body, deadline=None), key)

    def put(self, key: str, body: bytes, attributes: ObjectAttributes, *, condition: Condition | None, deadline: Deadline) -> ObjectInfo:
        """PUT. The ``last_modified`` returned is an upper bound (the answer's Date)."""
        return self.begin_put(key, body, attributes, condition=condition, deadline=deadline).result()

    def begin_put(self, key: str, body: bytes, attributes: ObjectAttributes, *, condition: Condition | None, deadline: Deadline) -> Writing:
        """A PUT whose answer is taken later."""
        if UNPACKED in attributes.headers:
            raise FidelityError(key, f"a PUT that says {UNPACKED} would be taken apart")
        headers = {**attributes.headers, **attributes.checksums, **condition_headers(condition)}
        if any(name.startswith("x-amz-object-lock-") for name in headers):
            headers["content-md5"] = b64encode(md5(body, usedforsecurity=False).digest()).decode()  # S3 asks for it with a lock
        begun = self._client.begin_write("PUT", key, headers, body=body, deadline=deadline)
        return _Writing(lambda: self._put(key, len(body), condition, self._client.take_write(begun)))

    def _put(self, key: str, size: int, condition: Condition | None, reply: Reply) -> ObjectInfo:
        written(reply, key, condition)
        etag = reply.etag
        if not etag:
            raise proof_missing(key, reply.answer.headers)
        return self._written(key, etag, size, reply)

    def copy(
        self, source: ObjectInfo, key: str, *, condition: Condition | None, deadline: Deadline, headers: Mapping[str, str] | None = None
    ) -> ObjectInfo:
        """CopyObject of exactly *source*."""
        return self.begin_copy(source, key, condition=condition, deadline=deadline, headers=headers).result()

    def begin_copy(
        self, source: ObjectInfo, key: str, *, condition: Condition | None, deadline: Deadline, headers: Mapping[str, str] | None = None
    ) -> Writing:
        """A CopyObject whose answer is taken later."""
        return self.begin_copy_from(self.path(source.key), source, key, condition=condition, deadline=deadline, headers=headers)

    def path(self, key: str) -> str:
        """What x-amz-copy-source calls an object of this bucket: MinIO takes a key with a slash before it anywhere but there (tried)."""
        seen = self._capabilities
        if seen is not None and seen.folds_leading_slash and key.startswith("/"):
            key = Equivalence.of(seen).canonical(key)
        return self._client.path(key)

    def begin_copy_from(
        self, path: str, source: ObjectInfo, key: str, *, condition: Condition | None, deadline: Deadline, headers: Mapping[str, str] | None
    ) -> Writing:
        """CopyObject of exactly *source*, which may lie in another bucket of the endpoint, as *path* says."""
        asked = {
            **(headers or {}),
            **self._source_headers(path, source),
            **condition_headers(condition),
        }
        begun = self._client.begin_write("PUT", key, asked, deadline=deadline)
        return _Writing(lambda: self._copied(source, key, condition, self._client.take_write(begun)))

    def _copied(self, source: ObjectInfo, key: str, condition: Condition | None, reply: Reply) -> ObjectInfo:
        try:
            body = success(reply, source.key)
        except ConditionFailedError as error:
            if condition is None:
                raise
            raise ConditionFailedError(key, f"{error.detail} (or the source's)") from error  # the answer does not say whose
        etag, modified = read_result(body, "CopyObjectResult", key)
        return self._written(key, etag, source.size, reply, modified)

    def put_snowball(self, name: str, objects: Sequence[Packed], *, deadline: Deadline) -> Sequence[ObjectInfo]:
        """One PUT of a tar file whose members become *objects*."""
        reply = s3_snowball.put(self._client, name, objects, deadline=deadline)
        modified = self._written(name, "", 0, reply).last_modified
        return [ObjectInfo(key=one.key, etag=s3_snowball.etag_of(one), size=len(one.body), last_modified=modified) for one in objects]

    def create_upload(self, key: str, attributes: ObjectAttributes, *, deadline: Deadline) -> str:
        """Start a multipart upload and give its id."""
        return s3_multipart.create_upload(self._client, key, attributes, deadline=deadline)

    def copy_part(self, upload_id: str, key: str, number: int, source: ObjectInfo, *, first: int, last: int, deadline: Deadline) -> str:
        """UploadPartCopy of bytes *first* to *last* (inclusive) of exactly *source*."""
        path = self.path(source.key)
        return self.copy_part_from(path, upload_id, key, number, source, first=first, last=last, deadline=deadline)

    def copy_part_from(
        self, path: str, upload_id: str, key: str, number: int, source: ObjectInfo, *, first: int, last: int, deadline: Deadline
    ) -> str:
        """UploadPartCopy of exactly *source*, which may lie in another bucket of the endpoint, as *path* says."""
        return s3_multipart.copy_part(
            self._client,
            upload_id,
            key,
            number,
            source_key=source.key,
            pinned=self._source_headers(path, source),
            first=first,
            last=last,
            deadline=deadline,
        )

    def put_part(self, upload_id: str, key: str, number: int, body: bytes, *, deadline: Deadline) -> str:
        """UploadPart."""
        return s3_multipart.put_part(self._client, upload_id, key, number, body, deadline=deadline)

    def complete_upload(self, upload_id: str, key: str, etags: Sequence[str], *, condition: Condition | None, deadline: Deadline) -> str:
        """CompleteMultipartUpload; gives the object's ETag."""
        return s3_multipart.complete_upload(self._client, upload_id, key, etags, condition=condition, deadline=deadline)

    def abort_upload(self, upload_id: str, key: str) -> None:
        """Give up a multipart upload; one that is gone already is no error."""
        s3_multipart.abort_upload(self._client, upload_id, key)

    def delete(
        self, objects: Sequence[ObjectInfo], *, deadline: Deadline, still: Callable[[], bool] = lambda: True
    ) -> Mapping[str, ObjectError | None]:
        """DeleteObjects (keys that XML cannot carry: singly), never by version id."""
        conditional = self._capabilities is None or self._capabilities.delete_if_match  # the probe must send what it asks about
        return delete_objects(self._client, objects, deadline=deadline, conditional=conditional, still=still)

    def put_expired(self, key: str, body: bytes) -> None:
        """Send a PUT whose signature ended 20 s ago; raises what the store says (the probe hopes for ExpiredRequestError)."""
        reply = self._client.write("PUT", key, body=body, deadline=Seconds(10), signed_ago=30)
        success(reply, key)

    def delete_expired(self, info: ObjectInfo) -> None:
        """Send a DeleteObjects whose signature ended 20 s ago; raises what the store says."""
        refusal = delete_objects(self._client, [info], deadline=Seconds(10), conditional=False, signed_ago=30)[info.key]
        if refusal is not None:
            raise refusal

    def _source_headers(self, path: str, source: ObjectInfo) -> dict[str, str]:
        """Exactly this version: by its ETag, and by its id where that was seen to be honoured."""
        pins = self._capabilities is None or self._capabilities.pins_version  # the probe must send what it asks about
        version = f"?versionId={encode_value(source.version_id)}" if pins and source.version_id else ""
        return {
            "x-amz-copy-source": path + version,
            "x-amz-copy-source-if-match": f'"{source.etag}"',
        }

    def _described(self, key: str, headers: Mapping[str, str]) -> ObjectInfo:
        try:
            return read_info(key, headers)
        except MalformedHeadersError as error:
            raise StoreRequestError(key, str(error)) from error

    def _written(self, key: str, etag: str, size: int, reply: Reply, modified: int | None = None) -> ObjectInfo:
        if modified is None:
            # An upper bound: some servers make their Date once a second, so that an object is a second younger than its answer says.
            modified = self.store_time() + 2 if reply.date is None else reply.date + 1
        return ObjectInfo(key=key, etag=etag, size=size, last_modified=modified, version_id=read_version(reply.answer.headers))


def _count_refusal(gauge: Gauge, answer: Answer) -> None:
    gauge.add(seconds=answer.received_at - answer.sent_at, slow_down=True)


def _begin_head(client: S3Client, headers: Mapping[str, str], key: str) -> BegunRead:
    return client.begin("HEAD", key, None, headers)


def _page_query(page: PageAsked) -> dict[str, str]:
    query = {"list-type": "2", "encoding-type": "url", "max-keys": str(page.limit)}
    query.update({"prefix": page.prefix, "start-after": page.start_after, "delimiter": page.delimiter})
    return {name: value for name, value in query.items() if value}


@dataclass(frozen=True, slots=True)
class _Writing:
    """A write under way."""

    take: Callable[[], ObjectInfo]

    def result(self) -> ObjectInfo:
        """The version written."""
        return self.take()
