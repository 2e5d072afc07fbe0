"""Five hundred objects with every odd key and everything that an object can have besides its bytes; read back by means of their own."""

from __future__ import annotations

import re
import zlib
from base64 import b64encode
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from hashlib import sha256
from itertools import islice
from random import Random
from typing import TYPE_CHECKING

from tests.chains.bucket import AnswerError, Bucket
from tests.chains.odd import NAMES, OLD_KEYS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

COUNT = 500
IN_PARTS = 4  # of them are uploaded in two parts
PART = 5 * 1024**2
THREADS = 4
SIZES = (0, 1, 17, 900, 4096, 5000, 9000)
# What each object may have; those of one key are tried on objects each, and all at once on some.
ATTRIBUTES: tuple[tuple[Mapping[str, str], ...], ...] = (
    ({}, {"content-type": "image/png"}, {"content-type": "text/html; charset=utf-8"}, {"content-type": "application/x-ünknown"}),
    ({}, {"content-encoding": "gzip"}, {"content-encoding": "br, gzip"}),
    ({}, {"content-disposition": 'attachment; filename="a b.png"'}, {"content-disposition": "inline; filename*=UTF-8''gr%C3%BC%C3%9Fe"}),
    ({}, {"content-language": "de"}, {"content-language": "de-CH, en"}),
    ({}, {"cache-control": "no-store"}, {"cache-control": "public, max-age=31536000, immutable"}),
    ({}, {"expires": "Thu, 01 Jan 2099 00:00:00 GMT"}),
    ({}, {"x-amz-meta-plain": "value"}, {"x-amz-meta-Mixed-Case": "As Is"}, {"x-amz-meta-under_score": "1", "x-amz-meta-dotted.name": "2"}),
    ({}, {"x-amz-meta-utf8": "grüße"}, {"x-amz-meta-rfc2047": "=?UTF-8?B?Z3LDvMOfZQ==?="}, {"x-amz-meta-long": "m" * 1500}),
    ({}, {"x-amz-tagging": "kind=logo"}, {"x-amz-tagging": "kind=logo&a%20b=c%2Bd%2F&empty="}),
    ({}, {"x-amz-storage-class": "REDUCED_REDUNDANCY"}),
    ({}, {"x-amz-website-redirect-location": "/elsewhere"}),
    ({}, {"x-amz-acl": "public-read"}),
    ({}, {"x-amz-checksum-sha256": ""}, {"x-amz-checksum-crc32": ""}),
)
# Of an answer, what says nothing of the object: when it was written, who answered, how the connection is kept.
_OF_THE_ANSWER = re.compile(
    "date|last-modified|server|connection|keep-alive|vary|x-amz-request-id|x-amz-id-2|x-ratelimit-.*|x-xss-protection|x-content-type-options|"
    "strict-transport-security|transfer-encoding|seaweed-.*|content-security-policy|x-amz-mp-parts-count|accept-ranges"
).fullmatch


@dataclass(frozen=True)
class Item:
    """One object to be."""

    number: int
    key: str
    body: bytes
    headers: Mapping[str, str]
    in_parts: bool

    @property
    def name(self) -> str:
        """The file name in its new key: of the same extension, since SeaweedFS guesses from it the type of what was given none."""
        _, dot, extension = self.key.rpartition("/")[2].replace("\\", "/").rpartition("/")[2].rpartition(".")
        return f"{self.number}{dot}{extension}" if dot and extension else str(self.number)


def items() -> list[Item]:
    """The same five hundred each time."""
    keys = [*OLD_KEYS, *(f"deep/{place}/{name}" for place in ("a b", "ü") for name in NAMES if name.strip(".") and "/" not in name)]
    keys += [f"plain/{number}" for number in range(COUNT - len(keys))]
    return [_item(number, key) for number, key in enumerate(islice(keys, COUNT), 1)]


def _item(number: int, key: str) -> Item:
    chance = Random(number)
    in_parts = number > COUNT - IN_PARTS
    body = chance.randbytes(PART + number if in_parts else SIZES[number % len(SIZES)])
    some = ATTRIBUTES[number % len(ATTRIBUTES)]
    headers = dict(some[number // len(ATTRIBUTES) % len(some)])  # each alone on some, each with each other on others
    if number % 3 == 0:
        headers = {name: value for chosen in ATTRIBUTES for name, value in chance.choice(chosen).items()}
    if in_parts:
        headers = {name: value for name, value in headers.items() if not name.startswith("x-amz-checksum-")}
    for name in headers.keys() & {"x-amz-checksum-sha256", "x-amz-checksum-crc32"}:
        digest = sha256(body).digest() if name.endswith("sha256") else zlib.crc32(body).to_bytes(4, "big")
        headers[name] = b64encode(digest).decode()
    return Item(number, key, body, {name: value.encode().decode("latin-1") for name, value in headers.items()}, in_parts)


def upload(bucket: Bucket, item: Item) -> bool:
    """Whether the store takes it; with what it does not take (an ACL, a redirect) it is tried again without."""
    if item.in_parts:
        return _upload_in_parts(bucket, item)
    kept = dict(item.headers)
    for name in (None, "x-amz-acl", "x-amz-website-redirect-location", "x-amz-storage-class"):
        kept.pop(name or "", None)
        if bucket.put(item.key, item.body, kept):
            return True
    return False


def _upload_in_parts(bucket: Bucket, item: Item) -> bool:
    plain = {name: value for name, value in item.headers.items() if name not in {"x-amz-acl", "x-amz-website-redirect-location"}}
    begun = bucket.ask("POST", item.key, query={"uploads": ""}, headers=plain).body.decode()
    upload_id = begun.partition("<UploadId>")[2].partition("</UploadId>")[0]
    listed = ""
    for number, part in enumerate((item.body[:PART], item.body[PART:]), 1):
        sent = bucket.ask("PUT", item.key, query={"partNumber": str(number), "uploadId": upload_id}, body=part)
        listed += f"<Part><PartNumber>{number}</PartNumber><ETag>{sent.headers['etag']}</ETag></Part>"
    whole = f"<CompleteMultipartUpload>{listed}</CompleteMultipartUpload>".encode()
    bucket.ask("POST", item.key, query={"uploadId": upload_id}, body=whole)
    return True


@dataclass(frozen=True)
class Look:
    """Everything that a store tells of one object."""

    body: bytes
    told: Mapping[str, str]

    def differences(self, other: Look) -> set[str]:
        """The names of what is not equal; ``body`` is that of the bytes."""
        names = {name for name in self.told.keys() | other.told.keys() if self.told.get(name) != other.told.get(name)}
        return names | ({"body"} if self.body != other.body else set())


def look_at(bucket: Bucket, key: str) -> Look | None:
    """GET with all headers and checksums, the tags, and who may read; None where no such object is."""
    try:
        found = bucket.ask("GET", key, headers={"x-amz-checksum-mode": "ENABLED"})
    except AnswerError as error:
        if error.status in {400, 404}:
            return None
        raise
    told = {name: value for name, value in found.headers.items() if not _OF_THE_ANSWER(name)}
    if "x-amz-tagging-count" in told:
        tags = bucket.ask("GET", key, query={"tagging": ""}).body.decode()
        told["tags"] = ";".join(sorted(piece.partition("</Tag>")[0] for piece in tags.split("<Tag>")[1:]))
    return Look(found.body, told)


def in_parallel(bucket: Bucket, call: Callable[[Bucket, Item], object], chosen: Sequence[Item]) -> dict[int, object]:
    """*call* for each of the items, over some connections; by their numbers."""

    def work(share: Sequence[Item]) -> Iterator[tuple[int, object]]:
        own = Bucket(bucket.server, bucket.name)
        done = [(item.number, call(own, item)) for item in share]
        own.close()
        return iter(done)

    with ThreadPoolExecutor(THREADS) as pool:
        return {number: result for part in pool.map(work, [chosen[first::THREADS] for first in range(THREADS)]) for number, result in part}
