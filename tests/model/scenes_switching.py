"""Schedules that begin with a message for the rename stage."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.model import beginnings
from tests.model.scenario import ANY, N, Scenario
from tests.model.transactions import UNDONE, UNKNOWN

if TYPE_CHECKING:
    from tests.model.parties import Parties


def _re_pointed(parties: Parties) -> None:
    parties.worker("rename")
    parties.worker("copy")
    parties.party("application", lambda: parties.re_point(1, "other/1.png", "another"))


def _row_removed(parties: Parties) -> None:
    parties.worker("rename")
    parties.worker("copy")
    parties.party("application", lambda: parties.delete_row(1))
    parties.time(31)


def _overwritten_before_switch(parties: Parties) -> None:
    parties.worker("rename")
    parties.worker("copy")
    parties.party("writer", lambda: parties.overwrite(1, 2))
    parties.time(2)


def _saved_back(parties: Parties) -> None:
    parties.worker("rename")
    parties.worker("delete")
    parties.party("application", lambda: parties.save_back(1))
    parties.hint("delete", 1)
    parties.time(61)


def _moved_client(parties: Parties) -> None:
    parties.worker("rename")
    parties.worker("copy")
    parties.party("application", lambda: parties.move_client(1, 8))


def _two_renamers(parties: Parties) -> None:
    parties.worker("rename", name="rename 1")
    parties.worker("rename", name="rename 2")
    parties.hint("rename", 1)
    parties.beat(ticks=1)
    parties.time(31)


def _unknown_commit(parties: Parties) -> None:
    parties.worker("rename")
    parties.worker("copy")
    parties.hint("rename", 1)
    parties.time(31)


def _rejected(parties: Parties) -> None:
    parties.worker("rename")
    parties.party("writer", lambda: parties.overwrite(1, 2))


def _headers_mended(parties: Parties) -> None:
    parties.worker("rename")
    parties.worker("copy")
    parties.worker("delete")
    parties.party("application", lambda: parties.mend(1))
    parties.time(61)


def _copy_swept(parties: Parties) -> None:
    parties.worker("rename")
    parties.worker("copy")
    parties.party("janitor", lambda: parties.sweep(N))


def _taken_down(parties: Parties) -> None:
    parties.worker("rename")
    parties.worker("copy")
    parties.party("application", lambda: parties.take_down(1))
    parties.time(6)


def _old_looks(parties: Parties) -> None:
    parties.worker("rename")
    parties.worker("copy")
    parties.party("writer", lambda: parties.overwrite(1, 2))
    parties.time(6, 6)


def _within(parties: Parties) -> None:
    parties.worker("rename")
    parties.party("application", lambda: parties.move_client(1, 8))
    parties.party("other service", lambda: parties.re_point(1, "other/1.png", "another"))


SCENARIOS = (
    Scenario(name="H20_row_changes_within_the_switch", stores=ANY, stage="rename", parties=_within, stepwise=True),
    Scenario(name="H3_looks_grow_old_before_the_switch", stores=ANY, stage="rename", parties=_old_looks),
    Scenario(name="H8_overwritten_before_the_switch", stores=ANY, stage="rename", parties=_overwritten_before_switch),
    Scenario(name="H9_re_pointed_before_the_switch", stage="rename", parties=_re_pointed),
    Scenario(name="H10_row_of_another_client_before_the_switch", stage="rename", parties=_moved_client),
    Scenario(name="H11_database_stores_another_key", stage="rename", parties=_rejected, before=beginnings.stubborn),
    Scenario(name="H14_row_saved_back", stores=ANY, stage="rename", parties=_saved_back),
    Scenario(name="H21_headers_mended", stores=ANY, stage="rename", parties=_headers_mended),
    Scenario(name="H22_copy_removed_before_the_switch", stage="rename", parties=_copy_swept),
    Scenario(name="H24_row_removed_before_the_switch", stores=ANY, stage="rename", parties=_row_removed),
    Scenario(name="H24_taken_down_before_the_switch", stores=ANY, stage="rename", parties=_taken_down),
    Scenario(name="H30_two_renamers", stores=ANY, stage="rename", parties=_two_renamers),
    Scenario(name="H30_fate_of_the_commit_unknown", stores=ANY, stage="rename", parties=_unknown_commit, commit_faults=(UNKNOWN, UNDONE)),
)
