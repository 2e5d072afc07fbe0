"""Whole chains from one bucket into another (REKEY_TARGET_BUCKET): what is peculiar to two; odd keys are in test_there_and_back.py."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import pytest

from app.doctor.findings import Level
from app.doctor.store import check_store
from app.states import MoveState
from app.two_buckets import TwoBuckets
from tests.builders import make_settings
from tests.chains import test_case_keys as keys
from tests.chains.conftest import seen_of
from tests.chains.live import named_buckets

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.chains.bucket import Bucket
    from tests.chains.live import Chain

ON_MINIO = pytest.mark.parametrize("store_name", ["minio"], indirect=True)  # what no store makes a difference to


def new(number: int) -> str:
    """The usual new key."""
    return f"clients/7/assets/{number}.png"


class KilledError(BaseException):
    """A worker is killed: nothing of it runs any more."""


@pytest.fixture
def split() -> bool:
    """All of them."""
    return True


def target_of(chain: Chain) -> Bucket:
    """The bucket of the new keys."""
    assert chain.target is not None
    return chain.target


@ON_MINIO
def test_case_30_two_assets_that_want_one_name_in_another_bucket(make_chain: Callable[..., Chain]) -> None:
    """As in one bucket."""
    keys.test_case_30_two_assets_that_want_one_name(make_chain, "suffix")


def test_each_key_means_an_object_of_one_bucket(make_chain: Callable[..., Chain]) -> None:
    """There, there once more, and back: strangers under the same keys in the other bucket stay, and so do those at new keys in the target.

    A row of the template's form that is there is in place; one that only the source bucket has is out of reach, and its object too.
    """
    chain = make_chain(journal=True)
    chain.add(1, "up/1.png", b"asset")
    chain.add(2, "up/2.png", b"its new key is taken")
    chain.add(3, new(3), b"in place")
    chain.world.add(4, new(4), body=None)
    chain.add(5, "clients/8/assets/5.png", b"in another client's folder")
    source = {new(1): b"stranger's in the source bucket", new(4): b"in the source bucket"}
    target = {"up/1.png": b"stranger's in the target bucket", new(2): b"stranger's", new(3): b"in place"}
    for bucket, strangers in ((chain.bucket, source), (target_of(chain), target)):
        for key, body in strangers.items():
            bucket.put(key, body)
    chain.go()

    there = {1: new(1), 2: "up/2.png", 3: new(3), 4: new(4), 5: new(5)}
    moved = {new(1): b"asset", new(5): b"in another client's folder"}
    assert (chain.keys(), chain.reasons()) == (there, {2: "target_exists", 4: "missing_source"})
    assert chain.bucket.contents() == source | {"up/2.png": b"its new key is taken"}
    assert target_of(chain).contents() == target | moved
    noted = [bucket.ask("GET", None, query={"prefix": ".rekey/journal/"}).body for bucket in (chain.bucket, target_of(chain))]
    assert [b"<Contents>" in listing for listing in noted] == [True, False], "`verify --repair` looks for it in the source bucket"
    first, before = chain.world.run_id, _times(chain, moved)
    chain.again()
    assert (chain.keys(), chain.world.states(), _times(chain, moved)) == (there, {"in_place": 3, "parked": 2}, before)
    chain.world.run_id = first
    chain.back()
    assert chain.keys() == there | {1: "up/1.png", 5: "clients/8/assets/5.png"}
    assert chain.bucket.contents() == source | {"up/1.png": b"asset", "up/2.png": b"its new key is taken"}
    assert target_of(chain).contents() == target | {"clients/8/assets/5.png": b"in another client's folder"}


def _times(chain: Chain, moved: dict[str, bytes]) -> list[str]:
    return [chain.of(key).ask("HEAD", key).headers["last-modified"] for key in moved]


def test_what_happens_in_the_source_bucket_meanwhile_is_seen_in_time(chain: Chain) -> None:
    """Case 21 over the border of the buckets: written before and after the switch, and a row that goes with its copy made."""
    for number in (1, 2, 3):
        chain.add(number, f"up/{number}.png", b"first")
    chain.world.seed()
    chain.world.do("copy")
    assert target_of(chain).keys() == [new(number) for number in (1, 2, 3)]
    time.sleep(1.1)  # a write within the second of the first one could only be told by its ETag
    chain.bucket.put("up/1.png", b"before the switch")
    chain.world.sql("DELETE FROM assets WHERE id = 3")
    chain.world.do("rename")
    chain.bucket.put("up/2.png", b"after the switch")
    chain.go()

    assert chain.keys() == {1: new(1), 2: new(2)}
    assert target_of(chain).contents() == {new(1): b"before the switch", new(2): b"after the switch"}
    assert chain.bucket.contents() == {"up/3.png": b"first"}, "which nobody's row names: left as the service left it"
    assert chain.world.move(3).state is MoveState.SUPERSEDED


def test_upload_of_a_worker_that_died_is_aborted_in_the_target_bucket(
    make_chain: Callable[..., Chain], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is on record before its first part; the asset moves all the same."""
    chain = make_chain(inline_bytes=1, copy="auto")
    monkeypatch.setattr("app.stages.writing.SINGLE_COPY_BYTES", 1)
    chain.add(1, "up/1.png", b"asset of some bytes")
    chain.world.seed()

    def die(*_: Any, **__: Any) -> str:  # noqa: ANN401 - of copy_part
        raise KilledError

    with monkeypatch.context() as dying:
        dying.setattr(chain.world.store, "copy_part", die)
        with pytest.raises(KilledError):
            chain.world.do("copy")
    assert (len(target_of(chain).uploads()), chain.bucket.uploads()) == (1, [])
    chain.world.later(chain.world.context.settings.lease_seconds + 1)
    chain.go()

    assert (chain.contents(), chain.uploads()) == ({new(1): b"asset of some bytes"}, [])
    assert chain.world.states() == {"deleted": 1}


@ON_MINIO
def test_doctor_looks_into_both_and_says_what_is_out_of_reach(chain: Chain) -> None:
    """Objects of the template's form where they are not looked for; all else is well."""
    settings = make_settings(**named_buckets(chain.bucket, chain.target))
    chain.bucket.put(new(1), b"old object of the new form")
    found, seen = check_store(settings, chain.world.store)  # type: ignore[arg-type] # a real one

    said = " ".join(finding.text for finding in found)
    assert (f"{chain.bucket.name!r} answers" in said, f"{target_of(chain).name!r} answers" in said) == (True, True)
    assert [new(1) in finding.text for finding in found if finding.level is Level.PROBLEM] == [True]
    assert seen == chain.world.store.capabilities


def test_listing_of_both_shows_each_object_once_and_in_its_right_place(chain: Chain) -> None:
    """Page by page, however the pages fall; what has no right place is not seen."""
    old, new_ones = [f"up/{number:02}" for number in range(7)], [f"clients/{number}/assets/{number}" for number in range(7)]
    for key in (*old, *new_ones):
        chain.of(key).put(key, b"x")
    target_of(chain).put("up/other", b"no place")
    chain.bucket.put("clients/1/assets/hidden", b"no place")
    store: Any = chain.world.store
    assert isinstance(store, TwoBuckets)
    for limit in (1, 2, 3, 1000):
        seen: list[str] = []
        after, more = "", True
        while more:
            page = store.list_page(prefix="", start_after=after, delimiter="", limit=limit)
            seen += [info.key for info in page.objects if not info.key.startswith(".rekey/")]
            after, more = page.last or "", page.truncated
        assert sorted(seen) == sorted(old + new_ones)
        if store.capabilities.ordered_listing:
            assert seen == sorted(seen)
    assert [info.key for info in store.list_page(prefix="up/", start_after="").objects] == old
    assert [info.key for info in store.list_page(prefix="clients/1/assets/", start_after="").objects] == new_ones[1:2]


def test_what_arrives_in_another_bucket_is_what_arrives_in_the_same(chain: Chain, store_name: str) -> None:
    """Which docs/fidelity.md says of both directions, so of a rollback too: the probe sees the same on each way."""
    seen = seen_of(store_name, chain.bucket, chain.target)

    assert seen == seen_of(store_name, chain.bucket)
