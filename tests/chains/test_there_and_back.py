"""Whole chains there and back, on real stores, under every key that went wrong for somebody: each asset has its own bytes, or is parked."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.chains.odd import NAMES, OLD_KEYS, UNBORN

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.chains.live import Chain

FOLDERS = {"trail/folder/", "trail/empty/", "trail/doubled//"}  # SeaweedFS keeps a folder of the name, and of its bytes nothing


def _body(number: int) -> bytes:
    return f"body {number}".encode()


def test_assets_under_odd_old_keys_go_there_and_back(make_chain: Callable[..., Chain]) -> None:
    """Each that the store holds moves and comes back; one that it does not hold is parked with its reason, and nothing else is touched."""
    chain = make_chain(name_column="title")
    for number, key in enumerate(OLD_KEYS, 1):
        chain.add(number, key, _body(number), title=f"{number}.txt")
    unmovable = set(chain.refused)
    if chain.store_name == "seaweed":
        unmovable |= {number for number, key in enumerate(OLD_KEYS, 1) if key in FOLDERS}
    before, named, uploads = chain.contents(), chain.keys(), chain.uploads()  # SeaweedFS shows .uploads/x.png as one
    read = {number: chain.get(key) for number, key in named.items()}

    chain.go()

    assert set(chain.reasons()) == unmovable
    assert set(chain.reasons().values()) <= {"bad_name", "too_long", "missing_source", "failed"}
    assert {chain.reasons()[number] for number in unmovable - chain.refused} <= {"failed"}
    expected = {number: named[number] if number in unmovable else f"clients/7/assets/{number}.txt" for number in named}
    assert chain.keys() == expected
    assert {number: chain.get(key) for number, key in chain.keys().items()} == read
    stay = {key: before[key] for key in before.keys() & {named[number].replace("//", "/") for number in unmovable}}
    assert chain.contents() == stay | {expected[number]: read[number] for number in named if number not in unmovable}
    chain.back()
    left = chain.reasons()
    assert {number: chain.get(key) for number, key in chain.keys().items()} == read
    assert {named[number]: reason for number, reason in left.items()} == (UNBORN if chain.store_name == "seaweed" else {})
    assert {number: key for number, key in chain.keys().items() if number not in left} == {n: k for n, k in named.items() if n not in left}
    if not left:
        assert chain.contents() == before
    assert chain.uploads() == uploads


@pytest.mark.parametrize("through", [False, True], ids=["by the store where it may", "through the worker and by parts"])
def test_assets_get_odd_new_keys_and_give_them_back(make_chain: Callable[..., Chain], through: bool) -> None:  # noqa: FBT001
    """Each name becomes its very own key, byte for byte, in a client's folder of its own; or is refused before anything is copied."""
    chain = make_chain(name_column="title", **({"inline_bytes": 3} if through else {}))
    for number, name in enumerate(NAMES, 1):
        chain.add(number, f"up/{number}", _body(number), client=number, title=name)
    named = chain.keys()

    chain.go()

    reasons = chain.reasons()
    expected = {number: f"up/{number}" if number in reasons else f"clients/{number}/assets/{NAMES[number - 1]}" for number in named}
    refused = {NAMES[number - 1] for number in reasons}
    assert refused == _refused(chain)
    assert chain.keys() == expected
    assert {number: chain.get(key) for number, key in expected.items()} == {number: _body(number) for number in named}
    assert sorted(chain.listed()) == sorted(expected.values())
    chain.back()
    assert chain.keys() == named
    assert chain.contents() == {key: _body(number) for number, key in named.items()}
    assert chain.uploads() == []


def _refused(chain: Chain) -> set[str]:
    """Names that make no key: for all stores, and for one that would take a backslash in it for a slash."""
    refused = {name for name in NAMES if "/" in name or name in {".", ".."} or not name.strip() or len(name.encode()) > 255}
    return refused | ({name for name in NAMES if "\\" in name} if chain.store_name == "seaweed" else set())
