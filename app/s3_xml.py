"""The XML of S3: bodies to send, and what comes back."""

from __future__ import annotations

import re
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING
from urllib.parse import unquote_plus
from xml.etree import ElementTree as ET

from app.object_store import ListedPage, ObjectInfo
from app.s3_text import iso_date

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

_NAMESPACE = "http://s3.amazonaws.com/doc/2006-03-01/"
_XMLNS = re.compile(rb'\sxmlns="[^"]*"')


class XmlError(Exception):
    """A body is not the XML that it should be."""


@dataclass(frozen=True, slots=True)
class DeletedKeys:
    """The answer to DeleteObjects: keys deleted, and (key, code, message) of the others."""

    deleted: frozenset[str]
    errors: Sequence[tuple[str, str, str]]


def parse(body: bytes | None) -> ET.Element:
    """The root element, names without their namespace."""
    # S3 pads slow answers with blanks before the document. No S3 document has a DTD, so none may define entities (nor hide one in UTF-16).
    text = (body or b"").lstrip()
    if b"<!DOCTYPE" in text or b"\0" in text:
        raise XmlError("the XML has a document type")
    try:
        return ET.fromstring(_XMLNS.sub(b"", text, count=1))  # noqa: S314 - see above
    except (ET.ParseError, ValueError) as error:
        raise XmlError(f"this is not XML: {error}") from error


def read_error(body: bytes) -> tuple[str, str]:
    """Code and message of an ``<Error>`` document, empty where it is none."""
    if b"<Error" not in body:
        return "", ""
    try:
        root = parse(body)
    except XmlError:
        return "", ""
    return (root.findtext("Code") or "", root.findtext("Message") or "") if root.tag == "Error" else ("", "")


def read_page(body: bytes | None) -> ListedPage:
    """A ListObjectsV2 answer that was asked for with encoding-type=url (CASES 7)."""
    root = parse(body)
    if root.tag != "ListBucketResult":
        raise XmlError(f"a listing was asked for, {root.tag} came")
    encoded = root.findtext("EncodingType") == "url"
    objects = [_listed(element, encoded=encoded) for element in root.iter("Contents")]
    prefixes = [_name(element.findtext("Prefix"), encoded=encoded) for element in root.iter("CommonPrefixes")]
    last = max([info.key for info in objects] + prefixes, default=None)
    return ListedPage(objects=objects, truncated=(root.findtext("IsTruncated") or "").lower() == "true", last=last)


def _listed(element: ET.Element, *, encoded: bool) -> ObjectInfo:
    values = {child.tag: child.text or "" for child in element}
    modified = iso_date(values.get("LastModified", ""))
    size = values.get("Size", "")
    if modified is None or not size.isdigit():
        raise XmlError("a listed object has no time or size")
    return ObjectInfo(
        key=_name(values.get("Key"), encoded=encoded),
        etag=values.get("ETag", "").strip('"'),
        size=int(size),
        last_modified=modified,
        storage_class=values.get("StorageClass") or None,
    )


def _name(text: str | None, *, encoded: bool) -> str:
    if not text:
        raise XmlError("a listed object has no key")
    try:
        return unquote_plus(text, errors="strict") if encoded else text
    except UnicodeDecodeError as error:
        raise XmlError("a listed key is not Unicode") from error


def read_written(body: bytes | None, root_name: str) -> tuple[str, int | None]:
    """ETag (empty where there is none) and time of a CopyObjectResult, CopyPartResult or CompleteMultipartUploadResult."""
    root = parse(body)
    if root.tag != root_name:
        raise XmlError(f"{root_name} was asked for, {root.tag} came")
    return (root.findtext("ETag") or "").strip('"'), iso_date(root.findtext("LastModified") or "")


def read_upload_id(body: bytes | None) -> str:
    """The id that CreateMultipartUpload gave."""
    upload_id = parse(body).findtext("UploadId")
    if not upload_id:
        raise XmlError("the answer names no upload id")
    return upload_id


def read_tags(body: bytes | None) -> list[tuple[str, str]]:
    """The pairs of a GetObjectTagging answer."""
    return [(tag.findtext("Key") or "", tag.findtext("Value") or "") for tag in parse(body).iter("Tag")]


def read_deleted(body: bytes | None) -> DeletedKeys:
    """A DeleteObjects answer that was asked for key by key (not quiet)."""
    root = parse(body)
    if root.tag != "DeleteResult":
        raise XmlError(f"DeleteResult was asked for, {root.tag} came")
    return DeletedKeys(
        deleted=frozenset(element.findtext("Key") or "" for element in root.iter("Deleted")),
        errors=[(e.findtext("Key") or "", e.findtext("Code") or "", e.findtext("Message") or "") for e in root.iter("Error")],
    )


def delete_body(objects: Iterable[tuple[str, str | None]]) -> bytes:
    """A DeleteObjects request for keys, each with the ETag that it must have or None."""
    parts = []
    for key, etag in objects:
        condition = "" if etag is None else f"<ETag>&quot;{escape(etag)}&quot;</ETag>"
        parts.append(f"<Object><Key>{escape(key, quote=False)}</Key>{condition}</Object>")
    return f'<Delete xmlns="{_NAMESPACE}">{"".join(parts)}</Delete>'.encode()


def complete_body(etags: Sequence[str]) -> bytes:
    """A CompleteMultipartUpload request for the parts 1, 2, ..."""
    parts = [
        f"<Part><PartNumber>{number}</PartNumber><ETag>&quot;{escape(etag)}&quot;</ETag></Part>" for number, etag in enumerate(etags, 1)
    ]
    return f'<CompleteMultipartUpload xmlns="{_NAMESPACE}">{"".join(parts)}</CompleteMultipartUpload>'.encode()
