"""Proof of a copy by reading it (case 8)."""

from __future__ import annotations

import dataclasses

import pytest

from app import copy_proof
from app.byte_budget import ByteBudget
from app.copy_proof import compare_bytes, see_readable
from app.copying import Copied
from app.errors import DeniedError, MissingObjectError, ProofError, StoreUnavailableError
from app.testing import Fault, InMemoryStore
from tests.keepers import PlainKeeper

BODY = b"0123456789"


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch) -> InMemoryStore:
    """An object and its copy, to be read in three blocks."""
    monkeypatch.setattr(copy_proof, "BLOCK_BYTES", 4)
    made = InMemoryStore()
    made.app_put("old", BODY)
    made.app_put("new", BODY)
    return made


def _compare(store: InMemoryStore, *, keeper: PlainKeeper | None = None, budget: ByteBudget | None = None) -> None:
    copied = Copied(source=store.stat("old"), copy=store.stat("new"))
    compare_bytes(store, copied, keeper=keeper or PlainKeeper(), budget=budget or ByteBudget())


def test_equal_bytes_are_read_block_by_block(store: InMemoryStore) -> None:
    """Two blocks are held at a time, whatever the size, and the lease is looked after before each."""
    budget = ByteBudget()
    held: list[int] = []
    kept: list[int] = []
    honest = store.read_range

    def noting(*args: object, **more: object) -> bytes:
        found = honest(*args, **more)  # type: ignore[arg-type]
        held.append(budget.held)
        return found

    store.read_range = noting  # type: ignore[method-assign]
    _compare(store, keeper=PlainKeeper(on_keep=lambda: kept.append(len(held))), budget=budget)

    assert held == [4, 8, 4, 8, 2, 4]
    assert (kept, budget.held) == ([0, 2, 4], 0)


@pytest.mark.parametrize("body", [b"X123456789", b"012345678X", b"0123X56789"])
def test_other_bytes_are_no_copy(store: InMemoryStore, body: bytes) -> None:
    """Wherever they differ."""
    store.app_put("new", body)
    with pytest.raises(ProofError, match="its bytes are not those of its source"):
        _compare(store)


def test_copy_that_changes_while_it_is_read_is_none(store: InMemoryStore) -> None:
    """The ETag pins it."""
    keeper = PlainKeeper(on_keep=lambda: store.app_put("new", b"another one"))
    with pytest.raises(ProofError, match="was changed"):
        _compare(store, keeper=keeper)


@pytest.mark.parametrize("then", ["changed", "gone"])
def test_source_that_changes_meanwhile_is_left_to_the_look_before_the_switch(store: InMemoryStore, then: str) -> None:
    """It will be copied again, and compared again."""
    ends = {"changed": lambda: store.app_put("old", b"another one"), "gone": lambda: store.app_delete("old")}
    _compare(store, keeper=PlainKeeper(on_keep=ends[then]))

    assert [name for name, key in store.calls if name == "read_range" and key == "new"] == []


def test_copy_that_cannot_be_read_says_so(store: InMemoryStore) -> None:
    """A HEAD finds it, a GET does not (case 8)."""
    copy = store.stat("new")
    see_readable(store, copy)
    store.faults.add(Fault.refuse(DeniedError), on="read", times=2)
    with pytest.raises(DeniedError):
        see_readable(store, copy)
    with pytest.raises(DeniedError):
        _compare(store)
    store.faults.add(Fault.slow_down(), on="read_range", skip=3)
    with pytest.raises(StoreUnavailableError):
        _compare(store)
    with pytest.raises(ProofError, match="another object"):
        see_readable(store, dataclasses.replace(copy, size=0))
    store.app_delete("new")
    with pytest.raises(MissingObjectError):
        see_readable(store, copy)


def test_empty_object_and_one_whose_source_is_gone_are_only_seen_to_be_readable(store: InMemoryStore) -> None:
    """There is nothing to compare."""
    store.app_put("old", b"")
    store.app_put("new", b"")
    _compare(store)
    compare_bytes(store, Copied(source=None, copy=store.stat("new")), keeper=PlainKeeper(), budget=ByteBudget())

    assert "read_range" not in dict(store.calls)
    assert [key for name, key in store.calls if name == "read"] == ["new", "new"]
