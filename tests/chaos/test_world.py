"""The worlds of the rounds, and whether the recount would see what goes wrong in them."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from tests.chaos.book import Book, Living, Version
from tests.chaos.plan import PARTS, PLAIN, TWINS, TWO_BUCKETS, WORLDS, any_of
from tests.chaos.verdict import Recount
from tests.chaos.world import BothBuckets
from tests.servers import S3Server

COUNT = 120


def _recount(rows: dict[int, str], objects: set[str], book: Book, moves: list[tuple[object, ...]] | None = None) -> Recount:
    service: Any = SimpleNamespace(
        table=SimpleNamespace(keys=lambda: rows), bucket=SimpleNamespace(keys=lambda: objects, get=lambda _key: None)
    )
    evidence: Any = SimpleNamespace(ask=lambda question: (moves or []) if "rekey_moves" in question else [("left.png",)])
    return Recount(service, book, evidence)


def test_every_world_is_played_on_both_stores() -> None:
    """By some seed."""
    plans = [any_of(seed) for seed in range(0, 80, 4)]

    assert {(plan.store, WORLDS.index(plan.world)) for plan in plans} == {(s, w) for s in ("minio", "seaweed") for w in range(len(WORLDS))}


def test_twins_want_one_name_of_one_client() -> None:
    """Under old keys of their own."""
    assets = TWINS.assets(COUNT)
    wanted = [one.new_key for one in assets]

    assert len(set(wanted)) < COUNT == len({one.old_key for one in assets})
    assert len({(one.client, one.new_key) for one in assets}) == len(set(wanted))
    assert len({one.new_key for one in PLAIN.assets(COUNT)}) == COUNT


@pytest.mark.parametrize(
    ("key", "shares_name", "is_new"),
    [
        ("clients/2/assets/file-1.bin", False, True),
        ("clients/2/assets/file-1-0123456789.bin", False, False),
        ("clients/2/assets/file-1-0123456789.bin", True, True),
        ("clients/2/assets/file-2-0123456789.bin", True, False),
        ("clients/2/assets/file-1-0123.bin", True, False),
        ("file-1.bin", True, False),
        (None, True, False),
    ],
)
def test_new_key_has_a_suffix_only_where_the_name_is_shared(key: str | None, shares_name: bool, is_new: bool) -> None:  # noqa: FBT001
    """And is of the asset's own name."""
    assert Living(PLAIN.assets(1)[0], shares_name=shares_name).has_new(key) is is_new


def test_recount_sees_what_a_copy_by_parts_has_lost() -> None:
    """An asset with a checksum that was moved is a finding; parked for it, it is none, and any other one parked so is."""
    assets = PARTS.assets(COUNT)
    fragile = [one for one in assets if PARTS.is_fragile(one)]
    book = Book(assets, fragile=fragile)
    rows = {one.id: one.new_key for one in assets}
    stay = {one.id: one.old_key for one in fragile}
    parked = [(f"[{one.id}]", "parked", "planned", "fidelity", "", one.old_key, one.new_key) for one in (fragile[0], assets[0])]

    assert assets[0] not in fragile
    assert len(_recount(rows, set(rows.values()), book).lost_attributes()) == len(fragile)
    assert _recount(rows | stay, set(), book, parked).lost_attributes() == []
    assert [one.split(" was")[0] for one in _recount(rows | stay, set(), book, parked).other_parked()] == [f"asset {assets[0].id}"]
    assert _recount(rows, set(), book).unfinished() == ["an upload of 'left.png' was left"]


def test_recount_foresees_a_conflict_only_where_the_service_wrote_at_both_keys() -> None:
    """A late write whose copy was not answered, and a write to the new key after it; one such write alone explains nothing."""
    assets = PARTS.assets(3)
    book = Book(assets)
    for one, keys in zip(book.living, (("old", "new"), ("old",), ("new",)), strict=True):
        one.versions += [Version(content=one.asset.content, key=getattr(one.asset, f"{key}_key"), answered_at=1.0) for key in keys]
    detail = "old and new object both changed after the switch"
    parked = [(f"[{one.id}]", "parked", "renamed", "conflict", detail, one.old_key, one.new_key) for one in assets]

    found = _recount({one.id: one.new_key for one in assets}, set(), book, parked).other_parked()
    assert [one.split(" was")[0] for one in found] == ["asset 2", "asset 3"]


def test_object_in_the_wrong_bucket_is_one_that_nobody_knows(minio: S3Server) -> None:
    """Shown with the bucket that it lies in; reads and writes go to the right one."""
    both = BothBuckets(minio, ("world-old", "world-new"))
    asset = TWO_BUCKETS.assets(1)[0]
    for bucket in (both, both.target):
        bucket.make()
    for key in (asset.old_key, asset.new_key):
        both.put(key, asset.content)
    both.target.put("astray", asset.content)
    seen, read = both.keys(), [both.get(key) for key in (asset.old_key, asset.new_key, "astray")]
    both.remove(asset.new_key)
    left = both.target.keys()
    both.close()

    assert seen == {asset.old_key, asset.new_key, "world-new: astray"}
    assert read == [asset.content, asset.content, None]
    assert left == {"astray"}
