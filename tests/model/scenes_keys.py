"""Schedules about keys: objects that several rows named and that go back to all of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.model import beginnings
from tests.model.scenario import ANY, N, O, Scenario

if TYPE_CHECKING:
    from tests.model.ground import Ground
    from tests.model.parties import Parties

OF_SECOND = "clients/8/assets/1.png"


def _shared_back(ground: Ground) -> None:
    """Rows 1 and 2 named one object; both were moved, and are taken back."""
    beginnings.sharing(ground)
    beginnings.rolling_back(ground)


def _shared_back_held(ground: Ground) -> None:
    """The same, and the object is still there."""
    beginnings.sharing(ground)
    beginnings.rolling_back_held(ground)


def _apart(ground: Ground) -> None:
    """The same, but the copy of row 2 has become another asset since."""
    beginnings.sharing(ground)
    beginnings.held(ground)
    ground.store.app_put(OF_SECOND, b"2.1")
    ground.truth.rows[2] = "2"
    ground.truth.living[b"2.1"] = OF_SECOND
    ground.later(100)
    beginnings.taken_back(ground)


def _apart_and_one_is_back(ground: Ground) -> None:
    """The same, when row 1 names the old key again."""
    _apart(ground)
    ground.seed()
    ground.do("copy", [1])
    ground.do("rename", [1])


def _two_copied_back(parties: Parties) -> None:
    parties.worker("copy", name="copy 1")
    parties.worker("copy", name="copy 2")
    parties.hint("copy", 2)
    parties.time(31)


def _second_goes_back(parties: Parties) -> None:
    parties.worker("copy")
    parties.worker("rename")
    parties.worker("delete")
    parties.hint("delete", 1)
    parties.time(61)


def _one_is_gone(parties: Parties) -> None:
    parties.worker("rename", name="rename 1")
    parties.worker("rename", name="rename 2")
    parties.hint("rename", 2)
    parties.party("application", lambda: parties.re_point(1, "up/other.png", "3"))


def _used_again(parties: Parties) -> None:
    parties.worker("copy")
    parties.worker("rename")
    parties.party("application", lambda: parties.new_row(9, O, "9"))
    parties.hint("rename", 1)


def _one_name(parties: Parties) -> None:
    parties.seed()
    parties.worker("copy", name="copy 1")
    parties.worker("copy", name="copy 2")
    parties.party("application", lambda: parties.re_point(2, "up/2/1.png", "3"))


def _own_names(parties: Parties) -> None:
    parties.worker("copy")
    parties.worker("rename")
    parties.party("application", lambda: parties.re_point(2, "up/2/1.png", "3"))


def _name_taken(parties: Parties) -> None:
    parties.worker("copy")
    parties.worker("rename")
    parties.party("application", lambda: parties.upload_late(9, N, "9"))
    parties.time(31)


SUFFIX = {"on_collision": "suffix"}
SCENARIOS = (
    Scenario(
        name="H25_one_new_key_and_a_suffix",
        stores=ANY,
        stage="seed",
        parties=_one_name,
        before=beginnings.same_name,
        settings=SUFFIX,
    ),
    Scenario(
        name="H25_suffix_and_a_re_pointed_row", stores=ANY, stage="copy", parties=_own_names, before=beginnings.same_name, settings=SUFFIX
    ),
    Scenario(name="H5_new_key_taken_and_a_suffix", stage="copy", parties=_name_taken, settings=SUFFIX),
    Scenario(name="H29_shared_object_taken_back", stage="copy", parties=_two_copied_back, before=_shared_back),
    Scenario(name="H29_shared_object_taken_back_while_held", stores=ANY, stage="copy", parties=_two_copied_back, before=_shared_back_held),
    Scenario(name="H29_shared_object_taken_back_apart", stage="copy", parties=_two_copied_back, before=_apart),
    Scenario(name="H29_shared_object_when_one_is_back", stage="copy", parties=_second_goes_back, before=_apart_and_one_is_back),
    Scenario(name="H29_shared_object_and_one_row_re_pointed", stores=ANY, stage="rename", parties=_one_is_gone, before=_shared_back),
    Scenario(name="H29_shared_old_key_used_again", stage="copy", parties=_used_again, before=_shared_back),
)
