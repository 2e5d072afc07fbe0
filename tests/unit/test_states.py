"""The states and every arrow between them."""

from __future__ import annotations

from itertools import product

import pytest

from app.states import FINAL_STATES, LIVE_RUN_STATES, OPEN_STATES, TRANSITIONS, MoveState, ParkedReason, RunState, can_go

LEGAL = {
    "planned": {"copied", "planned", "in_place", "parked", "superseded", "cancelled"},
    "copied": {"planned", "renamed", "in_place", "parked", "superseded", "cancelled", "rolled_back"},
    "renamed": {"deleted", "copied", "planned", "kept", "parked", "rolled_back"},
    "parked": {"planned", "copied", "renamed", "rolled_back"},
    "kept": {"renamed", "rolled_back"},
    "deleted": {"rolled_back"},
    "in_place": set(),
    "superseded": set(),
    "cancelled": set(),
    "rolled_back": set(),
}


@pytest.mark.parametrize(("state", "to"), list(product(MoveState, MoveState)))
def test_can_go_allows_the_contracts_arrows_and_no_others(state: MoveState, to: MoveState) -> None:
    """Every pair is either an arrow of the contract or refused."""
    assert (to.value in LEGAL[state.value]) == can_go(state, to)


def test_every_arrow_says_when_it_happens() -> None:
    """Each arrow has one sentence of its own."""
    assert [sentence for sentence in TRANSITIONS.values() if not sentence.endswith(".") or len(sentence.split()) < 4] == []


def test_open_and_final_states_share_out_all_states() -> None:
    """A state is either open or an end: the report's sum leaves no row out."""
    assert set(MoveState) == OPEN_STATES | FINAL_STATES
    assert not OPEN_STATES & FINAL_STATES
    assert {"planned", "copied", "renamed"} == {state.value for state in OPEN_STATES}


def test_parked_reasons_are_the_closed_list_of_the_contract() -> None:
    """The reasons that the report counts by."""
    expected = ["missing_source", "target_exists", "collision", "bad_name", "too_long", "denied", "locked", "archived", "encrypted"]
    expected += ["fidelity", "conflict", "rejected", "changed_too_often", "failed"]

    assert expected == [reason.value for reason in ParkedReason]


def test_live_runs_are_those_that_may_go_on() -> None:
    """A paused run still holds its bucket and table: a second run is refused (H32)."""
    assert {RunState.RUNNING, RunState.PAUSED} == LIVE_RUN_STATES
