"""Whole chains from one bucket into another (REKEY_TARGET_BUCKET): the same tests as in one bucket, and what is peculiar to two."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from app.doctor.findings import Level
from app.doctor.store import check_store
from app.states import MoveState
from app.two_buckets import TwoBuckets
from tests.builders import make_settings
from tests.chains import test_case_copies as copies
from tests.chains import test_case_keys as keys
from tests.chains import test_there_and_back as there_and_back
from tests.chains.conftest import seen_of
from tests.chains.live import named_buckets

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.chains.bucket import Bucket
    from tests.chains.live import Chain

NEW = "clients/7/assets/1.png"


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


def test_odd_old_keys(make_chain: Callable[..., Chain]) -> None:
    """As in one bucket."""
    there_and_back.test_assets_under_odd_old_keys_go_there_and_back(make_chain)


def test_odd_new_keys(make_chain: Callable[..., Chain]) -> None:
    """As in one bucket."""
    there_and_back.test_assets_get_odd_new_keys_and_give_them_back(make_chain, through=True)


@pytest.mark.parametrize(
    "case",
    [
        keys.test_case_3_each_encoding_is_a_key_of_its_own,
        keys.test_case_4_accents_as_one_letter_or_two_are_two_keys,
        copies.test_case_12_what_readers_see_comes_along,
    ],
)
def test_cases_of_one_chain(chain: Chain, case: Callable[[Chain], None]) -> None:
    """As in one bucket."""
    case(chain)


@pytest.mark.parametrize(
    "case",
    [
        keys.test_case_7_what_xml_cannot_carry_is_deleted_singly_and_never_its_neighbour,
        keys.test_case_22_a_folder_is_deleted_or_stays_whole,
    ],
)
def test_cases_of_a_table(make_chain: Callable[..., Chain], case: Callable[[Callable[..., Chain]], None]) -> None:
    """As in one bucket."""
    case(make_chain)


@pytest.mark.parametrize("on_collision", ["park", "suffix"])
def test_case_30_in_two_buckets(make_chain: Callable[..., Chain], on_collision: str) -> None:
    """As in one bucket."""
    keys.test_case_30_two_assets_that_want_one_name(make_chain, on_collision, unique=False)


def test_one_key_in_both_buckets_is_two_objects(chain: Chain) -> None:
    """What has the old key's name in the target bucket, or a new key's in the source bucket, is a stranger's, and stays."""
    chain.add(1, "up/1.png", b"asset")
    target_of(chain).put("up/1.png", b"stranger's in the target bucket")
    chain.bucket.put(NEW, b"stranger's in the source bucket")
    chain.go()

    assert (chain.keys(), chain.world.states()) == ({1: NEW}, {"deleted": 1})
    assert chain.bucket.contents() == {NEW: b"stranger's in the source bucket"}
    assert target_of(chain).contents() == {NEW: b"asset", "up/1.png": b"stranger's in the target bucket"}
    chain.back()
    assert chain.keys() == {1: "up/1.png"}
    assert chain.bucket.contents() == {"up/1.png": b"asset", NEW: b"stranger's in the source bucket"}
    assert target_of(chain).contents() == {"up/1.png": b"stranger's in the target bucket"}


def test_stranger_at_the_new_key_in_the_target_bucket_stays(chain: Chain) -> None:
    """Nothing is overwritten there either."""
    chain.add(1, "up/1.png", b"asset")
    target_of(chain).put(NEW, b"stranger's")
    chain.go()

    assert (chain.keys(), chain.reasons()) == ({1: "up/1.png"}, {1: "target_exists"})
    assert (chain.bucket.contents(), target_of(chain).contents()) == ({"up/1.png": b"asset"}, {NEW: b"stranger's"})


def test_rows_of_the_template_s_form_mean_the_target_bucket(chain: Chain) -> None:
    """One that is there is in place; one that only the source bucket has is out of reach: parked, and its object is not touched."""
    chain.add(1, NEW, b"in place")
    chain.world.add(2, "clients/7/assets/2.png", body=None)
    chain.bucket.put("clients/7/assets/2.png", b"in the source bucket")
    chain.add(3, "clients/8/assets/3.png", b"in another client's folder")
    chain.go()

    assert chain.reasons() == {2: "missing_source"}
    assert chain.keys() == {1: NEW, 2: "clients/7/assets/2.png", 3: "clients/7/assets/3.png"}
    assert chain.bucket.contents() == {"clients/7/assets/2.png": b"in the source bucket"}
    assert target_of(chain).contents() == {NEW: b"in place", "clients/7/assets/3.png": b"in another client's folder"}


def test_second_run_changes_nothing(chain: Chain) -> None:
    """Every row is in place, by what the target bucket shows."""
    for number in range(1, 4):
        chain.add(number, f"up/{number}.png", f"body {number}".encode())
    chain.go()
    before = [chain.of(key).ask("HEAD", key).headers["last-modified"] for key in chain.keys().values()]
    chain.again()

    assert chain.world.states() == {"in_place": 3}
    assert [chain.of(key).ask("HEAD", key).headers["last-modified"] for key in chain.keys().values()] == before


@pytest.mark.parametrize("when", ["before the switch", "after the switch"])
def test_late_write_to_the_source_bucket_is_copied_again(chain: Chain, when: str) -> None:
    """Case 21, over the border of the buckets."""
    chain.add(1, "up/1.png", b"first")
    chain.world.seed()
    chain.world.do("copy")
    copies.time.sleep(1.1)  # a write within the second of the first one could only be told by its ETag
    if when == "after the switch":
        chain.world.do("rename")
    chain.bucket.put("up/1.png", b"later")
    chain.go()

    assert chain.contents() == {NEW: b"later"}
    assert (chain.keys(), chain.world.states()) == ({1: NEW}, {"deleted": 1})


def test_copy_of_a_row_that_went_away_is_removed_from_the_target_bucket(chain: Chain) -> None:
    """And the old object, which nobody's row names any more, stays as the service left it."""
    chain.add(1, "up/1.png", b"asset")
    chain.world.seed()
    chain.world.do("copy")
    assert target_of(chain).contents() == {NEW: b"asset"}
    chain.world.sql("DELETE FROM assets")
    chain.go()

    assert (chain.bucket.contents(), target_of(chain).contents()) == ({"up/1.png": b"asset"}, {})
    assert chain.world.move(1).state is MoveState.SUPERSEDED


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

    assert (chain.contents(), chain.uploads()) == ({NEW: b"asset of some bytes"}, [])
    assert chain.world.states() == {"deleted": 1}


def test_journal_of_the_deletes_is_in_the_source_bucket(make_chain: Callable[..., Chain]) -> None:
    """Where `verify --repair` looks for it."""
    chain = make_chain(journal=True)
    chain.add(1, "up/1.png", b"asset")
    chain.go()

    noted = {name: bucket.ask("GET", None, query={"prefix": ".rekey/journal/"}).body for name, bucket in _both(chain).items()}
    assert b".rekey/journal/" in noted["source"].partition(b"<Contents>")[2]
    assert b"<Contents>" not in noted["target"]


def _both(chain: Chain) -> dict[str, Bucket]:
    return {"source": chain.bucket, "target": target_of(chain)}


def test_doctor_looks_into_both_and_says_what_is_out_of_reach(chain: Chain) -> None:
    """A bucket that is not there, and objects of the template's form where they are not looked for."""
    settings = make_settings(**named_buckets(chain.bucket, chain.target))
    well, seen = check_store(settings, chain.world.store)  # type: ignore[arg-type] # a real one
    chain.bucket.put(NEW, b"old object of the new form")
    ill, _ = check_store(settings, chain.world.store)  # type: ignore[arg-type] # a real one

    said = " ".join(finding.text for finding in well)
    assert [finding.text for finding in well if finding.level is Level.PROBLEM] == []
    assert (f"{chain.bucket.name!r} answers" in said, f"{target_of(chain).name!r} answers" in said) == (True, True)
    assert seen == chain.world.store.capabilities
    assert [finding.text for finding in ill if finding.level is Level.PROBLEM and NEW in finding.text] != []


def test_listing_of_both_shows_each_object_once_and_in_its_right_place(chain: Chain) -> None:
    """Page by page, however the pages fall; what has no right place is not seen."""
    old, new = [f"up/{number:02}" for number in range(7)], [f"clients/{number}/assets/{number}" for number in range(7)]
    for key in (*old, *new):
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
        assert sorted(seen) == sorted(old + new)
        if store.capabilities.ordered_listing:
            assert seen == sorted(seen)
    assert [info.key for info in store.list_page(prefix="up/", start_after="").objects] == old
    assert [info.key for info in store.list_page(prefix="clients/1/assets/", start_after="").objects] == new[1:2]


def test_what_arrives_in_another_bucket_is_what_arrives_in_the_same(chain: Chain, store_name: str) -> None:
    """Which docs/fidelity.md says of both directions, so of a rollback too: the probe sees the same on each way."""
    seen = seen_of(store_name, chain.bucket, chain.target)

    assert seen == seen_of(store_name, chain.bucket)
