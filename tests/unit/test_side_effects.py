"""What doctor says of a bucket's own settings: from documents as S3 writes them, and from refusals."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from app.doctor.findings import Level
from app.doctor.side_effects import check_side_effects
from app.errors import DeniedError, StoreRequestError, StoreUnavailableError
from app.s3_bucket import Lifecycle, Notice, Replication
from tests.unit.test_s3_store import clock, script, store

if TYPE_CHECKING:
    from app.minio_store import MinioStore
    from tests.unit.test_s3_store import Script

__all__ = ["clock", "script", "store"]
ENDING = "anywhere in the bucket, keys that end in '.png',"
S3 = 'xmlns="http://s3.amazonaws.com/doc/2006-03-01/"'


class Bucket:
    """A bucket that tells of its settings as a test says; an error is raised."""

    def __init__(self, **told: object) -> None:
        self.told: dict[str, object] = {"notices": [], "lifecycle": [], "replication": [], "quota": None, "is_versioned": False} | told

    def __getattr__(self, name: str) -> object:
        def ask() -> object:
            answer = self.told[name]
            if isinstance(answer, Exception):
                raise answer
            return answer

        return ask


def _said(prefix: str = "clients/", **told: object) -> list[str]:
    return [finding.text for finding in check_side_effects(Bucket(**told), prefix)]  # type: ignore[arg-type]


def _notice(*events: str, prefix: str = "", suffix: str = "") -> list[Notice]:
    return [Notice(events=events, prefix=prefix, suffix=suffix, target="queue")]


@pytest.mark.parametrize(
    ("notices", "said"),
    [
        (_notice("s3:ObjectCreated:Copy"), ["each copy sends a notification to queue (s3:ObjectCreated:Copy anywhere in the bucket)"]),
        (_notice("s3:ObjectCreated:*", prefix="uploads/"), []),
        (
            _notice("s3:ObjectRemoved:*", suffix=".png"),
            [f"each delete of an old object {ENDING} sends a notification to queue (s3:ObjectRemoved:*)"],
        ),
        (
            _notice("s3:ObjectAccessed:Get", prefix="up/"),
            ["each read below 'up/' sends a notification to queue: a run reads every object"],
        ),
    ],
)
def test_notifications_are_told_by_what_a_run_does(notices: list[Notice], said: list[str]) -> None:
    """Copies below the new prefix, deletes and reads anywhere."""
    assert (_said(notices=notices) if said else [text for text in _said(notices=notices) if "set off nothing" not in text]) == said


def test_all_events_are_each_of_them() -> None:
    """EventBridge is told of everything."""
    assert [text.split(" sends")[0] for text in _said(notices=_notice("all events"))] == [
        "each copy",
        "each delete of an old object anywhere in the bucket",
        "each read anywhere in the bucket",
    ]


@pytest.mark.parametrize("prefix", ["", "clients/", "clients/7/"])
def test_replication_beside_the_new_keys_is_not_of_copies(prefix: str) -> None:
    """A rule above, on or below the new prefix holds for copies; another one for deletes alone."""
    rule = Replication(prefix=prefix, target="replica", deletes=False)
    other = Replication(prefix="uploads/", target="replica", deletes=False)

    assert len(_said(replication=[rule])) == 2
    assert _said(replication=[other]) == ["a delete below 'uploads/' does not go there: the old object stays in the replica (replica)"]


@pytest.mark.parametrize(
    ("error", "words"),
    [(DeniedError("b", "AccessDenied"), "cannot be read"), (StoreRequestError("b", "NotImplemented"), "cannot be asked")],
)
@pytest.mark.parametrize("name", ["notices", "lifecycle", "replication", "quota", "is_versioned"])
def test_what_cannot_be_asked_is_said_and_the_rest_is_asked_all_the_same(name: str, error: Exception, words: str) -> None:
    """Silence about one thing is not its absence."""
    told = {"quota": 1000, "is_versioned": True, name: error}
    found = check_side_effects(Bucket(**told), "clients/")  # type: ignore[arg-type]

    (lacking,) = [finding for finding in found if words in finding.text]
    assert (lacking.level, bool(lacking.remedy)) == (Level.NOTE, True)
    assert not any("set off nothing" in finding.text for finding in found)
    assert len(found) == (2 if name in {"quota", "is_versioned"} else 3)


def test_outage_is_no_finding() -> None:
    """Doctor says that the store does not answer."""
    with pytest.raises(StoreUnavailableError):
        _said(lifecycle=StoreUnavailableError("SlowDown"))


def test_documents_of_s3_are_read(script: Script, store: MinioStore) -> None:
    """Every kind of target, of act and of filter."""
    script.then(
        200,
        f"<NotificationConfiguration {S3}><TopicConfiguration><Topic>t</Topic><Event>s3:ObjectCreated:*</Event><Filter><S3Key>"
        "<FilterRule><Name>Prefix</Name><Value>a/</Value></FilterRule><FilterRule><Name>suffix</Name><Value>.p</Value></FilterRule>"
        "</S3Key></Filter></TopicConfiguration><CloudFunctionConfiguration><CloudFunction>f</CloudFunction>"
        "<Event>s3:ObjectRemoved:*</Event></CloudFunctionConfiguration><EventBridgeConfiguration/></NotificationConfiguration>",
    )
    assert store.notices() == [
        Notice(events=("s3:ObjectCreated:*",), prefix="a/", suffix=".p", target="t"),
        Notice(events=("s3:ObjectRemoved:*",), prefix="", suffix="", target="f"),
        Notice(events=("all events",), prefix="", suffix="", target="EventBridgeConfiguration"),
    ]
    script.then(
        200,
        f"<LifecycleConfiguration {S3}><Rule><Prefix>old/</Prefix><Status>Enabled</Status><Expiration><Date>2030-01-02T00:00:00Z</Date>"
        "</Expiration><Transition><Days>9</Days><StorageClass>GLACIER</StorageClass></Transition><NoncurrentVersionTransition>"
        "<NoncurrentDays>3</NoncurrentDays><StorageClass>STANDARD_IA</StorageClass></NoncurrentVersionTransition>"
        "<AbortIncompleteMultipartUpload><DaysAfterInitiation>2</DaysAfterInitiation></AbortIncompleteMultipartUpload></Rule>"
        "<Rule><Filter><ObjectSizeGreaterThan>5</ObjectSizeGreaterThan></Filter><Status>Enabled</Status><Expiration>"
        "<ExpiredObjectDeleteMarker>true</ExpiredObjectDeleteMarker></Expiration></Rule></LifecycleConfiguration>",
    )
    assert store.lifecycle() == [
        Lifecycle(
            prefix="old/",
            acts=(
                "removes objects on 2030-01-02",
                "moves objects to GLACIER after 9 days",
                "moves old versions to STANDARD_IA after 3 days",
                "aborts unfinished uploads after 2 days",
            ),
            some=False,
        ),
        Lifecycle(prefix="", acts=("removes delete markers without versions",), some=True),
    ]


def test_bucket_without_settings_and_answers_that_are_none(script: Script, store: MinioStore) -> None:
    """404 with its code is nothing; what is no document is an error."""
    script.then(404, "<Error><Code>NoSuchLifecycleConfiguration</Code></Error>")
    assert store.lifecycle() == []
    script.then(404, "<Error><Code>ReplicationConfigurationNotFoundError</Code></Error>")
    assert store.replication() == []
    script.then(200, "<html")
    with pytest.raises(StoreRequestError, match="notification"):
        store.notices()
    script.then(501, "<Error><Code>NotImplemented</Code></Error>")
    with pytest.raises(StoreRequestError):
        store.notices()


def test_bucket_that_new_keys_do_not_lie_in_has_no_copies() -> None:
    """Of two buckets the source: what is told of copies there would be wrong, and what removes old objects does no harm."""
    rules = [Lifecycle(prefix=prefix, acts=("removes objects after 9 days",), some=False) for prefix in ("", "clients/")]
    told = {"lifecycle": rules, "notices": _notice("s3:ObjectCreated:*"), "replication": [Replication(prefix="", target="r", deletes=True)]}
    found = check_side_effects(Bucket(**told), None)  # type: ignore[arg-type]

    assert [finding.level for finding in found] == [Level.NOTE] * 3
    assert not [finding.text for finding in found if "copy" in finding.text or "new keys" in finding.text]
