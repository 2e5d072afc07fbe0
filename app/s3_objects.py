"""From the headers of S3 answers to what the port says of objects."""

from __future__ import annotations

from typing import TYPE_CHECKING

from app.object_store import ARCHIVES, METADATA, Condition, IfAbsent, ObjectAttributes, ObjectInfo
from app.s3_text import http_date, iso_date

if TYPE_CHECKING:
    from collections.abc import Mapping

# What a reader sees of an object and a write can carry on; x-amz-meta-* besides (CASES 12).
_CARRIED = (
    "content-type",
    "cache-control",
    "content-encoding",
    "content-disposition",
    "content-language",
    "expires",
    "x-amz-website-redirect-location",
    "x-amz-server-side-encryption",
    "x-amz-server-side-encryption-aws-kms-key-id",
    "x-amz-server-side-encryption-bucket-key-enabled",
)
TELL_CHECKSUMS = {"x-amz-checksum-mode": "ENABLED"}  # without this header no answer shows them
_NO_CHECKSUM = frozenset({"x-amz-checksum-type", "x-amz-checksum-algorithm"})


class MalformedHeadersError(Exception):
    """An answer lacks the headers that describe an object."""


def read_info(key: str, headers: Mapping[str, str]) -> ObjectInfo:
    """The version that a HEAD or GET described."""
    etag = headers.get("etag", "").strip('"')
    size = headers.get("content-length", "")
    modified = http_date(headers.get("last-modified", ""))
    if not etag or not size.isdigit() or modified is None:
        raise MalformedHeadersError("the answer has no ETag, Content-Length or Last-Modified")
    return ObjectInfo(
        key=key, etag=etag, size=int(size), last_modified=modified, version_id=read_version(headers), storage_class=_read_class(headers)
    )


def _read_class(headers: Mapping[str, str]) -> str | None:
    """The storage class, as a listing shows it; of an archived object that is restored, and so can be read, none."""
    restored = 'ongoing-request="false"' in headers.get("x-amz-restore", "")
    return None if restored else headers.get("x-amz-storage-class")


def read_version(headers: Mapping[str, str]) -> str | None:
    """The version id; "null" names whatever was written while versioning was off or suspended, so it identifies nothing (H7)."""
    version = headers.get("x-amz-version-id")
    return None if version == "null" else version


def read_attributes(headers: Mapping[str, str], *, now: int) -> ObjectAttributes:
    """The headers that a write must send for readers to see no difference; *now*: store time, since a past retention is refused."""
    carried = {name: headers[name] for name in _CARRIED if name in headers}
    carried.update({name: value for name, value in headers.items() if name.startswith(METADATA)})
    storage_class = headers.get("x-amz-storage-class", "STANDARD")
    if storage_class not in {"STANDARD", *ARCHIVES}:  # a thawed object's copy must be readable for as long as its row names it (S1)
        carried["x-amz-storage-class"] = storage_class
    carried.update(_lock_headers(headers, now=now))
    tags = headers.get("x-amz-tagging-count", "0")
    checksums = {name: value for name, value in headers.items() if name.startswith("x-amz-checksum-") and name not in _NO_CHECKSUM}
    return ObjectAttributes(headers=carried, tag_count=int(tags) if tags.isdigit() else 0, checksums=checksums)


def _lock_headers(headers: Mapping[str, str], *, now: int) -> dict[str, str]:
    """Retention and legal hold, so that a moved object stays protected (CASES 13)."""
    held = {}
    if headers.get("x-amz-object-lock-legal-hold") == "ON":
        held["x-amz-object-lock-legal-hold"] = "ON"
    until = headers.get("x-amz-object-lock-retain-until-date", "")
    if "x-amz-object-lock-mode" in headers and (iso_date(until) or 0) > now:
        held["x-amz-object-lock-mode"] = headers["x-amz-object-lock-mode"]
        held["x-amz-object-lock-retain-until-date"] = until
    return held


def condition_headers(condition: Condition | None) -> dict[str, str]:
    """The conditional request headers of a write."""
    if condition is None:
        return {}
    return {"if-none-match": "*"} if isinstance(condition, IfAbsent) else {"if-match": f'"{condition.etag}"'}
