"""Store by attribute by path: what arrived of one object each, in whole chains; the facts that docs/fidelity.md shows."""

from __future__ import annotations

import time
import zlib
from base64 import b64encode
from collections.abc import Mapping
from typing import TYPE_CHECKING

from app.fidelity_rules import Attribute
from tests.chains.bucket import AnswerError, Bucket

if TYPE_CHECKING:
    from pathlib import Path

_A = Attribute
PATHS = ("single", "multipart", "suffix", "two buckets", "rollback")
SMALL, LARGE = b"small " * 10, b"large " * 100
SINGLE_BYTES = 300  # above it objects go by parts
HOURS = 3600
ARRIVES, LOST, NONE = "arrives", "**lost**", "-"
# What is asked for in an upload. Each attribute has objects of its own, with nothing else.
ASKED: Mapping[Attribute, Mapping[str, str]] = {
    _A.CONTENT_TYPE: {"content-type": "text/x-matrix"},
    _A.CONTENT_ENCODING: {"content-encoding": "br"},
    _A.CONTENT_DISPOSITION: {"content-disposition": 'attachment; filename="a b.png"'},
    _A.CONTENT_LANGUAGE: {"content-language": "de-CH, en"},
    _A.CACHE_CONTROL: {"cache-control": "public, max-age=31536000, immutable"},
    _A.EXPIRES: {"expires": "Thu, 01 Jan 2099 00:00:00 GMT"},
    _A.METADATA: {"x-amz-meta-mixed-case": "As Is", "x-amz-meta-utf8": "grüße".encode().decode("latin-1")},
    _A.TAGS: {"x-amz-tagging": "kind=logo&a%20b=c"},
    _A.REDIRECT: {"x-amz-website-redirect-location": "/elsewhere"},
    _A.PUBLIC_READ: {"x-amz-acl": "public-read"},
    _A.ACL: {"x-amz-acl": "authenticated-read"},
    _A.STORAGE_CLASS: {"x-amz-storage-class": "REDUCED_REDUNDANCY"},
    _A.ENCRYPTION: {"x-amz-server-side-encryption": "AES256"},
    _A.KMS: {"x-amz-server-side-encryption": "aws:kms"},
    _A.CHECKSUM: {"x-amz-checksum-crc32": ""},
    _A.RETENTION: {"x-amz-object-lock-mode": "GOVERNANCE", "x-amz-object-lock-retain-until-date": ""},
    _A.LEGAL_HOLD: {"x-amz-object-lock-legal-hold": "ON"},
}
_EVERYWHERE = dict.fromkeys(_A, (ARRIVES,) * 5) | {_A.CHECKSUM: (ARRIVES, LOST, ARRIVES, ARRIVES, ARRIVES)}
_NOWHERE = dict.fromkeys((_A.REDIRECT, _A.PUBLIC_READ, _A.ACL), (NONE,) * 5)
_LOCKS = dict.fromkeys((_A.RETENTION, _A.LEGAL_HOLD), (NONE,) * 5)
# As it was seen: MinIO with a key to encrypt by and both with object lock; in the order of PATHS.
FACTS: Mapping[str, Mapping[Attribute, tuple[str, ...]]] = {
    "minio_with_keys": _EVERYWHERE | _NOWHERE,
    "seaweed": _EVERYWHERE | _NOWHERE | {_A.KMS: (NONE,) * 5},
    "versitygw": _EVERYWHERE
    | _NOWHERE
    | _LOCKS
    | dict.fromkeys((_A.STORAGE_CLASS, _A.ENCRYPTION, _A.KMS), (NONE,) * 5)
    | {_A.REDIRECT: (ARRIVES,) * 5},
    "memory": _EVERYWHERE | _LOCKS,
}
NAMES = {"minio_with_keys": "MinIO", "seaweed": "SeaweedFS", "versitygw": "Versity's gateway", "memory": "S3, as documented"}
HEADING = "## Path by path\n"


def upload(bucket: Bucket, key: str, attribute: Attribute, body: bytes) -> None:
    """An object with the attribute; without it where the store refuses such an upload."""
    headers = dict(ASKED[attribute])
    for name in headers:
        if name.endswith("until-date"):
            headers[name] = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + HOURS))
        if name.startswith("x-amz-checksum-"):
            headers[name] = b64encode(zlib.crc32(body).to_bytes(4, "big")).decode()
    if not bucket.put(key, body, headers):
        assert bucket.put(key, body)


def shown(bucket: Bucket, key: str, attribute: Attribute) -> dict[str, str]:
    """What the store tells of the attribute; empty where the object has none."""
    found = bucket.ask("GET", key, headers={"x-amz-checksum-mode": "ENABLED"})
    if attribute is _A.TAGS:
        tags = bucket.ask("GET", key, query={"tagging": ""}).body.decode() if "x-amz-tagging-count" in found.headers else ""
        return {str(number): piece.partition("</Tag>")[0] for number, piece in enumerate(sorted(tags.split("<Tag>")[1:]))}
    if attribute in {_A.PUBLIC_READ, _A.ACL}:
        return _grants(bucket, key)
    asked = ASKED[attribute]
    told = {name: found.headers[name] for name in asked if name in found.headers}
    return told if attribute not in {_A.ENCRYPTION, _A.STORAGE_CLASS} or told == asked else {}  # else it is the bucket's own default


def _grants(bucket: Bucket, key: str) -> dict[str, str]:
    try:
        acl = bucket.ask("GET", key, query={"acl": ""}).body.decode()
    except AnswerError:
        return {}
    return {group: "granted" for group in ("AllUsers", "AuthenticatedUsers") if group in acl}


def page(path: Path) -> str:
    """docs/fidelity.md with the table made of the facts below its heading; what else is there stands."""
    text, _, rest = path.read_text(encoding="utf-8").partition(HEADING)
    heads = [f"{store}: {way}" for store in NAMES.values() for way in PATHS]
    lines = [f"| attribute | {' | '.join(heads)} |", "|---" * (len(heads) + 1) + "|"]
    lines += [f"| `{one}` | {' | '.join(fate for store in NAMES for fate in FACTS[store][one])} |" for one in ASKED]
    return text + HEADING + rest.partition("| attribute |")[0] + "\n".join(lines) + "\n"
