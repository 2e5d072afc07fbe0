"""Which rows a run takes, and in which steps."""

from __future__ import annotations

import itertools

import pytest

from app.cli.choosing import chosen_steps
from app.errors import UsageError
from app.ladder import MILLION, Step, in_sample, share_of, steps_of

ROWS = [f"[{number}]" for number in range(1, 20_001)]


def test_sample_is_the_same_each_time_and_part_of_every_larger_one() -> None:
    """By the id alone: a seed that begins anew, with pages of other sizes, chooses the same rows."""
    small, large = ({row for row in ROWS if in_sample(row, share=share)} for share in (10_000, 50_000))

    assert small == {row for row in reversed(ROWS) if in_sample(row, share=10_000)}
    assert small < large
    assert 150 < len(small) < 250
    assert 900 < len(large) < 1100
    assert all(in_sample(row, share=MILLION) for row in ROWS)


def test_sample_is_spread_over_the_table() -> None:
    """Neighbours are as old as each other: a sample of them would show one sort of assets alone."""
    found = [number for number, row in enumerate(ROWS) if in_sample(row, share=10_000)]

    assert max(later - earlier for earlier, later in itertools.pairwise(found)) < len(ROWS) // 10


@pytest.mark.parametrize(("text", "share"), [("1%", 10_000), ("0.5 %", 5_000), ("100", MILLION), (" 2.5%", 25_000)])
def test_share_is_in_per_cent(text: str, share: int) -> None:
    """With the sign or without it."""
    assert share_of(text) == share


@pytest.mark.parametrize("text", ["", "0%", "101%", "-1%", "one", "1/100", "0.00001%", "1e2"])
def test_what_is_no_share_is_refused(text: str) -> None:
    """With what to give instead."""
    with pytest.raises(UsageError, match="give a share in per cent"):
        share_of(text)


def test_ladder_goes_from_one_row_to_all() -> None:
    """One row, the client that it is of, a sample, then everything; each in words."""
    assert list(map(str, steps_of(Step(), ladder=True))) == ["1 row", "one client", "1 % of the rows", "all rows"]
    assert str(steps_of(Step(), ladder=True)[1].named("7")) == "all rows of client 7"


def test_ladder_stays_within_what_is_chosen() -> None:
    """Of one client there is no step for one client, and of half a per cent none for one."""
    mine = steps_of(Step(clients=("7",)), ladder=True)
    few = steps_of(Step(sample=5_000), ladder=True)

    assert list(map(str, mine)) == ["1 row of client 7", "1 % of the rows of client 7", "all rows of client 7"]
    assert [step.sample for step in few] == [5_000, 5_000, 5_000]
    assert few[-1] == Step(sample=5_000)


@pytest.mark.parametrize(
    ("flags", "why"), [({"is_auto": True}, "--auto goes with --ladder"), ({"ladder": True, "limit": 5}, "leave --limit out")]
)
def test_flags_that_do_not_go_together_are_refused(flags: dict[str, object], why: str) -> None:
    """Before anything is asked for."""
    plain: dict[str, object] = {"limit": None, "clients": (), "sample": None, "ladder": False, "is_auto": False}
    with pytest.raises(UsageError, match=why):
        chosen_steps(**(plain | flags))  # type: ignore[arg-type] # as the flags have it
    assert chosen_steps(**plain) == ()  # type: ignore[arg-type] # all rows at once


def test_step_is_kept_as_it_is() -> None:
    """In the ledger."""
    for step in (*steps_of(Step(clients=("7", "8")), ladder=True), Step(limit=3, sample=1)):
        assert Step.from_record(step.to_record()) == step
