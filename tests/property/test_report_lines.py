"""Lines of the report, whatever the texts in them: Python's own reader and writer of CSV agree with each byte."""

from __future__ import annotations

import csv
import io
import json
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from app.reporting.csv_columns import RISKY
from app.reporting.lines import COLUMNS, HEADER, csv_lines, jsonl_lines

NUMBERS = ("move", "source_size", "copy_size", "generation", "attempts", "changes", "deaths")
TIMES = ("source_modified", "copied_at", "switched_at", "delete_sent_at", "updated_at")
WORDS = ("outcome", "reason", "parked_from", "not_kept")
EXACT = ("client", "old_key", "new_key", "source_etag", "source_version", "copy_etag", "copy_version")

_odd = st.text(st.sampled_from("ab7/.,;\"'=+-@\r\n\t \\é\u2028\U0001f600\N{FULLWIDTH EQUALS SIGN}"), max_size=8)
_values: dict[str, st.SearchStrategy[Any]] = {
    **{name: st.none() | _odd | st.text(max_size=20) for name in EXACT},
    **{name: st.integers(0, 2**62) | (st.none() if name.endswith("size") else st.nothing()) for name in NUMBERS},
    **{name: st.none() | st.integers(0, 4_000_000_000) for name in ("source_modified", "copied_at")},
    **{name: st.none() | st.integers(0, 4_000_000_000_000_000) for name in ("switched_at", "delete_sent_at", "updated_at")},
    **{name: st.sampled_from([None, "kept", "missing_source"]) for name in WORDS},
    "outcome": st.sampled_from(["deleted", "kept"]),
    "row_id": st.lists(st.integers() | _odd, min_size=1, max_size=2).map(json.dumps),
    "detail": st.none() | st.text(st.sampled_from("abc,\"'=\n"), max_size=8),
}
rows = st.tuples(*(_values[name] for name in COLUMNS))


@settings(max_examples=60)
@given(page=st.lists(rows, min_size=1, max_size=5))
def test_csv_is_what_pythons_own_writer_makes_of_what_its_reader_reads(page: list[tuple[Any, ...]]) -> None:
    """So no cell is quoted that need not be, and none unquoted that must be; each text comes back but for its apostrophe."""
    text = b"".join(chunk for chunk, _ in csv_lines([page], run_id="r")).decode()
    read = list(csv.reader(io.StringIO(text, newline=""), strict=True))
    written = io.StringIO(newline="")
    csv.writer(written, lineterminator="\r\n").writerows(read)

    assert written.getvalue() == text
    assert read[0] == list(HEADER)
    assert len(read) == len(page) + 1
    for line, row in zip(read[1:], page, strict=True):
        said, given_row = dict(zip(HEADER, line, strict=True)), dict(zip(COLUMNS, row, strict=True))
        for name in EXACT:
            value = (given_row[name] or "").encode("utf-8", "backslashreplace").decode()
            assert said[name] == ("'" + value if value[:1] in RISKY and value else value)
        assert {name: said[name] for name in NUMBERS} == {name: "" if given_row[name] is None else str(given_row[name]) for name in NUMBERS}
        assert all((said[name] == "") is (given_row[name] is None) for name in (*TIMES, *WORDS))


@settings(max_examples=60)
@given(page=st.lists(rows, min_size=1, max_size=5))
def test_each_json_line_has_the_exact_texts(page: list[tuple[Any, ...]]) -> None:
    """Nothing is put in front of them."""
    text = b"".join(chunk for chunk, _ in jsonl_lines([page], run_id="r"))

    read = [json.loads(line) for line in text.removesuffix(b"\n").split(b"\n")]
    assert [[line[name] for name in (*EXACT, *NUMBERS, *WORDS)] for line in read] == [
        [dict(zip(COLUMNS, row, strict=True))[name] for name in (*EXACT, *NUMBERS, *WORDS)] for row in page
    ]
