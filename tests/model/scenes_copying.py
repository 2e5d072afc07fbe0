"""Schedules that begin with a message for the copy stage."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.model import beginnings
from tests.model.ground import HELD_UP
from tests.model.scenario import ANY, N, Scenario

if TYPE_CHECKING:
    from tests.model.parties import Parties


def _two_copiers(parties: Parties) -> None:
    parties.worker("copy", name="copy 1")
    parties.worker("copy", name="copy 2")
    parties.worker("rename")
    parties.party("writer", lambda: parties.overwrite(1, 2))
    parties.time(31)


def _delayed_copy(parties: Parties) -> None:
    parties.worker("copy")
    parties.worker("rename")
    parties.network()
    parties.hint("copy", 1)
    parties.time(31)
    parties.party("writer", lambda: parties.overwrite(1, 2))


def _upload_to_new_key(parties: Parties) -> None:
    parties.worker("copy")
    parties.worker("rename")
    parties.party("stranger", lambda: parties.put(N, "stranger.1"))


def _row_at_new_key(parties: Parties) -> None:
    parties.worker("copy")
    parties.worker("rename")
    parties.worker("delete")
    parties.party("application", lambda: parties.new_row(2, N, "2"))


def _chain_moves(parties: Parties) -> None:
    parties.worker("copy")
    parties.worker("rename")
    parties.worker("delete")
    parties.hint("copy", 1, 2)
    parties.time(61)


def _equal_upload(parties: Parties) -> None:
    def upload() -> None:
        if parties.put(N, "1.1"):
            parties.name_it(2, N, "1")
            parties.turn_into(2, "2")

    parties.worker("copy")
    parties.worker("rename")
    parties.party("application", upload)
    parties.time(5)


def _waits_for_its_upload(parties: Parties) -> None:
    parties.worker("copy")
    parties.party("application", lambda: parties.take_down(1))
    parties.time(6, 31)
    parties.hint("copy", 1)


def _in_two_spellings(parties: Parties) -> None:
    parties.worker("copy")
    parties.worker("rename")
    parties.worker("delete")
    parties.hint("delete", 1, 2)
    parties.time(61)


def _swapped(parties: Parties) -> None:
    parties.worker("copy")
    parties.worker("rename")
    parties.party("application", lambda: parties.swap(1, 2))


def _row_long_there(parties: Parties) -> None:
    def upload() -> None:
        parties.put(N, "2.1")
        parties.ground.truth.rows[2] = "2"

    parties.worker("copy")
    parties.worker("rename")
    parties.party("application", upload)
    parties.time(6)


def _twin(parties: Parties) -> None:
    parties.worker("copy")
    parties.worker("rename")
    parties.party("uploader", lambda: parties.twin(2, N, "1.1"))


def _twin_and_overwritten(parties: Parties) -> None:
    _twin(parties)
    parties.party("writer", lambda: parties.overwrite(1, 2))


def _twin_and_cancelled(parties: Parties) -> None:
    _twin(parties)
    parties.operator("cancel")
    parties.hint("copy", 1)


def _twin_and_re_pointed(parties: Parties) -> None:
    _twin(parties)
    parties.party("application", lambda: parties.re_point(1, "other/1.png", "another"))


def _twin_that_changes(parties: Parties) -> None:
    def upload() -> None:
        if parties.twin(2, N, "1.1"):
            parties.turn_into(2, "2")

    parties.worker("copy")
    parties.worker("rename")
    parties.party("uploader", upload)
    parties.time(31)


def _vouched(parties: Parties) -> None:
    parties.worker("copy")
    parties.worker("rename")
    parties.party("writer", lambda: parties.overwrite(1, 2))


def _rolled(parties: Parties) -> None:
    parties.worker("copy")
    parties.worker("rename")
    parties.hint("copy", 1, 2)
    parties.party("writer", lambda: parties.overwrite(1, 2))


ONE = ("conditional",)  # what goes over an equal upload on either is in the first of these
SCENARIOS = (
    Scenario(name="H2_copy_outlives_its_lease", stage="copy", parties=_delayed_copy, request_faults=(HELD_UP,)),
    Scenario(name="H4_upload_to_the_new_key", stage="copy", parties=_upload_to_new_key),
    Scenario(name="H5_row_on_the_new_key_before_its_upload", stage="copy", parties=_row_at_new_key),
    Scenario(
        name="H5_row_on_the_new_key_long_before_its_upload",
        stage="copy",
        parties=_row_long_there,
        before=beginnings.upload_to_come,
        settings={"where": "id < 2"},
    ),
    Scenario(
        name="H12_equal_upload_and_a_worker_that_died",
        stage="none",
        parties=_twin_and_overwritten,
        before=beginnings.died_before_copy,
    ),
    Scenario(
        name="H12_equal_upload_that_changes",
        stores=ONE,
        stage="none",
        parties=_twin_that_changes,
        before=beginnings.died_before_copy,
    ),
    Scenario(
        name="H12_equal_upload_and_the_run_cancelled",
        stores=ONE,
        stage="none",
        parties=_twin_and_cancelled,
        before=beginnings.died_before_copy,
    ),
    Scenario(
        name="H12_equal_upload_and_re_pointed",
        stores=ONE,
        stage="none",
        parties=_twin_and_re_pointed,
        before=beginnings.died_before_copy,
    ),
    Scenario(
        name="H6_object_under_two_spellings",
        stage="copy",
        parties=_in_two_spellings,
        before=beginnings.other_spelling,
        stores=("like_minio",),
    ),
    Scenario(name="H9_keys_swapped_while_copied", stage="copy", parties=_swapped, before=beginnings.two_assets),
    Scenario(name="H12_two_copiers_and_a_crash", stage="copy", parties=_two_copiers),
    Scenario(name="H12_equal_upload_to_the_new_key", stage="copy", parties=_equal_upload),
    Scenario(name="H19_chain", stage="copy", parties=_chain_moves, before=beginnings.chain),
    Scenario(name="H24_taken_down_before_the_copy", stores=ANY, stage="copy", parties=_waits_for_its_upload),
    Scenario(name="S3_copy_arrives_cut", stage="copy", parties=_vouched, differs={"cuts": True}),
    Scenario(
        name="S3_copied_by_the_store_on_the_operators_word",
        stage="copy",
        parties=_vouched,
        settings={"copy_mode": "server"},
        differs={"takes_snowballs": False},
    ),
    Scenario(
        name="S3_in_a_snowball_on_the_operators_word",
        stage="copy",
        parties=_rolled,
        before=beginnings.two_assets,
        settings={"copy_mode": "server"},
        stores=("like_minio",),
    ),
    Scenario(
        name="H12_snowball_and_two_copiers",
        stage="copy",
        parties=_two_copiers,
        settings={"copy_mode": "server"},
        stores=("like_minio",),
    ),
    Scenario(
        name="H2_snowball_outlives_its_lease",
        stage="copy",
        parties=_delayed_copy,
        settings={"copy_mode": "server"},
        request_faults=(HELD_UP,),
        stores=("like_minio",),
    ),
)
