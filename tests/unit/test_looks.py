"""Looks at many keys: the same answers as HEADs, at less cost where keys lie close together."""

from __future__ import annotations

import random
import string
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.errors import BadKeyError, DeniedError, EncryptedError, MissingObjectError, StoreUnavailableError
from app.look_costs import CHEAPEST, DEAREST, LISTED_COST, MOST_KINS, PAGE_COST, Costs
from app.looks import AT_ONCE, LOOK_SECONDS, MAX_AGE_SECONDS, WASTE, before, look
from app.object_store import ListedPage, ObjectInfo, PageAsked
from app.testing import Behaviour, Fault, InMemoryStore, ManualClock

LETTERS = "abAB019._-"


def _store(names: list[str] | range, *, behaviour: Behaviour | None = None) -> InMemoryStore:
    store = InMemoryStore(behaviour or Behaviour())
    for name in names:
        store.app_put(str(name), str(name).encode())
    return store


def _by_heads(store: InMemoryStore, keys: list[str]) -> dict[str, ObjectInfo | None]:
    found: dict[str, ObjectInfo | None] = {}
    for key in keys:
        try:
            found[key] = replace(store.stat(key), version_id=None)
        except MissingObjectError:
            found[key] = None
    return found


def _counts(store: InMemoryStore) -> tuple[int, int]:
    names = [name for name, _ in store.calls]
    return names.count("list_page"), names.count("stat")


_keys = st.lists(st.text(LETTERS, min_size=1, max_size=4), min_size=1, max_size=3).map("/".join)


@settings(max_examples=300, deadline=None)
@given(
    there=st.sets(_keys, max_size=60),
    asked=st.lists(_keys, max_size=60),
    versioned=st.booleans(),
    hides=st.booleans(),
    ordered=st.booleans(),
)
def test_look_finds_what_heads_find(there: set[str], asked: list[str], versioned: bool, hides: bool, ordered: bool) -> None:  # noqa: FBT001
    """Whatever lies beside the keys and between them, nothing present is taken for absent, nor the other way about."""
    store = _store(sorted(there), behaviour=Behaviour(versioning=versioned, lists_below_objects=not hides, ordered_listing=ordered))

    looks = look(store, asked, clock=store.clock)

    assert {key: info and replace(info, version_id=None) for key, info in looks.found.items()} == _by_heads(store, asked)
    assert looks.failed == {}


@settings(max_examples=50, deadline=None)
@given(seed=st.integers(0, 10_000), asked=st.integers(1, 400), neighbours=st.integers(0, 3000))
def test_look_costs_at_most_half_more_than_heads(seed: int, asked: int, neighbours: int) -> None:
    """Where a listing does not pay the look notices in time, whatever the bucket looks like."""
    chance = random.Random(seed)
    keys = [f"f{chance.randrange(5)}/{''.join(chance.choices(string.ascii_lowercase, k=6))}" for _ in range(asked + neighbours)]
    store = _store(keys)
    listed = 0
    inner = store.list_page

    def counting(*, prefix: str, start_after: str, delimiter: str = "/", limit: int = 1000) -> ListedPage:
        nonlocal listed
        page = inner(prefix=prefix, start_after=start_after, delimiter=delimiter, limit=limit)
        listed += len(page.objects)
        return page

    store.list_page = counting  # type: ignore[method-assign]
    wanted = chance.sample(keys, asked)
    look(store, wanted, clock=store.clock)
    pages, heads = _counts(store)

    assert pages * PAGE_COST + listed * LISTED_COST + heads <= len(set(wanted)) * (1 + WASTE) + PAGE_COST


def test_look_takes_one_page_for_neighbours() -> None:
    """A thousand neighbours cost one request."""
    store = _store([f"up/{number:06}.png" for number in range(5000)])
    keys = [f"up/{number:06}.png" for number in range(2000, 3000)]

    looks = look(store, keys, clock=store.clock)

    assert _counts(store) == (1, 0)
    assert [info.key for info in looks.found.values() if info is not None] == keys


def test_look_takes_one_page_for_absent_keys_of_an_empty_folder() -> None:
    """Where nothing is, a page says so for all keys at once."""
    store = _store(["clients/8/assets/x"])
    keys = [f"clients/7/assets/{number}.png" for number in range(50)]

    looks = look(store, keys, clock=store.clock)

    assert _counts(store) == (1, 0)
    assert looks.found == dict.fromkeys(keys)


def test_look_sees_what_a_listing_hides_below_an_object() -> None:
    """MinIO's listing of a folder whose name is an object's is empty; what the page lacks is asked for one by one (case 3)."""
    keys = [f"up/doc/{number}.png" for number in range(50)]
    store = _store(["up/doc", *keys], behaviour=Behaviour(lists_below_objects=False))

    looks = look(store, [*keys, "up/doc/absent.png"], clock=store.clock)

    assert [info.key for info in looks.found.values() if info is not None] == keys
    assert looks.found["up/doc/absent.png"] is None


@pytest.mark.parametrize(("places", "rounds"), [(15, 1), (0, 7)])
def test_look_asks_about_the_folders_above_its_keys_together(places: int, rounds: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """One after the other they were most of the round trips of a look at new keys; without room for more requests they still are."""
    store = _store(["clients/8"], behaviour=Behaviour(lists_below_objects=False))
    keys = [f"clients/{client}/assets/{number}.png" for client in (7, 8, 9) for number in range(50)]
    asked: list[list[str]] = []
    ahead = store.look_ahead

    def noted(names: Sequence[str], *, attributes: bool = False) -> int:
        if names:
            asked.append([name for name in names if name.count("/") < 3])
        return ahead(names, attributes=attributes)

    monkeypatch.setattr(store, "look_ahead", noted)
    looks = look(store, keys, clock=store.clock, borrow=Places(places))
    above = [key for name, key in store.calls if name == "stat" and key.count("/") < 3]

    assert looks.found == dict.fromkeys(keys)
    assert sorted(above) == sorted({"clients", *(f"clients/{client}{rest}" for client in (7, 8, 9) for rest in ("", "/assets"))})
    assert (len([names for names in asked if names]) or len(above)) == rounds


def test_absent_key_is_as_old_as_the_look_at_the_folders_above_it() -> None:
    """Those may have been asked about before its own page."""
    store = _store([], behaviour=Behaviour(lists_below_objects=False))
    keys = [f"clients/{client}/{number}.png" for client in (7, 8) for number in range(50)]
    asked_at: list[float] = []

    def passes(name: str, _key: str) -> None:
        store.clock.advance(0.2)
        if name == "stat":
            asked_at.append(store.clock.boot())

    store.on_call = passes
    looks = look(store, keys, clock=store.clock, borrow=Places(15))

    assert looks.found == dict.fromkeys(keys)
    assert len(asked_at) == 3
    assert max(looks.sent_at.values()) <= asked_at[0]


def test_look_asks_once_whether_a_folder_is_an_object() -> None:
    """Where it is none, a page says of absent keys that they are absent."""
    store = _store(["other"], behaviour=Behaviour(lists_below_objects=False))
    keys = [f"clients/7/assets/{number}.png" for number in range(50)]

    looks = look(store, keys, clock=store.clock)

    assert _counts(store) == (1, len(["clients", "clients/7", "clients/7/assets"]))
    assert looks.found == dict.fromkeys(keys)


def test_look_relies_on_no_page_where_the_folder_itself_may_not_be_looked_at() -> None:
    """Neither present nor absent: the keys are asked for one by one."""
    keys = [f"up/{number}" for number in range(50)]
    store = _store(keys[:25], behaviour=Behaviour(lists_below_objects=False))
    store.faults.add(Fault.refuse(DeniedError), on="stat", key="up")

    looks = look(store, keys, clock=store.clock)

    assert sum(info is not None for info in looks.found.values()) == 25
    assert _counts(store)[1] == 51


def test_look_lists_dense_folders_though_another_one_is_not() -> None:
    """The old keys of a batch lie far apart in a large folder, its new ones side by side."""
    old = [f"up/{number:05}" for number in range(0, 4000, 20)]
    new = [f"clients/{client}/assets/{number}.png" for client in range(5) for number in range(40)]
    store = _store([f"up/{number:05}" for number in range(4000)])
    look(store, [*old, *new], clock=store.clock)
    folders = [key for name, key in store.calls if name == "list_page"]

    assert [folder for folder in folders if folder != "up/"] == [f"clients/{client}/assets/" for client in range(5)]
    assert not [key for name, key in store.calls if name == "stat" and key.startswith("clients/0/assets/")]


def test_look_takes_one_page_for_every_second_of_few_keys() -> None:
    """What many tasks get done at about the same time has gaps; one larger page costs less than a second one."""
    store = _store([f"up/{number:06}.png" for number in range(5000)])
    keys = [f"up/{number:06}.png" for number in range(2000, 2040, 2)]

    looks = look(store, keys, clock=store.clock)

    assert _counts(store) == (1, 0)
    assert all(looks.found.values())


def test_look_starts_past_elder_siblings() -> None:
    """Numbers without an extension have their tens listed before them; a page does not begin there."""
    store = _store([f"a/1{number:05}" for number in range(5000)] + [f"a/2{number}" for number in range(20)])
    keys = [f"a/2{number}" for number in range(20)]

    looks = look(store, keys, clock=store.clock)

    assert _counts(store) == (1, 0)
    assert all(looks.found.values())


def test_look_takes_heads_for_few_and_for_scattered_keys() -> None:
    """A page for a handful, or for every hundredth object, costs more than it saves."""
    store = _store([f"up/{number:06}" for number in range(20_000)])
    look(store, [f"up/{number:06}" for number in range(4)], clock=store.clock)
    few = _counts(store)
    store.calls.clear()
    look(store, [f"up/{number:06}" for number in range(0, 20_000, 100)], clock=store.clock)

    assert few == (0, 4)
    assert _counts(store)[0] <= 2


@pytest.mark.parametrize(
    "key", ["a/b c", "a/é", "/a/b", "a//b", "a/./b", "a/../b", "./a", "../a", ".", "a/..", "a/", "a\\b", "a+b", "", "a/\n"]
)
def test_look_takes_heads_for_odd_keys(key: str) -> None:
    """A listing may show such a key under another name, or not at all."""
    store = _store([])
    look(store, [key, *(f"a/{number}" for number in range(50))], clock=store.clock)

    assert [called for called in store.calls if called[0] == "stat"] == [("stat", key)]


@pytest.mark.parametrize("behaviour", [Behaviour(ordered_listing=False, ordered_folders=False), Behaviour(folds_case=True)])
def test_look_takes_heads_where_listings_prove_nothing(behaviour: Behaviour) -> None:
    """A store that lists folder by folder, or under folded names, is asked key by key."""
    store = _store([f"a/{number}" for number in range(50)], behaviour=behaviour)
    look(store, [f"a/{number}" for number in range(50)], clock=store.clock)

    assert _counts(store) == (0, 50)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda page: replace(page, objects=list(reversed(page.objects))),
        lambda page: replace(page, objects=[page.objects[0], *page.objects]),
        lambda page: replace(page, objects=[replace(page.objects[0], key="a/!"), *page.objects[1:]]),
        lambda page: replace(page, objects=[*page.objects[:-1], replace(page.objects[-1], key="b/z")]),
    ],
)
def test_look_does_not_believe_a_page_that_breaks_the_order(spoil: Callable[[ListedPage], ListedPage]) -> None:
    """A page out of order, from before its start or of another folder is no check: HEADs are."""
    store = _store([f"a/{number:02}" for number in range(50)])
    inner = store.list_page
    store.list_page = lambda **asked: spoil(inner(**asked))  # type: ignore[method-assign]
    keys = [f"a/{number:02}" for number in range(50)]

    looks = look(store, keys, clock=store.clock)

    assert _counts(store) == (1, 50)
    assert looks.found == _by_heads(store, keys)


def test_look_by_folders_covers_no_key_behind_a_folder_that_ends_the_page() -> None:
    """SeaweedFS shows the folder `a/` before `a-1`: a page that ends with it says nothing of that key."""
    names = [f"x/b{number:02}" for number in range(20)] + ["x/a-1", "x/a/deeper"]
    store = _store(names, behaviour=Behaviour(ordered_listing=False))
    pages: list[ListedPage] = []
    inner = store.list_page

    def cut(*, prefix: str, start_after: str, delimiter: str = "/", limit: int = 1000) -> ListedPage:
        start, most = (start_after, limit) if pages else ("x/", 1)
        pages.append(inner(prefix=prefix, start_after=start, delimiter=delimiter, limit=most))
        return pages[-1]

    store.list_page = cut  # type: ignore[method-assign]
    looks = look(store, names[:21], clock=store.clock)

    assert (pages[0].objects, pages[0].truncated, pages[0].last) == ([], True, "x/a/")
    assert all(looks.found[name] is not None for name in names[:21])


@pytest.mark.parametrize("last", [None, "a/00"])
def test_look_takes_a_key_for_absent_only_where_the_page_covers_it(last: str | None) -> None:
    """A truncated page says nothing of the keys behind its last entry."""
    store = _store([f"a/{number:02}" for number in range(50)])
    store.list_page = lambda **_: ListedPage(objects=[], truncated=True, last=last)  # type: ignore[method-assign]
    keys = [f"a/{number:02}" for number in range(1, 50)]

    looks = look(store, keys, clock=store.clock)

    assert None not in looks.found.values()


def test_look_takes_heads_where_listing_is_denied() -> None:
    """A policy without the right to list is no reason to fail (CASES 15), and is not tried folder by folder."""
    store = _store([f"{folder}/{number}" for folder in "abc" for number in range(20)])
    store.faults.add(Fault.refuse(DeniedError), on="list_page", times=None)
    keys = [f"{folder}/{number}" for folder in "abc" for number in range(20)]

    looks = look(store, keys, clock=store.clock)

    assert _counts(store) == (1, 60)
    assert all(looks.found.values())


def test_look_keeps_what_a_store_says_of_one_key_apart() -> None:
    """A key that may not be seen is neither present nor absent, and the others are looked at."""
    store = _store(["a", "b", "c"])
    store.faults.add(Fault.refuse(DeniedError), on="stat", key="a")
    store.faults.add(Fault.refuse(EncryptedError), on="stat", key="b")

    looks = look(store, ["a", "b", "c", "d", ""], clock=store.clock)

    assert {key: type(error) for key, error in looks.failed.items()} == {"a": DeniedError, "b": EncryptedError, "": BadKeyError}
    assert looks.found == {"c": store.stat("c"), "d": None}


def test_look_ends_with_an_outage() -> None:
    """Nothing can be said, so nothing is."""
    store = _store(["a"])
    store.faults.add(Fault.slow_down(), on="stat")

    with pytest.raises(StoreUnavailableError):
        look(store, ["a"], clock=store.clock)


def test_look_sends_nothing_more_when_its_time_is_over() -> None:
    """The keys left are in no mapping and not fresh; all that was seen can still be relied on. Keys come in the caller's order."""
    clock = ManualClock()
    store = InMemoryStore(clock=clock, on_call=lambda *_: clock.advance(1.0))

    looks = look(store, ["d", "b", "a", "c"], clock=clock)

    assert list(looks.found) == ["d", "b", "a"]
    assert [looks.fresh(key) for key in "dbac"] == [True, True, True, False]
    assert LOOK_SECONDS < MAX_AGE_SECONDS


def test_look_sends_at_least_one_request() -> None:
    """However slow the store, some key is looked at, so that a caller who comes back gets on."""
    clock = ManualClock()
    store = InMemoryStore(clock=clock, on_call=lambda *_: clock.advance(60.0))

    assert len(look(store, ["a", "b"], clock=clock, seconds=0).found) == 1


def test_look_is_as_old_as_its_request() -> None:
    """The age counts from the sending: what happened on the way is not seen (H3)."""
    clock = ManualClock()
    store = InMemoryStore(clock=clock, on_call=lambda *_: clock.advance(2.0))
    looks = look(store, ["a"], clock=clock)

    assert looks.age("a") == 2.0
    clock.advance(MAX_AGE_SECONDS - 2.0)
    assert looks.fresh("a")
    clock.advance(0.1)
    assert not looks.fresh("a")


@given(st.text(LETTERS, min_size=1, max_size=5).map("a/".__add__), st.text(LETTERS, min_size=1, max_size=5).map("a/".__add__))
def test_before_lies_between_a_key_and_its_elders(key: str, other: str) -> None:
    """The start sorts before the key, after every usual key of the folder that is less, and in the same folder."""
    start = before(key)

    assert "a/" <= start < key
    assert not start < other < key
    assert "/" not in start.removeprefix("a/")


def test_look_keeps_what_it_saw_before_a_request_failed() -> None:
    """So that a batch of hundreds of looks gets on where one request in a hundred fails; whoever has used it is told."""
    store = _store(["a b", "c d", "e f"])
    store.faults.add(Fault.slow_down(), on="stat", skip=2)

    looks = look(store, ["a b", "c d", "e f"], clock=store.clock)

    assert set(looks.found) == set(looks.sent_at) == {"a b", "c d"}
    with pytest.raises(StoreUnavailableError):
        looks.complain()


def test_look_in_which_all_went_well_has_nothing_to_complain_of() -> None:
    """Nothing is raised."""
    store = _store(["a b"])

    looks = look(store, ["a b"], clock=store.clock)
    looks.complain()

    assert looks.trouble == []


class Places:
    """Gives places for so many more requests, and notes who asked for how many and what came back."""

    def __init__(self, more: int) -> None:
        self.more, self.out, self.asked = more, 0, list[int]()

    @contextmanager
    def __call__(self, wanted: int) -> Iterator[int]:
        """As ``app.looks.Borrow``."""
        self.asked.append(wanted)
        self.out += 1
        yield min(wanted, self.more)
        self.out -= 1


@pytest.mark.parametrize("attributes", [False, True])
def test_look_has_as_many_heads_under_way_as_there_are_places(monkeypatch: pytest.MonkeyPatch, *, attributes: bool) -> None:
    """In the order of the keys, and as old as the first of those that were sent together."""
    store = _store([f"{number}/x" for number in range(0, 40, 2)])
    keys = [f"{number}/x" for number in range(40)]
    together: list[Sequence[str]] = []
    ahead = store.look_ahead

    def look_ahead(keys: Sequence[str], *, attributes: bool = False) -> int:
        if keys:
            together.append(keys)
            store.clock.advance(0.1)
        return ahead(keys, attributes=attributes)

    monkeypatch.setattr(store, "look_ahead", look_ahead)
    places = Places(3)
    start = store.clock.boot()
    looks = look(store, keys, clock=store.clock, attributes=keys if attributes else (), borrow=places)

    assert together == [keys[at : at + 4] for at in range(0, 40, 4)]
    assert max(places.asked) == AT_ONCE - 1
    assert places.out == 0
    assert {key: info is not None for key, info in looks.found.items()} == {f"{number}/x": number % 2 == 0 for number in range(40)}
    assert len(looks.read) == (20 if attributes else 0)
    assert [looks.sent_at[key] - start for key in keys] == pytest.approx([number // 4 * 0.1 for number in range(40)])


@pytest.mark.parametrize("begun", [0, 1, 2])
def test_look_goes_on_with_what_could_be_sent(monkeypatch: pytest.MonkeyPatch, begun: int) -> None:
    """A store to which no more connections lead is asked for what is left by the next round, and for one key at least."""
    store = _store(["a", "c"])
    asked: list[Sequence[str]] = []
    ahead = store.look_ahead

    def look_ahead(keys: Sequence[str], *, attributes: bool = False) -> int:
        asked.extend([keys] if keys else [])
        return ahead(keys[:begun], attributes=attributes)

    monkeypatch.setattr(store, "look_ahead", look_ahead)
    looks = look(store, ["a", "b", "c"], clock=store.clock, borrow=Places(3))

    assert {key: info is not None for key, info in looks.found.items()} == {"a": True, "b": False, "c": True}
    assert asked == [["a", "b", "c"], ["b", "c"]] if begun < 2 else [["a", "b", "c"]]
    assert [key for _, key in store.calls] == ["a", "b", "c"]


def test_look_that_ends_early_leaves_no_answer_behind() -> None:
    """A later look would take it for news."""
    store = _store(["a", "b"])
    store.faults.add(Fault.slow_down(), on="stat", key="b")
    looks = look(store, ["a", "b", "c"], clock=store.clock, borrow=Places(3))
    store.app_put("c", b"there by now")

    assert (list(looks.found), len(looks.trouble)) == (["a"], 1)
    assert store.stat("c").size == len(b"there by now")


def test_look_waits_for_no_answers_that_would_be_too_old(monkeypatch: pytest.MonkeyPatch) -> None:
    """A store that refuses each request a few times makes those behind it wait."""
    store = _store([f"{number}/x" for number in range(20)])
    stat = store.stat

    def slow(key: str) -> ObjectInfo:
        store.clock.advance(1.5)
        return stat(key)

    monkeypatch.setattr(store, "stat", slow)
    looks = look(store, [f"{number}/x" for number in range(20)], clock=store.clock, borrow=Places(15))
    store.app_put("9/x", b"there by now")

    assert list(looks.found) == [f"{number}/x" for number in range(4)]
    assert stat("9/x").size == len(b"there by now")


def test_costs_are_learned_from_what_was_sent() -> None:
    """A guess before, and within bounds after: one slow answer says little."""
    costs, here, there = Costs(), ("up/", 1), ("clients/", 3)
    assert costs.listed(here) == LISTED_COST
    costs.of_page(here, 1.0, keys=1000)  # nothing to compare it with
    assert costs.listed(here) == LISTED_COST
    costs.of_heads(0.016, keys=16)
    costs.of_page(here, 0.003 + 0.05, keys=1000)
    assert costs.listed(here) == pytest.approx(1 / 20)
    for _ in range(50):
        costs.of_page(here, 5.0, keys=1000)
    assert (costs.listed(here), costs.listed(there)) == (DEAREST, LISTED_COST)
    for _ in range(50):
        costs.of_page(there, 0.001, keys=1000)
    assert costs.listed(there) == CHEAPEST


def test_dear_page_is_tried_again_some_time() -> None:
    """It was one slow answer, perhaps."""
    costs, here = Costs(), ("up/", 1)
    costs.of_heads(0.001, keys=1)
    costs.of_page(here, 10.0, keys=1000)
    assert costs.listed(here) == DEAREST
    for _ in range(300):
        costs.of_none(here)

    assert costs.listed(here) < 2 * LISTED_COST


def test_costs_keep_a_bounded_number_of_folders() -> None:
    """Each client may have a top folder of its own."""
    costs = Costs()
    costs.of_heads(0.001, keys=1)
    for client in range(5 * MOST_KINS):
        costs.of_page((f"{client}/", 1), 0.02, keys=10)

    assert len(costs._listed) <= MOST_KINS


@pytest.mark.parametrize(("listed", "pages"), [(0.02, True), (0.2, False)])
def test_look_lists_a_sparse_folder_where_the_store_lists_cheaply(listed: float, *, pages: bool) -> None:
    """Each tenth object is asked about."""
    store = _store([f"up/{number:05}" for number in range(4000)])
    costs = Costs()
    keys = [f"up/{number:05}" for number in range(0, 4000, 10)]
    stat, list_page = store.stat, store.list_page

    def slow_stat(key: str) -> ObjectInfo:
        store.clock.advance(0.0001)
        return stat(key)

    def slow_page(*, prefix: str, start_after: str, delimiter: str = "/", limit: int = 1000) -> ListedPage:
        store.clock.advance(0.0003 + limit * listed * 0.0001)
        return list_page(prefix=prefix, start_after=start_after, delimiter=delimiter, limit=limit)

    store.stat, store.list_page = slow_stat, slow_page  # type: ignore[method-assign]
    for _ in range(10):
        look(store, keys, clock=store.clock, costs=costs)
    store.calls.clear()
    look(store, keys, clock=store.clock, costs=costs)
    listings, heads = _counts(store)

    assert (heads < 40) == pages
    assert listings >= 1


FOLDERS = [f"in/{number:02}" for number in range(30)]
IN_FOLDERS = [f"{folder}/{name}" for folder in FOLDERS for name in ("a", "b", "c", "d", "e", "f", "g", "h")]


def _pages_sent(store: InMemoryStore, monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """The folders whose pages were asked for together, each time."""
    together: list[list[str]] = []
    ahead = store.list_ahead

    def list_ahead(pages: Sequence[PageAsked]) -> int:
        if pages:
            together.append([page.prefix for page in pages])
            store.clock.advance(0.1)
        return ahead(pages)

    monkeypatch.setattr(store, "list_ahead", list_ahead)
    return together


def test_look_has_as_many_pages_under_way_as_there_are_places(monkeypatch: pytest.MonkeyPatch) -> None:
    """A far store answers them at once. The first folder is listed alone: it tells how many names the others are worth asking for."""
    store = _store(IN_FOLDERS)
    together = _pages_sent(store, monkeypatch)
    places = Places(8)
    looks = look(store, [*IN_FOLDERS, "in/00/none"], clock=store.clock, borrow=places)

    assert together == [[f"{folder}/" for folder in FOLDERS[at : at + 9]] for at in (1, 10, 19)] + [["in/28/", "in/29/"]]
    assert max(places.asked) == AT_ONCE - 1
    assert places.out == 0
    assert {key for key, info in looks.found.items() if info is None} == {"in/00/none"}
    assert len(looks.found) == len(IN_FOLDERS) + 1
    assert _counts(store) == (len(FOLDERS), 0)


def test_pages_are_as_old_as_their_sending(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not as the moment in which they were read (S4)."""
    store = _store(IN_FOLDERS)
    _pages_sent(store, monkeypatch)
    list_page = store.list_page

    def slow_page(**asked: Any) -> ListedPage:  # noqa: ANN401 - as the port's
        store.clock.advance(0.01)
        return list_page(**asked)

    monkeypatch.setattr(store, "list_page", slow_page)
    start = store.clock.boot()
    looks = look(store, IN_FOLDERS, clock=store.clock, borrow=Places(9))
    sent = sorted({looks.sent_at[key] - start for key in IN_FOLDERS})

    assert sent == pytest.approx([0, 0.01, 0.01 + 0.1 + 0.1, 0.01 + 0.4])


def test_pages_are_asked_for_one_by_one_where_there_is_no_place(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a machine that is busy."""
    store = _store(IN_FOLDERS)
    together = _pages_sent(store, monkeypatch)
    looks = look(store, IN_FOLDERS, clock=store.clock, borrow=Places(0))

    assert (together, len(looks.found)) == ([], len(IN_FOLDERS))


@pytest.mark.parametrize("begun", [0, 1, 2])
def test_look_goes_on_with_what_pages_could_be_sent(monkeypatch: pytest.MonkeyPatch, begun: int) -> None:
    """Where no more connections lead to the store, or only some of the folders lie in one bucket."""
    store = _store(IN_FOLDERS)
    ahead = store.list_ahead
    monkeypatch.setattr(store, "list_ahead", lambda pages: ahead(pages[:begun]))
    looks = look(store, IN_FOLDERS, clock=store.clock, borrow=Places(9))

    assert len(looks.found) == len(IN_FOLDERS)
    assert _counts(store) == (len(FOLDERS), 0)


def test_pages_under_way_waste_no_more_than_one_after_the_other(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each must pay though all of those before it should turn out to be in vain."""
    store = _store([f"{folder}/{number:03}" for folder in FOLDERS for number in range(400)])
    keys = [f"{folder}/{number:03}" for folder in FOLDERS for number in range(0, 400, 40)]
    together = _pages_sent(store, monkeypatch)
    looks = look(store, keys, clock=store.clock, borrow=Places(15))
    listed = sum(len(page) for page in together)

    assert len(looks.found) == len(keys)
    assert listed * PAGE_COST <= WASTE * len(keys)


def test_look_that_ends_early_leaves_no_page_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    """A later look would take it for news."""
    store = _store(IN_FOLDERS)
    _pages_sent(store, monkeypatch)
    list_page = store.list_page

    def refuse(*, prefix: str, **asked: Any) -> ListedPage:  # noqa: ANN401 - as the port's
        if prefix == "in/02/":
            raise StoreUnavailableError("slow down")
        return list_page(prefix=prefix, **asked)

    monkeypatch.setattr(store, "list_page", refuse)
    looks = look(store, IN_FOLDERS, clock=store.clock, borrow=Places(5))
    store.app_put("in/03/a", b"there by now, and longer")
    page = list_page(prefix="in/03/", start_after=before("in/03/a"), limit=8)

    assert len(looks.trouble) == 1
    assert page.objects[0].size == len(b"there by now, and longer")
