"""Schedules that begin with a switched row, or shortly before."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.model import beginnings
from tests.model.ground import HELD_UP
from tests.model.scenario import ANY, O, Scenario

if TYPE_CHECKING:
    from tests.model.parties import Parties


def _late_writes(parties: Parties) -> None:
    parties.worker("rename")
    parties.worker("delete")
    parties.party("slow writer", lambda: parties.overwrite(1, 2))
    parties.party("fresh writer", lambda: parties.overwrite(1, 3))
    parties.hint("delete", 1)
    parties.time(31)


def _second_row(parties: Parties) -> None:
    parties.worker("rename")
    parties.worker("delete")
    parties.party("application", lambda: parties.second_row(1, 2))
    parties.hint("delete", 1)
    parties.time(59)


def _second_row_and_away(parties: Parties) -> None:
    parties.worker("delete")
    parties.hint("delete", 1)
    parties.party("application", lambda: parties.leave(2))
    parties.time(59, 2)


def _end_of_grace(parties: Parties) -> None:
    parties.worker("rename")
    parties.worker("delete")
    parties.hint("delete", 1, times=2)
    parties.time(6, 30)


def _two_deleters(parties: Parties) -> None:
    parties.worker("delete", name="delete 1")
    parties.worker("delete", name="delete 2")
    parties.time(31)


def _other_spelling(parties: Parties) -> None:
    parties.worker("rename")
    parties.worker("delete")
    parties.party("application", lambda: parties.second_row(1, 2, before="/"))
    parties.hint("delete", 1)
    parties.time(59)


def _held_up_delete(parties: Parties) -> None:
    parties.worker("delete", name="delete 1")
    parties.worker("delete", name="delete 2")
    parties.network()
    parties.beat(ticks=2)
    parties.party("application", lambda: parties.re_use(O, "9", 9, when="deleted"))
    parties.time(31)


def _clock_jumps(parties: Parties) -> None:
    parties.worker("rename")
    parties.worker("delete")
    parties.beat(ticks=1)
    parties.clock_jumps(7200)
    parties.time(6)


def _row_removed_after(parties: Parties) -> None:
    parties.worker("delete")
    parties.party("application", lambda: parties.delete_row(1))
    parties.hint("delete", 1)
    parties.time(61)


def _versions(parties: Parties) -> None:
    parties.worker("delete", name="delete 1")
    parties.worker("delete", name="delete 2")
    parties.party("writer", lambda: parties.overwrite(1, 2))
    parties.time(31)


ROW_1 = {"where": "id < 2"}
VERSIONED = {"versioning": True}
SCENARIOS = (
    Scenario(name="H1_late_writes", stores=ANY, stage="rename", parties=_late_writes),
    Scenario(
        name="H2_delete_outlives_its_lease",
        stores=ANY,
        stage="delete",
        parties=_held_up_delete,
        seconds=70,
        before=beginnings.two_assets,
        request_faults=(HELD_UP,),
    ),
    Scenario(name="H6_second_row_in_another_spelling", stage="rename", parties=_other_spelling, stores=("like_minio",)),
    Scenario(name="H7_versioned_bucket", stores=ANY, stage="delete", parties=_versions, seconds=70, differs=VERSIONED),
    Scenario(
        name="H13_two_deleters_of_a_shared_object", stores=ANY, stage="delete", parties=_two_deleters, before=beginnings.sharing, seconds=70
    ),
    Scenario(name="H16_end_of_the_grace", stores=ANY, stage="rename", parties=_end_of_grace),
    Scenario(name="H16_clock_jumps", stores=ANY, stage="rename", parties=_clock_jumps),
    Scenario(name="H24_row_removed_after_the_switch", stores=ANY, stage="delete", parties=_row_removed_after),
    Scenario(
        name="H29_second_row_and_away",
        stores=ANY,
        stage="delete",
        parties=_second_row_and_away,
        before=beginnings.sharing,
        settings={"where": "id < 2"},
    ),
    Scenario(name="H29_second_row_on_the_old_object", stores=ANY, stage="rename", parties=_second_row),
    Scenario(
        name="H31_journal_before_the_delete",
        stores=ANY,
        stage="delete",
        parties=_two_deleters,
        before=beginnings.sharing,
        seconds=70,
        settings={"journal": True},
    ),
)
