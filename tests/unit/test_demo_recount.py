"""The demonstration's recount: each kind of damage is found, and what the run says is compared with what is there."""

from __future__ import annotations

import hashlib
import time
from typing import TYPE_CHECKING

import pytest

from app.demo.recount import Recount, compare, examples_of_parked, recount
from app.demo.service import Asset, Found, Table, new_key, old_key, upload

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

LEDGER = "CREATE TABLE rekey_moves (id INTEGER PRIMARY KEY, row_id TEXT, old_key TEXT, new_key TEXT, state TEXT, reason TEXT, detail TEXT)"
LEFT = "INSERT INTO rekey_moves (old_key, new_key, state, detail) VALUES"
PARKED = "INSERT INTO rekey_moves (row_id, state, reason, detail) VALUES"


class Shop:
    """A service after its run: a table, a bucket in a dictionary, a ledger as far as the recount asks it, and the book."""

    def __init__(self, database: str) -> None:
        self.table = Table(database)
        self.table.create()
        self.table.select(LEDGER)
        self.objects: dict[str, tuple[bytes, str]] = {}
        self.assets: list[Asset] = []

    def put(self, key: str, body: bytes, content_type: str) -> None:
        """Upload."""
        self.objects[key] = (body, content_type)

    def get(self, key: str) -> Found | None:
        """What is there."""
        body, content_type = self.objects.get(key, (None, ""))
        return None if body is None else Found(digest=hashlib.sha256(body).digest(), content_type=content_type)

    def keys(self) -> set[str]:
        """All keys."""
        return set(self.objects)

    def add(self, number: int, *, moved: bool = True) -> Asset:
        """An asset that was moved whole (or not yet)."""
        asset = Asset(id=number, client=7, name=f"{number}.png", first_key=old_key(number, "a.png"))
        upload(self, asset, b"v1", "image/png", key=asset.first_key)
        asset.settled = True
        self.table.insert([(number, 7, asset.name, "image/png", asset.first_key)])
        self.assets.append(asset)
        if moved:
            self.objects[self.new_key(asset)] = self.objects.pop(asset.first_key)
            self.table.select(f"UPDATE client_assets SET object_key = '{self.new_key(asset)}' WHERE id = {number}")
        return asset

    def new_key(self, asset: Asset) -> str:
        """Where the asset goes."""
        return new_key(asset.client, asset.name)

    def remove(self, asset: Asset) -> None:
        """As the writer does."""
        asset.removed_at = time.monotonic()
        asset.removed_key = self.table.delete(asset.id)
        self.objects.pop(str(asset.removed_key))

    def recount(self) -> Recount:
        """Recount this shop."""
        return recount(self.table, self, self.assets)


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Shop]:
    """A service with one asset that was moved."""
    made = Shop(str(tmp_path / "shop.db"))
    made.add(1)
    yield made
    made.table.close()


def test_recount_finds_nothing_wrong_after_a_good_run(shop: Shop) -> None:
    """Moved, removed before and after the switch, replaced, and not moved at all."""
    replaced = shop.add(2)
    upload(shop, replaced, b"v2", "image/png", key=shop.new_key(replaced))
    shop.remove(shop.add(3))
    shop.remove(shop.add(4, moved=False))
    shop.add(5, moved=False)
    result = shop.recount()

    assert (result.lost_writes, result.wrong) == ([], [])
    assert (result.rows, result.objects, result.switched, result.deleted, result.left) == (3, 3, 3, 3, 0)


def test_recount_finds_a_lost_write(shop: Shop) -> None:
    """The version before stands where the newest should."""
    upload(shop, shop.assets[0], b"v2", "image/png", key="uploads/000001.png")
    shop.objects.pop("uploads/000001.png")
    result = shop.recount()

    assert result.lost_writes == [
        "asset 1 of client 7: other bytes or another content type at 'clients/7/assets/1.png' than were written last"
    ]
    assert result.wrong == []


def test_recount_finds_a_lost_addition(shop: Shop) -> None:
    """An asset that the service added is not there any more."""
    added = Asset(id=2, client=7, name="new.txt", first_key="clients/7/assets/new.txt", settled=True)
    upload(shop, added, b"new", "text/plain", key=added.first_key)
    shop.assets.append(added)

    assert shop.recount().lost_writes == ["asset 2 of client 7: its row is gone"]


def test_recount_finds_a_removed_asset_that_came_back(shop: Shop) -> None:
    """Its row, or its object."""
    asset = shop.assets[0]
    shop.remove(asset)
    shop.objects[str(asset.removed_key)] = (b"v1", "image/png")
    by_object = shop.recount().lost_writes
    shop.table.insert([(1, 7, asset.name, "image/png", str(asset.removed_key))])
    by_row = shop.recount().lost_writes

    assert by_object == ["asset 1 of client 7: it was removed, and there is an object 'clients/7/assets/1.png' again"]
    assert by_row == ["asset 1 of client 7: it was removed, and its row is there again"]


@pytest.mark.parametrize("there", [None, (b"other", "image/png"), (b"v1", "text/html")])
def test_recount_finds_an_asset_that_is_not_what_was_uploaded(shop: Shop, there: tuple[bytes, str] | None) -> None:
    """Gone, other bytes, another content type: damage, though no write of the live writer."""
    shop.objects = {"clients/7/assets/1.png": there} if there else {}
    result = shop.recount()

    assert (len(result.wrong), result.lost_writes) == (1, [])


def test_recount_finds_an_object_that_nobody_names(shop: Shop) -> None:
    """Unless the ledger says that it was left there."""
    shop.objects["uploads/000001.png"] = (b"v1", "image/png")
    before = shop.recount()
    shop.table.select(f"{LEFT} ('uploads/000001.png', 'clients/7/assets/1.png', 'kept', NULL)")
    after = shop.recount()

    assert before.wrong == ["no row names the object 'uploads/000001.png', and the ledger does not list it"]
    assert (after.wrong, after.left, after.deleted) == ([], 1, 0)


def test_recount_accepts_a_copy_that_the_ledger_lists(shop: Shop) -> None:
    """The row was gone, so the copy was left where it is."""
    shop.objects["clients/7/assets/9.png"] = (b"v1", "image/png")
    shop.table.select(f"{LEFT} ('o', 'clients/7/assets/9.png', 'deleted', 'the row is gone: our copy was left at x')")
    result = shop.recount()

    assert (result.wrong, result.left) == ([], 1)


def test_recount_finds_a_row_of_nobody(shop: Shop) -> None:
    """A row that the service did not write."""
    shop.objects["k"] = (b"?", "text/plain")
    shop.table.insert([(99, 7, "x", "text/plain", "k")])

    assert shop.recount().wrong == ["row 99 is nobody's"]


def test_compare_tells_where_the_report_differs() -> None:
    """Both numbers are in the line."""
    report = {"renamed": 3, "deleted": 2}

    assert compare(Recount(switched=3, deleted=2), report) == []
    assert compare(Recount(switched=2, deleted=2), report) == ["the report says 3 renamed, the recount 2"]


def test_examples_are_the_first_row_of_each_reason(shop: Shop) -> None:
    """With the ledger's words for it."""
    shop.table.select(f"{PARKED} ('[4]', 'parked', 'bad_name', 'it is NULL'), ('[5]', 'parked', 'bad_name', 'it is empty')")
    shop.table.select(f"{PARKED} ('[6]', 'parked', 'collision', 'twice'), ('[7]', 'deleted', NULL, NULL)")

    assert examples_of_parked(shop.table) == {"bad_name": "row 4: it is NULL", "collision": "row 6: twice"}


def test_recount_finds_a_foreign_object_that_changed(shop: Shop) -> None:
    """It is nobody's asset, and must be as it was."""
    foreign = Asset(id=0, client=7, name="f.png", first_key="clients/7/assets/f.png", settled=True)
    upload(shop, foreign, b"theirs", "text/plain", key=foreign.first_key)
    before = recount(shop.table, shop, shop.assets, foreign=[foreign])
    shop.objects[foreign.first_key] = (b"ours", "text/plain")
    after = recount(shop.table, shop, shop.assets, foreign=[foreign])

    assert (before.wrong, before.left) == ([], 0)
    assert after.wrong == ["the foreign object 'clients/7/assets/f.png' changed"]
