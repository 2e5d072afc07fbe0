"""Several small objects in one PUT: a tar file that MinIO takes apart ("snowball", its auto-extract), each member becoming an object.

A member's headers are its PAX records ``minio.metadata.<header>``. A member of the time 0 gets the store's own time. MinIO cleans the path
of a member, so that a key which that would change cannot go this way (``is_packable``).
"""

from __future__ import annotations

import tarfile
from functools import lru_cache
from hashlib import md5
from typing import TYPE_CHECKING

from app.errors import RekeyError, UnansweredError
from app.key_values import has_bad_segment
from app.object_store import UNPACKED
from app.s3_multipart import success
from app.s3_text import is_deleted_alone

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from app.object_store import Deadline, Packed
    from app.s3_client import Reply, S3Client

_EXTRACT = {UNPACKED: "true"}
_BLOCK = tarfile.BLOCKSIZE
_END = bytes(2 * _BLOCK)


def is_packable(key: str) -> bool:
    """Whether a tar file names the object just so: no segment that cleaning the path would change, no control character."""
    return not is_deleted_alone(key) and not has_bad_segment(key)


def is_plain(headers: Mapping[str, str]) -> bool:
    """Whether PAX records, which are UTF-8, carry the headers' very bytes."""
    return all(value.isascii() and name.isascii() for name, value in headers.items())


def pack(objects: Sequence[Packed]) -> bytes:
    """The tar file."""
    parts: list[bytes] = []
    for one in objects:
        member = tarfile.TarInfo(one.key)
        member.size = len(one.body)
        if one.key.isascii() and len(one.key) <= tarfile.LENGTH_NAME:
            parts += (_records(tuple(one.headers.items())), member.tobuf(tarfile.USTAR_FORMAT))
        else:  # the name is a record too
            member.pax_headers = _named(one.headers.items())
            parts.append(member.tobuf(tarfile.PAX_FORMAT))
        parts += (one.body, bytes(-member.size % _BLOCK))
    return b"".join([*parts, _END])


@lru_cache(maxsize=256)  # neighbours are often alike, and this takes as long as all else of a member
def _records(headers: tuple[tuple[str, str], ...]) -> bytes:
    """What comes before a member that has *headers*."""
    member = tarfile.TarInfo("any")
    member.pax_headers = _named(headers)
    return member.tobuf(tarfile.PAX_FORMAT)[:-_BLOCK]


def _named(headers: Iterable[tuple[str, str]]) -> dict[str, str]:
    return {f"minio.metadata.{name}": value for name, value in headers}


def etag_of(one: Packed) -> str:
    """The ETag that the object gets (seen by the probe)."""
    return md5(one.body, usedforsecurity=False).hexdigest()


def put(client: S3Client, name: str, objects: Sequence[Packed], *, deadline: Deadline) -> Reply:
    """Send them all; the answer of the whole.

    Raises:
        UnansweredError: Also where it is refused. The refusal may be one object's, others be written already, and some still be at it:
            MinIO answers before the last ones have ended. And where something else arrived: names and headers have no other check.
    """
    body = pack(objects)
    reply = client.write("PUT", name, None, _EXTRACT, body=body, deadline=deadline)
    try:
        success(reply, name)
    except RekeyError as error:
        raise UnansweredError(f"one of {len(objects)} objects in a request was refused, perhaps: {error}") from error
    if reply.etag != md5(body, usedforsecurity=False).hexdigest():
        raise UnansweredError(f"a request for {len(objects)} objects did not arrive as it was sent: the answer's ETag is not its MD5")
    return reply
