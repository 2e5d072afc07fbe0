"""What an object has, what is lost on a way, what the operator wishes (CASES 12, 13)."""

from __future__ import annotations

import pytest

from app.errors import UsageError
from app.fidelity import Fate, Way, fate_of, found_in, losses, needs_acl, needs_head, to_send, unkept, ways_of
from app.fidelity_rules import READERS, Attribute, Policy, Rule, names
from app.object_store import ObjectAttributes
from app.settings import load
from app.testing.versions import CONDITIONAL, LIKE_AWS, LIKE_MINIO

_A = Attribute


def _has(*, tags: int = 0, checksum: str = "", **headers: str) -> ObjectAttributes:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return ObjectAttributes(headers=named, tag_count=tags, checksums={"x-amz-checksum-crc32": checksum} if checksum else {})


@pytest.mark.parametrize(
    ("attributes", "found"),
    [
        (_has(), set()),
        (_has(content_type="a/b", expires="x", cache_control="y"), {_A.CONTENT_TYPE, _A.EXPIRES, _A.CACHE_CONTROL}),
        (_has(x_amz_meta_a="1", tags=2), {_A.METADATA, _A.TAGS}),
        (_has(x_amz_server_side_encryption="AES256"), {_A.ENCRYPTION}),
        (_has(x_amz_server_side_encryption="aws:kms", x_amz_server_side_encryption_aws_kms_key_id="k"), {_A.KMS}),
        (_has(x_amz_server_side_encryption="aws:kms:dsse"), {_A.KMS}),
        (_has(x_amz_acl="public-read"), {_A.PUBLIC_READ}),
        (_has(x_amz_acl="public-read-write"), {_A.PUBLIC_READ, _A.ACL}),
        (_has(x_amz_grant_read='uri="http://acs.amazonaws.com/groups/global/AllUsers", id="x"'), {_A.PUBLIC_READ, _A.ACL}),
        (_has(x_amz_grant_write='id="x"'), {_A.ACL}),
        (_has(x_amz_object_lock_mode="GOVERNANCE", x_amz_object_lock_legal_hold="ON"), {_A.RETENTION, _A.LEGAL_HOLD}),
        (_has(checksum="abcd=="), {_A.CHECKSUM}),
    ],
)
def test_headers_stand_for_attributes(attributes: ObjectAttributes, found: set[Attribute]) -> None:
    """Each is known by the header that a write takes."""
    assert found_in(attributes) == found


def test_what_the_way_drops_is_lost_and_not_sent() -> None:
    """MinIO's CopyObject drops Expires; parts take no checksum."""
    fates = LIKE_MINIO.capabilities().fidelity
    has = _has(content_type="a/b", expires="x", checksum="abcd==")

    assert (losses(has, fates, Way.COPY), to_send(has, fates, Way.COPY).headers) == ({_A.EXPIRES}, {})
    assert (losses(has, fates, Way.PUT), to_send(has, fates, Way.PUT)) == (set(), has)
    assert (losses(has, fates, Way.PARTS), to_send(has, fates, Way.PARTS).checksums) == ({_A.CHECKSUM}, {})


def test_what_no_object_should_have_is_lost_all_the_same() -> None:
    """An object of former times has a key that the store does not take any more."""
    has = _has(x_amz_server_side_encryption="AES256")

    assert losses(has, CONDITIONAL.capabilities().fidelity, Way.PUT) == {_A.ENCRYPTION}
    assert to_send(has, CONDITIONAL.capabilities().fidelity, Way.PUT).headers == {}


@pytest.mark.parametrize(("value", "lost"), [("STANDARD_IA", False), ("GLACIER", True), ("DEEP_ARCHIVE", True), ("WARM-TIER", True)])
def test_class_that_would_hide_the_copy_is_not_asked_for(value: str, lost: bool) -> None:  # noqa: FBT001 - an expectation
    """A copy that is archived at once is one that nobody can read (S1); a tier's name is no class to write to."""
    fates, has = LIKE_AWS.capabilities().fidelity, _has(x_amz_storage_class=value)

    for way in Way:
        assert (losses(has, fates, way) == {_A.STORAGE_CLASS}) is lost
        assert ("x-amz-storage-class" in to_send(has, fates, way).headers) is not lost


def test_checksum_of_parts_is_not_said_of_the_whole() -> None:
    """The store would refuse it."""
    fates, has = CONDITIONAL.capabilities().fidelity, _has(checksum="abcd==-3")

    assert (losses(has, fates, Way.PUT), to_send(has, fates, Way.PUT).checksums) == ({_A.CHECKSUM}, {})
    assert losses(has, fates, Way.COPY) == set()


def test_only_what_may_be_lost_is_asked_for() -> None:
    """A store whose CopyObject takes everything over needs no look at headers, and one without ACLs none at those."""
    plain, aws = CONDITIONAL.capabilities().fidelity, LIKE_AWS.capabilities().fidelity

    any_ = Policy.parse("")
    assert (needs_head(plain, any_), needs_head(aws, any_), needs_head({}, any_)) == (False, True, False)
    assert ([needs_acl(plain, way, any_) for way in Way], [needs_acl(aws, way, any_) for way in Way]) == ([False] * 3, [True] * 3)


def test_what_nobody_minds_is_not_asked_for() -> None:
    """The operator knows that no object has it."""
    drops_expires = {Way.COPY: {_A.EXPIRES: Fate.LOST}}
    aws = LIKE_AWS.capabilities().fidelity

    assert needs_head(drops_expires, Policy.parse("expires=warn"))
    assert not needs_head(drops_expires, Policy.parse("expires=ignore"))
    assert needs_head({Way.COPY: {_A.EXPIRES: Fate.LOST, _A.TAGS: Fate.LOST}}, Policy.parse("expires=ignore"))
    assert needs_acl(aws, Way.PUT, Policy.parse("acl=ignore"))
    assert not needs_acl(aws, Way.PUT, Policy.parse("acl=ignore,public_read=ignore"))
    assert Policy.parse("all=ignore").parking(Attribute) == []


def test_run_of_an_older_program_goes_on() -> None:
    """Its record knows no fates: all arrives, as it was assumed then; the time of the last change never does."""
    assert (fate_of({}, Way.COPY, _A.TAGS), fate_of({}, Way.PUT, _A.TAGS)) == (Fate.KEPT, Fate.SENT)
    assert fate_of({}, Way.PUT, _A.ACL) is Fate.ABSENT
    assert fate_of(LIKE_AWS.capabilities().fidelity, Way.PUT, _A.LAST_MODIFIED) is Fate.LOST


def test_default_parks_for_readers_and_tells_the_rest() -> None:
    """What a GET shows is kept, or the object stays where it is."""
    policy = Policy.parse("")

    assert set(policy.parking(Attribute)) == READERS
    lenient = Policy.parse("all=keep,tags=ignore").lenient()
    assert lenient.parking(Attribute) == []
    assert [one for one in Attribute if not lenient.minds(one)] == [Attribute.TAGS]


def test_later_rules_count() -> None:
    """A group first, its exceptions behind it."""
    policy = Policy.parse(" readers=warn, tags=keep ,acl=fail,")

    assert policy.parking(Attribute) == [_A.TAGS, _A.ACL]
    assert (policy.rule(_A.EXPIRES), policy.rule(_A.ACL), policy.rule(_A.KMS)) == (Rule.WARN, Rule.FAIL, Rule.WARN)


@pytest.mark.parametrize("text", ["acl", "acl=maybe", "colour=keep", "=keep", "last_modified=keep"])
def test_rule_that_cannot_be_right_is_refused_by_name(text: str) -> None:
    """With the names that there are."""
    with pytest.raises(UsageError, match=r"REKEY_FIDELITY|fidelity.*is no rule"):
        load({"fidelity": text}, environ={}, required=())


def test_fail_refuses_an_endpoint_that_cannot_keep_it() -> None:
    """On the ways that a run would go there, and only for what was asked."""
    minio = LIKE_MINIO.capabilities()
    by_server, by_put = ways_of(minio, copy_mode="server"), ways_of(minio, copy_mode="auto")

    assert (by_server, by_put) == ((Way.COPY, Way.PARTS), (Way.PUT, Way.PARTS))
    assert unkept(minio.fidelity, by_server, Policy.parse("all=fail")) == [_A.EXPIRES, _A.CHECKSUM]
    assert unkept(minio.fidelity, by_put, Policy.parse("expires=fail")) == []
    assert unkept(minio.fidelity, by_server, Policy.parse("expires=keep")) == []


@pytest.mark.parametrize(("mode", "way"), [("auto", Way.COPY), ("server", Way.COPY), ("worker", Way.PUT)])
def test_worker_copies_where_the_store_could_if_that_is_wished(mode: str, way: Way) -> None:
    """A store that honours all conditions, S3 or SeaweedFS."""
    assert ways_of(CONDITIONAL.capabilities(), copy_mode=mode) == (way, Way.PARTS)


def test_names_are_in_one_order() -> None:
    """However they were found."""
    assert names({_A.KMS, _A.CONTENT_TYPE, _A.TAGS}) == "content_type,tags,kms"
