"""Which of two buckets holds a key: one rule, the same in the product and in the file that a service copies."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from app.client.asset_rekey_client import bucket_of, upload_key
from app.errors import UsageError
from app.object_keys import Equivalence, Template
from app.placing import Placing, Where
from tests.unit.test_settings import read

TEMPLATES = (
    "clients/{client_id}/assets/{file_name}",
    "new/{key}",
    "v2-{client_id}/{col.kind}/{file_name}.bin",
    "c/{client_id}-{file_name}",
)
KEYS = st.lists(st.sampled_from(["clients", "7", "assets", "a.png", "new", "v2-7", "x.bin", "c", "7-a", "", ".", "..", " "]), max_size=6)


def placing(template: str = TEMPLATES[0], **folds: bool) -> Placing:
    """The rule for two buckets."""
    return Placing(source="old", target="new", template=Template.parse(template, named=False), equivalence=Equivalence(**folds))


@given(template=st.sampled_from(TEMPLATES), segments=KEYS)
@example(TEMPLATES[0], ["clients", "7", "assets", "a\nb"])
def test_service_goes_by_the_same_rule(template: str, segments: list[str]) -> None:
    """Key by key."""
    key = "/".join(segments)

    assert bucket_of(key, source="old", target="new", template=template) == placing(template).bucket_of(key)


@given(segments=KEYS, folds=st.fixed_dictionaries({f"folds_{what}": st.booleans() for what in ("leading_slash", "double_slash", "dots")}))
def test_all_spellings_of_one_object_lie_in_one_bucket(segments: list[str], folds: dict[str, bool]) -> None:
    """So that what the ledger takes for one object is one."""
    rule, key = placing(**folds), "/".join(segments)

    assert {rule.bucket_of(spelling) for spelling in rule.equivalence.variants(key)} == {rule.bucket_of(key)}


@given(segments=KEYS, template=st.sampled_from(TEMPLATES))
def test_folder_that_is_said_to_lie_in_one_bucket_does(segments: list[str], template: str) -> None:
    """Whatever is in it."""
    rule, prefix = placing(template), "".join(f"{segment}/" for segment in segments)
    buckets = {rule.bucket_of(prefix + name) for name in ("a", "7-a", "x.bin", "clients", "é")}

    assert buckets <= {Where.SOURCE: {"old"}, Where.TARGET: {"new"}, Where.BOTH: {"old", "new"}}[rule.children(prefix)]


def test_new_keys_and_uploads_lie_in_the_target_bucket() -> None:
    """And old keys in the source bucket."""
    rule = placing()

    assert rule.bucket_of(upload_key(7, "a.png")) == "new"
    assert rule.bucket_of("up/a.png") == rule.bucket_of("clients/7/a.png") == rule.bucket_of(".rekey/journal/x") == "old"


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"TARGET_BUCKET": "assets"}, "another bucket"),
        ({"TARGET_BUCKET": "No_Bucket"}, "lower-case"),
        ({"TARGET_BUCKET": "other", "TEMPLATE": "{client_id}/{file_name}"}, "begins with a word"),
        ({"TARGET_ENDPOINT": "http://other:9000"}, "REKEY_TARGET_ENDPOINT is no setting: both buckets are of one endpoint"),
        ({"TARGET_SECRET_KEY_FILE": "/run/key"}, "REKEY_TARGET_SECRET_KEY_FILE is no setting: both buckets are of one endpoint"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(tmp_path: Path, given: dict[str, str], said: str) -> None:
    """At the start of every command and worker."""
    with pytest.raises(UsageError) as caught:
        read(tmp_path, **given)

    assert said in str(caught.value)
    assert "\n" not in str(caught.value)
