"""Row ids as text: every type comes back as it was, and equal texts mean equal ids only."""

from __future__ import annotations

import datetime as dt
import decimal
import json
import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app import row_ids

VALUES = st.one_of(
    st.integers(min_value=-(2**63), max_value=2**64),
    st.text(),
    st.booleans(),
    st.uuids(),
    st.decimals(allow_nan=False, allow_infinity=False),
    st.floats(allow_nan=False),
    st.datetimes(timezones=st.none() | st.just(dt.UTC)),
    st.dates(),
    st.binary(),
)


@given(st.lists(VALUES, min_size=1, max_size=3).map(tuple))
def test_every_id_comes_back_as_it_was(values: tuple[object, ...]) -> None:
    """Type and value; the text is ASCII, so that no collation and no character set changes it."""
    written = row_ids.to_text(values)
    found = row_ids.from_text(written)

    assert found == values
    assert [type(value) for value in found] == [type(value) for value in values]
    assert written.isascii()


@given(st.lists(VALUES, min_size=1, max_size=2), st.lists(VALUES, min_size=1, max_size=2))
def test_different_ids_have_different_texts(one: list[object], other: list[object]) -> None:
    """Nothing is equal to another type's value by its spelling."""
    same = [(type(value), value) for value in one] == [(type(value), value) for value in other]

    assert (row_ids.to_text(one) == row_ids.to_text(other)) <= same


def test_bytes_of_any_kind_are_bytes() -> None:
    """Drivers give bytearrays and memoryviews."""
    assert row_ids.to_text([memoryview(b"\x00a")]) == row_ids.to_text([bytearray(b"\x00a")]) == row_ids.to_text([b"\x00a"])


def test_text_that_is_no_utf8_survives() -> None:
    """SQLite holds such ids (case 38)."""
    assert row_ids.from_text(row_ids.to_text(["a\udcff"])) == ("a\udcff",)
    assert json.loads(row_ids.to_text(["a\udcff"])) == ["a\udcff"]


@pytest.mark.parametrize("value", [None, dt.timedelta(1), dt.time(1), uuid, {"d": "1"}])
def test_what_cannot_be_an_id_is_refused(value: object) -> None:
    """With its type."""
    with pytest.raises(TypeError, match="a row id cannot be"):
        row_ids.to_text([decimal.Decimal(1), value])


@pytest.mark.parametrize(
    "text", ['{"1":2}', '"1"', "[]", "[1,2]", "[null]", '[{"u":5}]', '[{"d":"x"}]', '[{"z":1}]', '[{"u":"1","d":"2"}]', "[[1]]", "[1"]
)
def test_text_that_is_no_list_of_an_id_means_itself_alone(text: str) -> None:
    """What somebody mistypes is no other row's id, and no error."""
    assert row_ids.meant(text, columns=1) == [row_ids.to_text([text])]


@given(st.lists(st.one_of(st.integers(), st.uuids(), st.dates(), st.text(st.characters(blacklist_characters=","))), min_size=1, max_size=3))
def test_id_as_it_is_shown_can_be_typed_again(values: list[object]) -> None:
    """``plan`` and ``verify`` show it, ``retry --id`` takes it; so it does what a report has, a JSON list."""
    written = row_ids.to_text(values)

    assert written in row_ids.meant(row_ids.shown(written), columns=len(values))
    assert written in row_ids.meant(written, columns=len(values))
