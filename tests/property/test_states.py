"""Properties of the table of transitions that hold for any walk along it."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from app.states import FINAL_STATES, OPEN_STATES, TRANSITIONS, MoveState, can_go

# What the operator starts: retry, purge and rollback are the only ways on from an end.
OPERATOR = {MoveState.PARKED, MoveState.KEPT, MoveState.DELETED}


@st.composite
def walks(draw: st.DrawFn) -> list[MoveState]:
    """Up to twelve arrows, from the state that every move starts in; retry goes back to the state it was parked in."""
    walk = [MoveState.PLANNED]
    for _ in range(draw(st.integers(0, 12))):
        ways = sorted(to for state, to in TRANSITIONS if state == walk[-1])
        if walk[-1] == MoveState.PARKED:
            ways = [walk[-2], MoveState.ROLLED_BACK]
        if not ways:
            break
        walk.append(draw(st.sampled_from(ways)))
    return walk


@given(walk=walks())
def test_walk_deletes_only_after_copy_and_switch(walk: list[MoveState]) -> None:
    """No order of events reaches ``deleted`` without ``copied`` and ``renamed`` before it."""
    if MoveState.DELETED in walk:
        before = walk[: walk.index(MoveState.DELETED)]
        assert before[-1] == MoveState.RENAMED
        assert MoveState.COPIED in before


@given(walk=walks())
def test_walk_never_leaves_an_end_but_by_the_operator(walk: list[MoveState]) -> None:
    """An end stays an end, unless the operator asks for retry, purge or rollback."""
    left = {state for state in walk[:-1] if state in FINAL_STATES}

    assert left <= OPERATOR


@given(state=st.sampled_from(MoveState), to=st.sampled_from(MoveState))
def test_end_is_reachable_from_every_open_state(state: MoveState, to: MoveState) -> None:
    """From wherever a move stands it can end, so that a run can end (S9)."""
    if state in OPEN_STATES:
        assert any(can_go(state, end) for end in FINAL_STATES)
    if can_go(state, to):
        assert state not in {MoveState.SUPERSEDED, MoveState.CANCELLED, MoveState.IN_PLACE, MoveState.ROLLED_BACK}
