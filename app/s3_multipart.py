"""Multipart uploads: the conditional write of objects above INLINE_BYTES (H4), parts copied at the store."""

from __future__ import annotations

from typing import TYPE_CHECKING

from app import s3_xml
from app.errors import ConditionFailedError, MissingObjectError, ProofError
from app.object_store import IfMatch
from app.s3_errors import proof_missing
from app.s3_objects import condition_headers

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from app.object_store import Condition, Deadline, ObjectAttributes, ObjectInfo
    from app.s3_client import Reply, S3Client

_GONE = 404
_WHOLE, _PART = 200, 206
_REFUSED = frozenset({403, 404, 412, 503})  # what any HEAD may meet; whatever else comes, the store does not tell of parts


def create_upload(client: S3Client, key: str, attributes: ObjectAttributes, *, deadline: Deadline) -> str:
    """CreateMultipartUpload; gives the upload's id."""
    reply = client.write("POST", key, {"uploads": ""}, attributes.headers, deadline=deadline)
    body = success(reply, key)
    try:
        return s3_xml.read_upload_id(body)
    except s3_xml.XmlError as error:
        raise ProofError(key, f"CreateMultipartUpload: {error}") from error


def copy_part(
    client: S3Client,
    upload_id: str,
    key: str,
    number: int,
    *,
    source_key: str,
    pinned: Mapping[str, str],
    first: int,
    last: int,
    deadline: Deadline,
) -> str:
    """UploadPartCopy of a byte range of what the headers *pinned* name; gives the part's ETag."""
    headers = {**pinned, "x-amz-copy-source-range": f"bytes={first}-{last}"}
    reply = client.write("PUT", key, {"partNumber": str(number), "uploadId": upload_id}, headers, deadline=deadline)
    return read_result(success(reply, source_key), "CopyPartResult", key)[0]


def part_size(client: S3Client, info: ObjectInfo, number: int) -> int | None:
    """HEAD of one part; None unless the answer is of a part (206, or the number of parts in a header)."""
    reply = client.read("HEAD", info.key, {"partNumber": str(number)}, {"if-match": f'"{info.etag}"'})
    answer = reply.answer
    if answer.status in _REFUSED:
        raise client.head_error(reply, info.key)
    size = answer.headers.get("content-length", "")
    told = answer.status == _PART or (answer.status == _WHOLE and "x-amz-mp-parts-count" in answer.headers)
    return int(size) if told and size.isdigit() else None


def put_part(client: S3Client, upload_id: str, key: str, number: int, body: bytes, *, deadline: Deadline) -> str:
    """UploadPart; gives the part's ETag."""
    reply = client.write("PUT", key, {"partNumber": str(number), "uploadId": upload_id}, body=body, deadline=deadline)
    success(reply, key)
    etag = reply.etag
    if not etag:
        raise proof_missing(key, reply.answer.headers)
    return etag


def complete_upload(
    client: S3Client, upload_id: str, key: str, etags: Sequence[str], *, condition: Condition | None, deadline: Deadline
) -> str:
    """CompleteMultipartUpload; gives the object's ETag."""
    headers = {"content-type": "application/xml", **condition_headers(condition)}
    reply = client.write("POST", key, {"uploadId": upload_id}, headers, body=s3_xml.complete_body(etags), deadline=deadline)
    return read_result(written(reply, key, condition), "CompleteMultipartUploadResult", key)[0]


def abort_upload(client: S3Client, upload_id: str, key: str) -> None:
    """AbortMultipartUpload; an upload that is gone is no error."""
    reply = client.write("DELETE", key, {"uploadId": upload_id}, deadline=None)
    if reply.answer.status != _GONE:
        success(reply, key)


def success(reply: Reply, key: str) -> bytes:
    """The body of a success; a 200 that carries an error is none (CASES 8)."""
    body = reply.answer.body or b""
    if reply.answer.status // 100 != 2 or s3_xml.read_error(body)[0]:  # noqa: PLR2004
        raise reply.error(key)
    return body


def written(reply: Reply, key: str, condition: Condition | None) -> bytes:
    """The body of a successful write to *key*; If-Match where no object is fails like any other (S3 answers 404)."""
    try:
        return success(reply, key)
    except MissingObjectError as error:
        if isinstance(condition, IfMatch):
            raise ConditionFailedError(key, error.detail) from error
        raise


def read_result(body: bytes, root_name: str, key: str) -> tuple[str, int | None]:
    """ETag and time of a result document; without an ETag nothing is proved (CASES 8)."""
    try:
        etag, modified = s3_xml.read_written(body, root_name)
    except s3_xml.XmlError as error:
        raise ProofError(key, str(error)) from error
    if not etag:
        raise ProofError(key, "the answer names no ETag")
    return etag, modified
