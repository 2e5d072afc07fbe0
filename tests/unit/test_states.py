"""The states and every arrow between them."""

from __future__ import annotations

from itertools import product

import pytest

from app.states import FINAL_STATES, OPEN_STATES, RELEASABLE, TRANSITIONS, KeptReason, MoveState, ParkedReason, can_go

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


def test_what_may_be_released_is_what_nobody_lays_claim_to() -> None:
    """An old object that a row names, or that no copy replaces, is not let go by a command."""
    assert {KeptReason.NAMED, KeptReason.UNPROVED} == frozenset(KeptReason) - RELEASABLE
