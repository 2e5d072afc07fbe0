"""What a real bucket tells of what copies and deletes will set off; and what cannot be asked."""

from __future__ import annotations

import json
import secrets
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from minio import Minio
from minio.commonconfig import DISABLED, ENABLED, AndOperator, Filter, Tags
from minio.credentials.providers import StaticProvider
from minio.crypto import encrypt
from minio.lifecycleconfig import Expiration, LifecycleConfig, NoncurrentVersionExpiration, Rule
from minio.minioadmin import MinioAdmin
from minio.notificationconfig import NotificationConfig, PrefixFilterRule, QueueConfig
from minio.replicationconfig import DeleteMarkerReplication, Destination, ReplicationConfig
from minio.replicationconfig import Rule as ReplicationRule
from minio.versioningconfig import VersioningConfig

from app.doctor.etags import check_etags
from app.doctor.findings import Findings, Level
from app.doctor.side_effects import check_side_effects
from app.minio_store import MinioStore
from app.probe import probe
from app.settings import Settings
from app.testing import FixedDeadline
from tests import servers
from tests.conftest import _running
from tests.contract.conftest import REAL

if TYPE_CHECKING:
    from collections.abc import Iterator

    from app.doctor.findings import Finding

HOOK = {"MINIO_NOTIFY_WEBHOOK_ENABLE_T": "on", "MINIO_NOTIFY_WEBHOOK_ENDPOINT_T": "http://127.0.0.1:9/hook"}
LEFT = "it will not hold for assets that have moved from there, and goes on for those that have not"
ARN = "arn:minio:sqs::T:webhook"


@pytest.fixture(scope="module")
def telling_minio(tmp_path_factory: pytest.TempPathFactory) -> Iterator[servers.S3Server]:
    """MinIO with somebody to be told of events, whose messages wait in a folder."""
    queue = {"MINIO_NOTIFY_WEBHOOK_QUEUE_DIR_T": str(tmp_path_factory.mktemp("queue"))}
    yield from _running(servers.minio_server(environment={**HOOK, **queue}))


class Owner:
    """Who owns a bucket of a server, and the product's store on it."""

    def __init__(self, server: servers.S3Server) -> None:
        self.server = server
        self.bucket = f"effects-{secrets.token_hex(4)}"
        where = server.endpoint.partition("//")[2]
        self.client = Minio(where, server.access_key, server.secret_key, secure=False, region="us-east-1")
        self.admin = MinioAdmin(endpoint=where, credentials=StaticProvider(server.access_key, server.secret_key), secure=False)
        self.store = MinioStore(endpoint=server.endpoint, access_key=server.access_key, secret_key=server.secret_key, bucket=self.bucket)
        self.store.make_bucket()

    def effects(self, prefix: str = "clients/") -> list[Finding]:
        """As doctor names them."""
        return check_side_effects(self.store, prefix)

    def texts(self, prefix: str = "clients/") -> list[str]:
        """In words."""
        return [finding.text for finding in self.effects(prefix)]

    def close(self) -> None:
        """Close the connections."""
        self.store.close()
        self.client._http.clear()
        self.admin._http.clear()


@pytest.fixture
def owner(telling_minio: servers.S3Server) -> Iterator[Owner]:
    """A bucket on MinIO."""
    made = Owner(telling_minio)
    yield made
    made.close()


def test_bucket_that_does_nothing_by_itself_is_said_to(owner: Owner) -> None:
    """Everything was asked, and there is nothing."""
    (found,) = owner.effects()

    assert (found.level, "set off nothing" in found.text) == (Level.OK, True)


def test_notifications_of_copies_and_deletes_are_named(owner: Owner) -> None:
    """With their target, and where they hold."""
    config = NotificationConfig(
        queue_config_list=[
            QueueConfig(queue=ARN, events=["s3:ObjectCreated:*"], config_id="1", prefix_filter_rule=PrefixFilterRule("clients/")),
            QueueConfig(queue=ARN, events=["s3:ObjectRemoved:*"], config_id="2", prefix_filter_rule=PrefixFilterRule("uploads/")),
            QueueConfig(queue=ARN, events=["s3:ObjectCreated:Put"], config_id="3", prefix_filter_rule=PrefixFilterRule("elsewhere/")),
        ]
    )
    owner.client.set_bucket_notification(owner.bucket, config)

    assert sorted(text.split(" to arn")[0] for text in owner.texts()) == [
        "each copy sends a notification",
        "each delete of an old object below 'uploads/' sends a notification",
    ]
    assert all(ARN in text for text in owner.texts())


def test_lifecycle_rules_are_told_by_where_they_hold(owner: Owner) -> None:
    """Over new keys, over old ones, over all, and those that are off."""
    tags = Tags.new_object_tags()
    tags["a"] = "1"
    rules = [
        Rule(ENABLED, rule_id="new", rule_filter=Filter(prefix="clients/7/"), expiration=Expiration(days=30)),
        Rule(ENABLED, rule_id="old", rule_filter=Filter(prefix="uploads/"), expiration=Expiration(days=90)),
        Rule(
            ENABLED,
            rule_id="all",
            rule_filter=Filter(prefix=""),
            noncurrent_version_expiration=NoncurrentVersionExpiration(noncurrent_days=7),
        ),
        Rule(
            ENABLED,
            rule_id="some",
            rule_filter=Filter(and_operator=AndOperator(prefix="tmp/", tags=tags)),
            expiration=Expiration(days=1),
        ),
        Rule(DISABLED, rule_id="off", rule_filter=Filter(prefix="off/"), expiration=Expiration(days=1)),
    ]
    owner.client.set_bucket_lifecycle(owner.bucket, LifecycleConfig(rules))

    assert [finding.text for finding in owner.effects() if finding.level is Level.PROBLEM] == [
        "a lifecycle rule removes objects after 30 days below 'clients/7/', where new keys lie"
    ]
    assert sorted(owner.texts()) == [
        f"a lifecycle rule removes objects after 1 days below 'tmp/' (of some: it asks for tags or sizes as well): {LEFT}",
        "a lifecycle rule removes objects after 30 days below 'clients/7/', where new keys lie",
        f"a lifecycle rule removes objects after 90 days below 'uploads/': {LEFT}",
        "a lifecycle rule removes old versions after 7 days anywhere in the bucket: each copy counts as new, so its time starts anew",
    ]


def test_versions_and_replication_are_named(owner: Owner) -> None:
    """Of a rule that takes deletes along, and where it leads."""
    other = Owner(owner.server)
    for one in (owner, other):
        one.client.set_bucket_versioning(one.bucket, VersioningConfig(ENABLED))
    arn = _remote(owner, other)
    rule = ReplicationRule(
        ENABLED,
        destination=Destination(arn),
        delete_marker_replication=DeleteMarkerReplication(ENABLED),
        rule_filter=Filter(prefix="clients/"),
        rule_id="r",
        priority=1,
    )
    owner.client.set_bucket_replication(owner.bucket, ReplicationConfig(role=arn, rules=[rule]))
    texts = owner.texts()
    other.close()

    assert [text.split(" to arn")[0].split(" (arn")[0] for text in texts] == [
        "each copy below 'clients/' is replicated",
        "a delete below 'clients/' goes there too (as a marker)",
        "versioning is on: each delete lays a marker, and the old version keeps its room",
    ]
    assert all(other.bucket in text or arn in text for text in texts[:2])


def _remote(owner: Owner, other: Owner) -> str:
    """Let MinIO know the bucket to replicate to; gives its ARN."""
    server = other.server
    target = {
        "sourcebucket": owner.bucket,
        "endpoint": server.endpoint.partition("//")[2],
        "credentials": {"accessKey": server.access_key, "secretKey": server.secret_key},
        "targetbucket": other.bucket,
        "secure": False,
        "type": "replication",
    }
    command: Any = SimpleNamespace(value="set-remote-target")
    body = encrypt(json.dumps(target).encode(), server.secret_key)
    answer = owner.admin._url_open(method="PUT", command=command, query_params={"bucket": owner.bucket}, body=body)
    return str(json.loads(answer.data))


def test_quota_is_named(owner: Owner) -> None:
    """By MinIO's administration, since S3 has none."""
    owner.admin.bucket_quota_set(owner.bucket, 5 * 1024**3)

    (text,) = owner.texts()
    assert text.startswith(f"a quota of {5 * 1024**3} bytes holds")


def test_what_the_credentials_may_not_see_is_said(owner: Owner) -> None:
    """Each by its name, with whom to ask."""
    owner.admin.user_add("somebody", "something-secret")
    policy = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": ["s3:GetObject"], "Resource": ["arn:aws:s3:::*"]}]}
    owner.admin.policy_add("reads-only", policy=policy)
    owner.admin.policy_set("reads-only", user="somebody")
    store = MinioStore(endpoint=owner.server.endpoint, access_key="somebody", secret_key="something-secret", bucket=owner.bucket)
    found = check_side_effects(store, "clients/")
    store.close()

    names = ["notifications", "lifecycle rules", "replication", "quota", "versioning"]
    assert [finding.text.split(" (")[0] for finding in found] == [f"its {name} cannot be read with these credentials" for name in names]
    assert all(finding.level is Level.NOTE and finding.remedy for finding in found)


@pytest.mark.parametrize("name", REAL)
def test_each_store_is_asked_and_never_trusted_to_know(name: str, request: pytest.FixtureRequest) -> None:
    """A store that knows no such setting says so, or has none: no check ends doctor."""
    made = Owner(request.getfixturevalue(name))
    found = made.effects()
    made.close()

    said = [finding.text for finding in found]
    unknown = {"minio": [], "seaweed": ["quota"], "versitygw": ["quota"]}[name]
    assert all(any(f"its {what} cannot be" in text for text in said) for what in unknown)
    assert {finding.level for finding in found} <= {Level.OK, Level.NOTE}


SAID = {
    "minio": "written whole: by parts; uploaded in parts: by GET and PUT",
    "seaweed": "written whole: by parts; encrypted (SSE-S3): by parts",
    "versitygw": "written whole: by parts; uploaded in parts: by GET and PUT",
}


@pytest.mark.parametrize("name", REAL)
def test_which_copies_get_another_etag_is_a_known_fact(name: str, request: pytest.FixtureRequest) -> None:
    """Tried by doctor; nothing is left."""
    made = Owner(request.getfixturevalue(name))
    found = Findings("object store")
    check_etags(Settings(), made.store, probe(made.store), found, lease=FixedDeadline())
    left = [info.object_name for info in made.client.list_objects(made.bucket, recursive=True)]
    made.close()

    assert [one.text.split("of objects ")[-1].split(" (parts:")[0] for one in found] == [SAID[name]]
    assert left == []
