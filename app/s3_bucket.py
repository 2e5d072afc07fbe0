"""What a bucket is set to do by itself when objects come or go: its notifications, lifecycle and replication, as S3 tells them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from app.errors import StoreRequestError
from app.s3_multipart import success
from app.s3_xml import XmlError, parse, read_error

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

    from app.s3_client import S3Client

_NONE = frozenset({"NoSuchLifecycleConfiguration", "ReplicationConfigurationNotFoundError", "NoSuchConfiguration"})
REMOVING = "removes objects"  # what an act begins with that takes current versions away
_TARGETS = ("Queue", "Topic", "CloudFunction", "LambdaFunctionArn")


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice:
    """Somebody is told of events of objects below a prefix."""

    events: tuple[str, ...]
    prefix: str
    suffix: str
    target: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Lifecycle:
    """What becomes of objects below a prefix as they grow old."""

    prefix: str
    acts: tuple[str, ...]  # such as "removes objects after 30 days"
    some: bool  # only of those with certain tags or sizes


@dataclass(frozen=True, slots=True, kw_only=True)
class Replication:
    """Objects below a prefix are copied to another bucket."""

    prefix: str
    target: str
    deletes: bool  # delete markers too


def notices(client: S3Client, bucket: str) -> list[Notice]:
    """GetBucketNotificationConfiguration."""
    root = _asked(client, bucket, "notification")
    return list(_notices(root)) if root is not None else []


def lifecycle(client: S3Client, bucket: str) -> list[Lifecycle]:
    """GetBucketLifecycleConfiguration: the rules that are enabled."""
    root = _asked(client, bucket, "lifecycle")
    rules = _enabled(root) if root is not None else []
    return [Lifecycle(prefix=_prefix(rule), acts=tuple(_acts(rule)), some=_is_partial(rule)) for rule in rules]


def replication(client: S3Client, bucket: str) -> list[Replication]:
    """GetBucketReplication: the rules that are enabled."""
    root = _asked(client, bucket, "replication")
    rules = _enabled(root) if root is not None else []
    return [
        Replication(
            prefix=_prefix(rule),
            target=rule.findtext("Destination/Bucket") or "another bucket",
            deletes=rule.findtext("DeleteMarkerReplication/Status") == "Enabled",
        )
        for rule in rules
    ]


def _asked(client: S3Client, bucket: str, what: str) -> Element | None:
    """The document, None where the bucket has none."""
    reply = client.read("GET", None, {what: ""})
    if read_error(reply.answer.body or b"")[0] in _NONE:
        return None
    try:
        return parse(success(reply, bucket))
    except XmlError as error:
        raise StoreRequestError(bucket, f"{what}: {error}") from error


def _notices(root: Element) -> Iterator[Notice]:
    for one in root:
        target = next((text for name in _TARGETS if (text := one.findtext(name))), one.tag)
        named = {(rule.findtext("Name") or "").lower(): rule.findtext("Value") or "" for rule in one.iterfind("Filter/S3Key/FilterRule")}
        events = tuple(event.text or "" for event in one.iterfind("Event"))
        yield Notice(events=events or ("all events",), prefix=named.get("prefix", ""), suffix=named.get("suffix", ""), target=target)


def _enabled(root: Element) -> list[Element]:
    return [rule for rule in root.iterfind("Rule") if rule.findtext("Status") == "Enabled"]


def _prefix(rule: Element) -> str:
    return next((text for path in ("Filter/And/Prefix", "Filter/Prefix", "Prefix") if (text := rule.findtext(path))), "")


def _is_partial(rule: Element) -> bool:
    chosen = rule.find("Filter/And") if rule.find("Filter/And") is not None else rule.find("Filter")
    return chosen is not None and any(part.tag != "Prefix" for part in chosen)


def _acts(rule: Element) -> Iterator[str]:
    for one in rule.iterfind("Expiration"):
        if one.findtext("ExpiredObjectDeleteMarker") == "true":
            yield "removes delete markers without versions"
        else:
            yield f"{REMOVING} {_when(one)}"
    for one in rule.iterfind("Transition"):
        yield f"moves objects to {one.findtext('StorageClass')} {_when(one)}"
    for one in rule.iterfind("NoncurrentVersionExpiration"):
        yield f"removes old versions {_when(one)}"
    for one in rule.iterfind("NoncurrentVersionTransition"):
        yield f"moves old versions to {one.findtext('StorageClass')} {_when(one)}"
    for one in rule.iterfind("AbortIncompleteMultipartUpload"):
        yield f"aborts unfinished uploads after {one.findtext('DaysAfterInitiation')} days"


def _when(act: Element) -> str:
    date, days = act.findtext("Date"), act.findtext("Days") or act.findtext("NoncurrentDays")
    return f"on {date[:10]}" if date else f"after {days} days"
