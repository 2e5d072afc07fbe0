"""Schedules on which the application or the store breaks what is asked of it: nothing is destroyed outside the listed windows."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.model.choices import Bounds
from tests.model.ground import HELD_UP
from tests.model.scenario import N, O, Scenario, Window

if TYPE_CHECKING:
    from tests.model.parties import Parties


def _writes_too_late(parties: Parties) -> None:
    parties.worker("delete")
    parties.party("slow writer", lambda: parties.overwrite_at(O, "1.2", instead_of="1.1"))
    parties.hint("delete", 1)
    parties.time(20, 31)


def _names_it_too_late(parties: Parties) -> None:
    parties.worker("delete")
    parties.party("application", lambda: parties.point_at(1, O))
    parties.hint("delete", 1)
    parties.time(6, 31)


def _used_again(parties: Parties) -> None:
    parties.worker("delete")
    parties.party("application", lambda: parties.re_use(O, "9", 9))
    parties.hint("delete", 1)
    parties.time(6, 31)


def _used_again_row_much_later(parties: Parties) -> None:
    parties.worker("delete")
    parties.party("application", lambda: parties.re_use(O, "9", 9, in_time=False))
    parties.hint("delete", 1)
    parties.time(6, 31)


def _row_first(parties: Parties) -> None:
    parties.worker("delete")
    parties.party("application", lambda: parties.name_it(9, O, "9"), lambda: parties.overwrite_at(O, "9.1"))
    parties.hint("delete", 1)
    parties.time(31)


def _late_row(parties: Parties) -> None:
    parties.worker("copy")
    parties.worker("rename")
    parties.worker("delete")
    parties.party("application", lambda: parties.upload_late(2, N, "2"))
    parties.time(31, 61)


def _hidden(parties: Parties) -> None:
    parties.worker("rename")
    parties.worker("delete")
    parties.party("writer", lambda: parties.overwrite_at(O, "1.2", instead_of="1.1"))
    parties.hint("delete", 1)
    parties.time(61)


def _upload_meanwhile(parties: Parties) -> None:
    parties.worker("copy")
    parties.worker("rename")
    parties.party("stranger", lambda: parties.put(N, "stranger.1"))


def _carried_out_late(parties: Parties) -> None:
    parties.worker("delete")
    parties.network()
    parties.beat(ticks=1)
    parties.party("application", lambda: parties.re_use(O, "9", 9, when="deleted"))
    parties.time(31)


def _restored(parties: Parties) -> None:
    parties.worker("rename")
    parties.worker("delete")
    parties.restore()
    parties.hint("delete", 1)


def _restored_and_cancelled(parties: Parties) -> None:
    parties.worker("rename")
    parties.worker("delete")
    parties.restore()
    parties.operator("cancel")
    parties.hint("rename", 1)


SET_BACK = {"journal": True, "grace_seconds": 0}
KEEP = (
    "keep the grace longer than anything that is done with a key (A1); versioning on the bucket; a store that honours `If-Match` on deletes"
)
MINT = "give no key out again before its move is final (A2); versioning on the bucket; a store that honours `If-Match` on deletes"
SCENARIOS = (
    Scenario(
        name="A1_written_after_the_grace",
        stage="delete",
        parties=_writes_too_late,
        seconds=70,
        breaks="A1",
        window=Window(
            happens="a slow writer that read the old key before the switch uploads after the grace, between the last look and the delete",
            costs="the upload is deleted",
            closes=KEEP,
        ),
    ),
    Scenario(
        name="A1_named_after_the_grace",
        stage="delete",
        parties=_names_it_too_late,
        seconds=70,
        breaks="A1",
        window=Window(
            happens="a row that was loaded before the switch is saved whole after the grace, between the last look and the delete",
            costs="the row names a deleted object; its bytes are at the new key, and the move is parked as `conflict` (damage)",
            closes=KEEP,
        ),
    ),
    Scenario(
        name="A2_old_key_used_again",
        stage="delete",
        parties=_used_again,
        seconds=70,
        breaks="A2",
        window=Window(
            happens="a new asset is uploaded to the old key between the last look and the delete, its row comes later",
            costs="the upload is deleted",
            closes=MINT,
        ),
    ),
    Scenario(
        name="A2_old_key_used_again_row_first",
        stage="delete",
        parties=_row_first,
        seconds=70,
        breaks="A2",
        window=Window(
            happens="a new row names the old key between the last look and the delete, its upload comes later",
            costs="the new row names nothing until its upload comes, and an upload that comes before the delete is deleted",
            closes=MINT,
        ),
    ),
    Scenario(
        name="A2_A3_old_key_used_again_row_much_later",
        stage="delete",
        parties=_used_again_row_much_later,
        breaks="A2 and A3",
        any_store=True,
        window=Window(
            happens="soon after the switch a new asset is uploaded to the old key, and its row comes later than `REKEY_SETTLE_SECONDS`",
            costs="the upload passes for a late write of the asset that was moved, and is copied over its object (on every store)",
            closes="keep A2 or A3: either is enough; versioning on the bucket",
        ),
    ),
    Scenario(name="A3_row_long_after_its_upload", stage="copy", parties=_late_row, breaks="A3"),
    Scenario(
        name="A4_written_through_a_hidden_reference",
        stage="rename",
        parties=_hidden,
        breaks="A4",
        window=Window(
            happens="somebody writes to the old key by a reference that the tool does not know, between the last look and the delete",
            costs="that write is deleted",
            closes="name the column in `REKEY_REFERENCES` (A4); versioning on the bucket; a store that honours `If-Match` on deletes",
        ),
    ),
    Scenario(
        name="S3_upload_while_the_operator_vouches",
        stage="copy",
        parties=_upload_meanwhile,
        settings={"copy_mode": "server"},
        breaks="REKEY_COPY=server",
        stores=("like_minio",),
        window=Window(
            happens="with `REKEY_COPY=server`, an object is uploaded to a new key between the look at it and the copy",
            costs="the upload is overwritten",
            closes="`REKEY_COPY=auto` (the default): the copy is refused then",
        ),
    ),
    Scenario(
        name="H2_store_carries_out_late",
        stage="delete",
        parties=_carried_out_late,
        seconds=70,
        breaks="the store's expiry",
        request_faults=(HELD_UP,),
        differs={"query_signed_expiry": False},
        window=Window(
            happens="the store carries out a delete long after it had to refuse it, and the key was given to a new asset meanwhile",
            costs="the new asset's object is deleted",
            closes="versioning on the bucket; a store that honours `If-Match` on deletes",
        ),
    ),
    Scenario(
        name="H15_database_restored",
        stage="rename",
        parties=_restored,
        breaks="workers run while the database is restored",
        settings=SET_BACK,
        bounds=Bounds(faults=0),
        window=Window(
            happens="the database is restored while workers run, between the last look at an old object and its delete",
            costs="the restored row names a deleted object; its bytes are at the new key, where `rekey verify --repair` finds them",
            closes="stop the workers before you restore; a store that honours `If-Match` on deletes puts it back",
        ),
    ),
    Scenario(
        name="H15_database_restored_and_the_run_cancelled",
        stage="rename",
        parties=_restored_and_cancelled,
        breaks="workers run while the database is restored, and the run is cancelled",
        settings=SET_BACK,
        bounds=Bounds(faults=0),
        window=Window(
            happens="the same, and the restored run is cancelled while that delete is still under way",
            costs="the same: the copy is left, since the journal says that its original may go, and is listed",
            closes="the same, and `REKEY_JOURNAL` (without it the copy can go too: wait for `REKEY_LEASE_SECONDS` as well)",
        ),
    ),
)
