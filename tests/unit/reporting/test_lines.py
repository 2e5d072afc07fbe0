"""Lines of the report: any reader of CSV or JSON gets back what the ledger has, and no spreadsheet computes anything."""

from __future__ import annotations

import csv
import io
import json
from typing import Any

import pytest

from app.reporting.lines import COLUMNS, HEADER, csv_lines, jsonl_lines, plain_row_id
from app.row_ids import to_text

PLAIN: dict[str, Any] = {
    "id": 1,
    "row_id": "[7]",
    "client": "7",
    "old_key": "up/a.png",
    "new_key": "clients/7/assets/a.png",
    "state": "deleted",
    "reason": None,
    "detail": None,
    "parked_from": None,
    "source_etag": "0a1b",
    "source_size": 12,
    "source_version": None,
    "source_store_time": 1_790_000_000,
    "copy_etag": "0a1b",
    "copy_size": 12,
    "copy_version": "v-1",
    "copy_store_time": 1_790_000_001,
    "switched_at": 1_790_000_002_000_003,
    "intent_at": 1_790_000_003_500_000,
    "updated_at": 1_790_000_004_000_000,
    "generation": 1,
    "attempts": 2,
    "changes": 3,
    "deaths": 4,
    "not_kept": None,
}
ODD_KEYS = (
    'say "hi", twice.png',
    "two\nlines.png",
    "carriage\rreturn.png",
    "comma,semi;colon.png",
    "snow\N{SNOWMAN}man \N{PILE OF POO}.png",
    "back\\slash.png",
    "no UTF-8 \\udc80 in the table.png",
    "line\N{LINE SEPARATOR}separator.png",
    " blanks ",
)


def row(**values: object) -> tuple[Any, ...]:
    """A row as the ledger gives it."""
    return tuple((PLAIN | values)[column] for column in COLUMNS.values())


def read_csv(*rows: tuple[Any, ...], versioned: bool = False) -> list[dict[str, str]]:
    """What a reader of RFC 4180 gets."""
    text = b"".join(chunk for chunk, _ in csv_lines([rows], run_id="r1", versioned=versioned)).decode()
    return list(csv.DictReader(io.StringIO(text, newline=""), strict=True))


def read_jsonl(*rows: tuple[Any, ...], versioned: bool = False) -> list[dict[str, Any]]:
    """What a reader of JSON Lines gets."""
    text = b"".join(chunk for chunk, _ in jsonl_lines([rows], run_id="r1", versioned=versioned))
    return [json.loads(line) for line in text.removesuffix(b"\n").split(b"\n")]


def test_csv_line_says_everything_of_a_move() -> None:
    """Keys, ETags, sizes, versions, times in ISO 8601 UTC, outcome; what is not known is empty."""
    assert read_csv(row()) == [
        {
            "run": "r1",
            "move": "1",
            "row_id": "7",
            "client": "7",
            "old_key": "up/a.png",
            "new_key": "clients/7/assets/a.png",
            "outcome": "deleted",
            "reason": "",
            "detail": "",
            "parked_from": "",
            "source_etag": "0a1b",
            "source_size": "12",
            "source_version": "",
            "source_modified": "2026-09-21T14:13:20Z",
            "copy_etag": "0a1b",
            "copy_size": "12",
            "copy_version": "v-1",
            "copied_at": "2026-09-21T14:13:21Z",
            "switched_at": "2026-09-21T14:13:22.000003Z",
            "delete_sent_at": "2026-09-21T14:13:23.500000Z",
            "updated_at": "2026-09-21T14:13:24.000000Z",
            "generation": "1",
            "attempts": "2",
            "changes": "3",
            "deaths": "4",
            "not_kept": "",
            "etag_changed": "false",
            "bytes_held": "",
        }
    ]


def test_json_line_has_the_same_names_with_numbers_and_nulls() -> None:
    """A program reads JSON Lines without a schema."""
    (line,) = read_jsonl(row(client=None, source_size=None))

    assert tuple(line) == HEADER
    assert (line["row_id"], line["client"], line["source_size"], line["copy_size"]) == ([7], None, None, 12)
    assert (line["switched_at"], line["reason"], line["deaths"]) == ("2026-09-21T14:13:22.000003Z", None, 4)


@pytest.mark.parametrize(
    ("values", "shown"),
    [
        ({}, False),
        ({"copy_etag": "0a1b-3"}, True),
        ({"source_etag": "0a1b-2", "copy_etag": "0a1b-2"}, False),
        ({"source_etag": None}, None),
        ({"copy_etag": None}, None),
        ({"state": "in_place", "copy_etag": "other"}, None),
    ],
)
def test_line_says_whether_the_etag_changed(values: dict[str, Any], shown: bool | None) -> None:  # noqa: FBT001 - an expectation
    """Whoever caches by it wants to know (case 11)."""
    assert read_jsonl(row(**values))[0]["etag_changed"] is shown
    assert read_csv(row(**values))[0]["etag_changed"] == ("" if shown is None else str(shown).lower())


@pytest.mark.parametrize(
    ("values", "versioned", "held"),
    [
        ({}, True, 12),
        ({}, False, None),
        ({"state": "kept"}, True, None),
        ({"intent_at": None}, True, None),
        ({"source_size": None}, True, None),
    ],
    ids=["deleted by a marker", "deleted for good", "not deleted", "vanished", "of unknown size"],
)
def test_line_says_what_an_old_version_still_holds(
    values: dict[str, Any],
    versioned: bool,  # noqa: FBT001
    held: int | None,
) -> None:
    """In a versioned bucket a delete frees nothing (case 13)."""
    assert read_jsonl(row(**values), versioned=versioned)[0]["bytes_held"] == held
    assert read_csv(row(**values), versioned=versioned)[0]["bytes_held"] == ("" if held is None else str(held))


@pytest.mark.parametrize("key", ODD_KEYS)
def test_odd_key_comes_back_as_it_was(key: str) -> None:
    """Quotes, commas, line breaks and escapes are the format's business, not the reader's."""
    assert read_csv(row(old_key=key))[0]["old_key"] == key
    assert read_jsonl(row(old_key=key))[0]["old_key"] == key


@pytest.mark.parametrize("key", ["=cmd|' /C calc'!A0", "+1", "-1", "@sum", "\tx", "\rx", "\nx", "'x", "\N{FULLWIDTH EQUALS SIGN}1"])
def test_key_that_a_spreadsheet_would_compute_is_text_in_csv_and_exact_in_json(key: str) -> None:
    """One apostrophe in front, which whoever needs the exact text takes away again."""
    found = read_csv(row(old_key=key, new_key=key, client=key, detail=key, source_etag=key, source_version=key, copy_etag=key))[0]

    columns = ("old_key", "new_key", "client", "detail", "source_etag", "source_version", "copy_etag")
    assert {found[name] for name in columns} == {"'" + key}
    assert read_jsonl(row(old_key=key))[0]["old_key"] == key


def test_secret_in_a_detail_does_not_reach_the_report() -> None:
    """A store's or a database's error may quote an URL (S10)."""
    detail = "GET https://user:hunter22@minio/x?X-Amz-Signature=abcdef failed"

    for text in (read_csv(row(detail=detail))[0]["detail"], read_jsonl(row(detail=detail))[0]["detail"]):
        assert "hunter22" not in text
        assert "abcdef" not in text


@pytest.mark.parametrize(
    ("values", "shown"), [((7,), "7"), ((-7,), -7), (("a-1",), "a-1"), (("=1",), "'=1"), ((b"\x01\x02",), "0102"), ((7, "a"), '[7,"a"]')]
)
def test_row_id_is_shown_as_people_write_it(values: tuple[object, ...], shown: object) -> None:
    """The value of a one-column key joins with the table as it is; a composite one is a list."""
    assert plain_row_id(to_text(values)) == shown


def test_text_that_is_no_unicode_is_escaped() -> None:
    """What UTF-8 cannot carry must not end a report in its middle."""
    assert read_csv(row(client="\udc80"))[0]["client"] == "\\udc80"
    assert read_jsonl(row(client="\udc80"))[0]["client"] == "\udc80"


def test_lines_are_counted() -> None:
    """The header is none."""
    pages = [[row(), row(id=2)], [row(id=3)]]

    assert sum(count for _, count in csv_lines(pages, run_id="r1")) == 3
    assert sum(count for _, count in jsonl_lines(pages, run_id="r1")) == 3
