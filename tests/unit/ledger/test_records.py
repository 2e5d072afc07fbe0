"""Moves and outcomes as the program has them."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import pytest

from app.errors import UsageError
from app.ledger.leases import LeaseLedger
from app.ledger.moves import check_arrow
from app.ledger.records import Lease, Move
from app.object_store import ObjectInfo
from app.states import TRANSITIONS, MoveState
from app.testing import ManualClock
from tests.builders import World

if TYPE_CHECKING:
    from pathlib import Path

COPY = ObjectInfo(key="new", etag="e" * 32, size=3, last_modified=100)
MOVE = Move(
    run_no=1,
    id=1,
    row_id="[1]",
    client="7",
    generation=1,
    old_key="old",
    new_key="new",
    old_hash=b"o" * 32,
    new_hash=b"n" * 32,
    state=MoveState.COPIED,
    copy=COPY,
)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({}, True),
        ({"last_modified": 99}, True),  # a PUT's answer tells a bound
        ({"last_modified": 101}, False),  # written since, perhaps with other headers (M7)
        ({"etag": "f" * 32}, False),
        ({"size": 4}, False),
        ({"version_id": "v1"}, True),  # one of the two has none
    ],
)
def test_copy_is_ours_by_content_and_time(change: dict[str, object], expected: bool) -> None:  # noqa: FBT001
    """Nothing younger, nothing different."""
    assert MOVE.is_our_copy(dataclasses.replace(COPY, **change)) is expected  # type: ignore[arg-type]


def test_versions_decide_where_both_have_one() -> None:
    """Whatever the times say."""
    move = MOVE._replace(copy=dataclasses.replace(COPY, version_id="v1"))

    assert move.is_our_copy(dataclasses.replace(COPY, version_id="v1", last_modified=500))
    assert not move.is_our_copy(dataclasses.replace(COPY, version_id="v2"))
    assert not MOVE._replace(copy=None).is_our_copy(COPY)


@pytest.mark.parametrize("state", MoveState)
@pytest.mark.parametrize("to", MoveState)
def test_only_the_arrows_of_the_contract_are_recorded(state: MoveState, to: MoveState) -> None:
    """A fault of ours, found before the ledger is wrong."""
    before, after = MOVE._replace(state=state), MOVE._replace(state=to)
    if state is to or (state, to) in TRANSITIONS:
        check_arrow(before, after)
        return
    with pytest.raises(ValueError, match=f"no arrow from {state} to {to}"):
        check_arrow(before, after)


def test_nothing_to_give_back_is_no_statement(tmp_path: Path) -> None:
    """Also for a lease that nobody of this process holds."""
    world = World(tmp_path)
    ledger = LeaseLedger(world.engine, hint_seconds=60)
    lease = Lease(token="unknown", ends_at=1e9, clock=ManualClock())
    ledger.release(lease, [])
    ledger.give_up(lease, due_in=0)

    assert lease.remaining() < 0


def test_id_of_a_type_that_cannot_be_kept_is_refused_by_the_settings_name(tmp_path: Path) -> None:
    """One line for the operator instead of a seed that fails again and again."""
    world = World(tmp_path, table="CREATE TABLE assets (id TIME PRIMARY KEY, client_id INTEGER, object_key TEXT)")
    world.sql("INSERT INTO assets VALUES ('10:00:00.000000', 7, 'up/1.png')")

    with pytest.raises(UsageError, match="REKEY_ID_COLUMN: a row id cannot be of type time"):
        world.seed()
