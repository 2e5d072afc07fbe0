"""GETs of a range of bytes of one version."""

from __future__ import annotations

from typing import TYPE_CHECKING

from app.errors import ProofError

if TYPE_CHECKING:
    from collections.abc import Callable

    from app.object_store import ObjectInfo
    from app.s3_client import S3Client

_PART = 206


def read_range(client: S3Client, info: ObjectInfo, *, first: int, last: int, admit: Callable[[int], None]) -> bytes:
    """Bytes *first* to *last* (inclusive) of exactly *info*; an answer of other bytes is none."""
    headers = {"range": f"bytes={first}-{last}", "if-match": f'"{info.etag}"'}
    reply = client.read("GET", info.key, headers=headers, max_body=last - first + 1, admit=admit)
    answer = reply.answer
    if answer.status // 100 != 2:  # noqa: PLR2004
        raise reply.error(info.key)
    whole = (first, last) == (0, info.size - 1)
    body = answer.body
    if (answer.status != _PART and not whole) or body is None or len(body) != last - first + 1:
        raise ProofError(info.key, "a GET of some bytes gave others")
    return body
