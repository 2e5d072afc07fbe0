"""From a row to a plan, and what of odd values gets into the ledger."""

from __future__ import annotations

import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.assets import AssetRow
from app.object_keys import Equivalence, Template
from app.planning import LONGEST_KEPT, Rules, printable
from app.states import ParkedReason

FOLDING = Equivalence(folds_leading_slash=True)


def _rules(*, named: bool = False, equivalence: Equivalence = Equivalence()) -> Rules:  # noqa: B008 - frozen
    template = Template.parse("clients/{client_id}/assets/{file_name}", named=named)
    return Rules(bucket="bucket", template=template, equivalence=equivalence)


def _row(key: object, *, client: object = 7, name: object = None) -> AssetRow:
    return AssetRow(id=(1,), row_id="[1]", client=client, key=key, name=name, columns={})


def test_row_is_planned_to_its_new_key() -> None:
    """Old and new key, and the names of both objects in the ledger."""
    plan = _rules().plan(_row("up/a.png"))

    assert (plan.old_key, plan.new_key, plan.client, plan.in_place, plan.reason) == ("up/a.png", "clients/7/assets/a.png", "7", False, None)
    assert plan.old_hash == _rules().hash_of("up/a.png") != plan.new_hash
    assert len(plan.old_hash) == 32


def test_row_that_has_the_form_for_its_client_is_in_place_and_for_another_client_is_not() -> None:
    """The key of client 7 in a row of client 8 is moved (H10)."""
    assert _rules().plan(_row("clients/7/assets/a.png")).in_place
    assert not _rules().plan(_row("clients/7/assets/a.png", client=8)).in_place
    assert _rules(named=True).plan(_row("clients/7/assets/a.png", name="clients/7/assets/b.png")).in_place


def test_spellings_of_one_object_have_one_name_where_the_store_folds_them() -> None:
    """The ledger's uniqueness goes by objects, not by texts (H6)."""
    assert _rules(equivalence=FOLDING).hash_of("/a") == _rules(equivalence=FOLDING).hash_of("a")
    assert _rules().hash_of("/a") != _rules().hash_of("a")


@pytest.mark.parametrize(
    ("key", "client", "reason"),
    [
        (None, 7, ParkedReason.BAD_NAME),
        ("up/..", 7, ParkedReason.BAD_NAME),
        ("up/a", "../8", ParkedReason.BAD_NAME),
        ("up/a", None, ParkedReason.BAD_NAME),
        (b"up/a", 7, ParkedReason.BAD_NAME),
        ("up/" + "a" * 256, 7, ParkedReason.TOO_LONG),
        ("a" * 1025, 7, ParkedReason.TOO_LONG),
        ("up/a", "c" * 300, ParkedReason.TOO_LONG),
    ],
)
def test_row_that_cannot_be_moved_has_its_reason(key: object, client: object, reason: ParkedReason) -> None:
    """And no new key that anything could act on."""
    plan = _rules().plan(_row(key, client=client))

    assert (plan.reason, plan.new_key, plan.in_place) == (reason, "", False)
    assert plan.detail


def test_row_whose_id_is_no_text_is_never_addressed() -> None:
    """Bytes that are no UTF-8: no statement could name the row (case 38)."""
    row = AssetRow(id=("a\udcff",), row_id='["a\\udcff"]', client=7, key="up/a.png", name=None, columns={})

    assert _rules().plan(row).reason is ParkedReason.BAD_NAME


@given(st.one_of(st.none(), st.text(), st.binary(), st.integers(), st.floats(), st.uuids()))
def test_any_value_becomes_text_that_every_database_takes(value: object) -> None:
    """UTF-8 without NUL."""
    text = printable(value)

    assert "\0" not in text
    assert text.encode("utf-8").decode("utf-8") == text


def test_printable_keeps_what_is_good_and_escapes_the_rest() -> None:
    """So that a report shows what was in the column."""
    assert printable("é/🙂") == "é/🙂"
    assert printable("a\0b") == "a\\x00b"
    assert printable(b"a\xff") == "a\\xff"
    assert printable("a\udcff") == "a\\udcff"
    assert printable(None) == ""
    assert printable(uuid.UUID(int=1)) == "00000000-0000-0000-0000-000000000001"


def test_megabytes_in_a_column_do_not_get_into_the_ledger() -> None:
    """Neither of the key nor of the client."""
    plan = _rules().plan(_row("x" * 10**6, client="y" * 10**6))

    assert (len(plan.old_key), len(str(plan.client))) == (LONGEST_KEPT, LONGEST_KEPT)
