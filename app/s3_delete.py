"""Deletion of many objects by DeleteObjects, and of those that its XML cannot name one by one; never by version id (H7, M8)."""

from __future__ import annotations

from base64 import b64encode
from hashlib import md5
from typing import TYPE_CHECKING

from app import s3_xml
from app.errors import ExpiredRequestError, MissingObjectError, ObjectError, StoreRequestError, TransientError, UnansweredError
from app.object_store import MAX_DELETED
from app.s3_errors import has_expired, store_error
from app.s3_text import is_deleted_alone

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from app.object_store import Deadline, ObjectInfo
    from app.s3_client import Reply, S3Client

_DELETED_STATUSES = frozenset({200, 204})


def delete_objects(
    client: S3Client,
    objects: Sequence[ObjectInfo],
    *,
    deadline: Deadline,
    conditional: bool,
    signed_ago: int = 0,
    still: Callable[[], bool] = lambda: True,
) -> dict[str, ObjectError | None]:
    """Delete *objects*, with their ETags as conditions if *conditional*; for each key None or what the store said of it.

    *still* is asked before each request; once it says no, none is sent any more, and the keys left are not in the answer.
    """
    if len(objects) > MAX_DELETED:
        raise ValueError(f"at most {MAX_DELETED} objects a request")
    results: dict[str, ObjectError | None] = {}
    together = [info for info in objects if not is_deleted_alone(info.key)]
    alone = [info for info in objects if is_deleted_alone(info.key)]
    try:
        if together:
            if not still():
                return {}
            results.update(_delete_together(client, together, deadline=deadline, conditional=conditional, signed_ago=signed_ago))
        for info in alone:
            if not still():
                break
            results[info.key] = _delete_alone(client, info, deadline=deadline, conditional=conditional)
    except TransientError as error:
        if results:
            # "Not carried out" would be a lie for the keys that are done.
            raise UnansweredError(f"{len(results)} of {len(objects)} deleted or refused, then: {error}") from error
        raise
    return results


def _delete_together(
    client: S3Client, objects: Sequence[ObjectInfo], *, deadline: Deadline, conditional: bool, signed_ago: int
) -> dict[str, ObjectError | None]:
    body = s3_xml.delete_body((info.key, info.etag if conditional else None) for info in objects)
    digest = b64encode(md5(body, usedforsecurity=False).digest()).decode()
    headers = {"content-md5": digest, "content-type": "application/xml"}
    reply = client.write("POST", None, {"delete": ""}, headers, body=body, deadline=deadline, signed_ago=signed_ago)
    if reply.answer.status != 200 or s3_xml.read_error(reply.answer.body or b"")[0]:  # noqa: PLR2004
        error = reply.error(objects[0].key)
        if not isinstance(error, ObjectError):
            raise error
        return {info.key: type(error)(info.key, error.detail) for info in objects}
    try:
        answer = s3_xml.read_deleted(reply.answer.body)
    except s3_xml.XmlError as error:
        raise UnansweredError(f"DeleteObjects: {error}") from error
    results: dict[str, ObjectError | None] = {
        info.key: None if info.key in answer.deleted else StoreRequestError(info.key, "the answer to DeleteObjects does not name the key")
        for info in objects
    }
    results.update({key: refusal for key, refusal in _refusals(reply, answer).items() if key in results})
    return results


def _refusals(reply: Reply, answer: s3_xml.DeletedKeys) -> dict[str, ObjectError | None]:
    refusals: dict[str, ObjectError | None] = {}
    for key, code, message in answer.errors:
        if code == "AccessDenied" and has_expired(message, expires_at=reply.expires_at, now=reply.date):
            # MinIO checks the signature key by key and says so key by key (M2).
            if answer.deleted:
                raise UnansweredError("DeleteObjects: the request expired half way")
            raise ExpiredRequestError("DeleteObjects: the request had expired")
        error = store_error(key, status=0, code=code, message=message)
        if not isinstance(error, ObjectError):
            raise UnansweredError(f"DeleteObjects: some were deleted, then: {error}") if answer.deleted else error
        refusals[key] = None if isinstance(error, MissingObjectError) else error
    return refusals


def _delete_alone(client: S3Client, info: ObjectInfo, *, deadline: Deadline, conditional: bool) -> ObjectError | None:
    headers = {"if-match": f'"{info.etag}"'} if conditional else {}
    try:
        reply = client.write("DELETE", info.key, headers=headers, deadline=deadline)
        if reply.answer.status not in _DELETED_STATUSES:
            raise reply.error(info.key)
    except MissingObjectError:
        return None
    except ObjectError as error:
        return error
    return None
