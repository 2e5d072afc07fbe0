"""Schedules on which deletes are to wait: for what a canary has seen; and on which they go first: on a store that is full."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.model import beginnings
from tests.model.choices import Bounds
from tests.model.scenario import ANY, Scenario

if TYPE_CHECKING:
    from tests.model.parties import Parties


def _canary_and_deletes(parties: Parties) -> None:
    parties.worker("delete")
    parties.beat(ticks=1)
    parties.hint("delete", 1)
    parties.time(6)


def _canary_misses(parties: Parties) -> None:
    parties.gone(2)
    parties.worker("delete")
    parties.beat(ticks=1)
    parties.time(6)


def _full(parties: Parties) -> None:
    parties.worker("delete")
    parties.party("uploader", lambda: parties.put("elsewhere/9.png", "9.1"))
    parties.time(31)


def _full_while_copied(parties: Parties) -> None:
    parties.worker("copy")
    parties.worker("rename")
    parties.worker("delete")
    parties.hint("copy", 2)


def _two_seeds(parties: Parties) -> None:
    parties.seed(name="seed 1")
    parties.seed(name="seed 2")
    parties.hint("seed")
    parties.time(2)


NO_FAULTS = Bounds(faults=0)  # those of seeds, deletes and ticks are in H13, H16, H25 and H28
AT_ONCE = {"journal": True, "grace_seconds": 0}
SCENARIOS = (
    Scenario(
        name="H17_paused_by_a_canary",
        stores=ANY,
        stage="delete",
        seconds=70,
        parties=_canary_and_deletes,
        before=beginnings.closed,
        settings={"canary_reads": 4},
    ),
    Scenario(
        name="H24_taken_down_and_missed_by_a_canary",
        stores=ANY,
        stage="delete",
        seconds=70,
        bounds=NO_FAULTS,
        parties=_canary_misses,
        before=beginnings.two_assets,
        settings={"canary_reads": 4},
    ),
    Scenario(
        name="H15_full_store_takes_no_journal",
        stores=ANY,
        stage="delete",
        seconds=70,
        parties=_full,
        before=beginnings.full,
        settings={"journal": True},
        differs={"room": 5},
    ),
    Scenario(
        name="H15_full_store_while_copied",
        stores=ANY,
        stage="copy",
        parties=_full_while_copied,
        before=beginnings.full,
        settings=AT_ONCE,
        differs={"room": 4},
    ),
    Scenario(
        name="H15_two_seeds_and_the_mark",
        stores=ANY,
        stage="seed",
        bounds=NO_FAULTS,
        parties=_two_seeds,
        before=beginnings.marked,
        settings={"journal": True},
        differs={"room": 9},
    ),
)
