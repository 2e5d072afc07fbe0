"""One line an asset, as CSV or JSON Lines: some 10 microseconds each, database included, so that 10^9 assets take hours and not days.

CSV is RFC 4180 in UTF-8: a header, CRLF, cells with commas, quotes or line breaks quoted. A cell that a spreadsheet would take for a
formula (it begins with = + - @, one of their full-width twins, a tab or a line break) gets an apostrophe in front, and so does one that
begins with an apostrophe itself: whoever needs the exact text takes one leading apostrophe away, or reads JSON Lines, which are exact.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import repeat
from json.encoder import encode_basestring
from typing import Any

from app.ledger.reading import NOT_KEPT
from app.redaction import redact
from app.reporting.csv_columns import cell, csv_page, csv_text, numbers, texts, words
from app.reporting.times import from_micros, from_seconds
from app.row_ids import from_text
from app.states import MoveState

# Name in the report, column of rekey_moves (but for NOT_KEPT); the order is that of ``_row``.
COLUMNS = {
    "move": "id",
    "row_id": "row_id",
    "client": "client",
    "old_key": "old_key",
    "new_key": "new_key",
    "outcome": "state",
    "reason": "reason",
    "detail": "detail",
    "parked_from": "parked_from",
    "source_etag": "source_etag",
    "source_size": "source_size",
    "source_version": "source_version",
    "source_modified": "source_store_time",
    "copy_etag": "copy_etag",
    "copy_size": "copy_size",
    "copy_version": "copy_version",
    "copied_at": "copy_store_time",
    "switched_at": "switched_at",
    "delete_sent_at": "intent_at",
    "updated_at": "updated_at",
    "generation": "generation",
    "attempts": "attempts",
    "changes": "changes",
    "deaths": "deaths",
    "not_kept": NOT_KEPT,
}
COMPUTED = ("etag_changed", "bytes_held")
HEADER = ("run", *COLUMNS, *COMPUTED)

_DELETED, _IN_PLACE = MoveState.DELETED, MoveState.IN_PLACE
Pages = Iterable[Sequence[Sequence[Any]]]
Lines = Iterator[tuple[bytes, int]]  # some lines, and how many


def csv_lines(pages: Pages, *, run_id: str, versioned: bool = False) -> Lines:
    """The header, then the lines of each page of rows (the columns of COLUMNS); *versioned*: deletes left markers."""
    yield csv_text([HEADER]), 0
    for page in pages:
        given = dict(zip(COLUMNS, zip(*page, strict=True), strict=True))
        columns = [_CELLS[name](values) for name, values in given.items()]
        yield csv_page([repeat(run_id, len(page)), *columns, _etags_changed(given), _bytes_held(given, versioned=versioned)]), len(page)


def jsonl_lines(pages: Pages, *, run_id: str, versioned: bool = False) -> Lines:
    """The lines of each page of rows (the columns of COLUMNS); every line has every name."""
    run = encode_basestring(run_id)
    for page in pages:
        # A lone surrogate, which UTF-8 cannot carry, comes out as JSON's own escape for it.
        yield "".join([_jsonl_row(run, row, versioned=versioned) for row in page]).encode("utf-8", "backslashreplace"), len(page)


FORMATS: dict[str, Callable[..., Lines]] = {"csv": csv_lines, "jsonl": jsonl_lines}


def plain_row_id(text: str) -> object:
    """The ledger's text of a row id as people write it: the value of a one-column key, the JSON list of a composite one."""
    inner = text[1:-1]
    if inner.isdigit():
        return inner
    values = from_text(text)
    if len(values) != 1:
        return text
    value = values[0]
    return cell(value) if isinstance(value, str) else value.hex() if isinstance(value, bytes) else value


def _row_ids(values: Sequence[str]) -> Sequence[str]:
    return words([str(plain_row_id(text)) for text in values])


def _details(values: Sequence[str | None]) -> Sequence[str]:
    return texts([detail and redact(detail) for detail in values])


def _seconds(values: Sequence[int | None]) -> Sequence[str]:
    return [from_seconds(seconds) or "" for seconds in values]


def _micros(values: Sequence[int | None]) -> Sequence[str]:
    return [from_micros(micros) or "" for micros in values]


_CELLS: Mapping[str, Callable[[Sequence[Any]], Iterable[str]]] = {
    **dict.fromkeys(COLUMNS, texts),
    **dict.fromkeys(("outcome", "reason", "parked_from"), words),
    **dict.fromkeys(("move", "source_size", "copy_size", "generation", "attempts", "changes", "deaths"), numbers),
    **dict.fromkeys(("source_modified", "copied_at"), _seconds),
    **dict.fromkeys(("switched_at", "delete_sent_at", "updated_at"), _micros),
    "row_id": _row_ids,
    "detail": _details,
}


def _etags_changed(given: Mapping[str, Sequence[Any]]) -> Sequence[str]:
    sides = zip(given["source_etag"], given["copy_etag"], given["outcome"], strict=True)
    return [_etag_changed(*each) or "" for each in sides]


def _bytes_held(given: Mapping[str, Sequence[Any]], *, versioned: bool) -> Sequence[str]:
    if not versioned:
        return [""] * len(given["outcome"])
    held = zip(given["source_size"], given["outcome"], given["delete_sent_at"], strict=True)
    return [str(size) if size is not None and is_held(outcome, sent) else "" for size, outcome, sent in held]


def is_held(outcome: str, sent_at: int | None) -> bool:
    """Whether, in a versioned bucket, a delete of ours has left a marker over the old object."""
    return outcome == _DELETED and sent_at is not None


def _etag_changed(source: str | None, copy: str | None, outcome: str) -> str | None:
    """Whether the copy's ETag is another than its source's, as text; None where one of them is not known."""
    return None if source is None or copy is None or outcome == _IN_PLACE else "false" if source == copy else "true"


def _jsonl_row(run: str, row: Sequence[Any], *, versioned: bool) -> str:
    (
        move, row_id, client, old_key, new_key, outcome, reason, detail, parked_from,
        source_etag, source_size, source_version, source_time, copy_etag, copy_size, copy_version, copy_time,
        switched_at, intent_at, updated_at, generation, attempts, changes, deaths, not_kept,
    ) = row  # fmt: skip
    return (
        f'{{"run":{run},"move":{move},"row_id":{row_id},"client":{_text(client)},"old_key":{_text(old_key)},"new_key":{_text(new_key)},'
        f'"outcome":"{outcome}","reason":{_text(reason)},"detail":{_text(detail and redact(detail))},"parked_from":{_text(parked_from)},'
        f'"source_etag":{_text(source_etag)},"source_size":{_number(source_size)},"source_version":{_text(source_version)},'
        f'"source_modified":{_text(from_seconds(source_time))},'
        f'"copy_etag":{_text(copy_etag)},"copy_size":{_number(copy_size)},"copy_version":{_text(copy_version)},'
        f'"copied_at":{_text(from_seconds(copy_time))},"switched_at":{_text(from_micros(switched_at))},'
        f'"delete_sent_at":{_text(from_micros(intent_at))},"updated_at":{_text(from_micros(updated_at))},'
        f'"generation":{generation},"attempts":{attempts},"changes":{changes},"deaths":{deaths},"not_kept":{_text(not_kept)},'
        f'"etag_changed":{_etag_changed(source_etag, copy_etag, outcome) or "null"},'
        f'"bytes_held":{_number(source_size if versioned and is_held(outcome, intent_at) else None)}}}\n'
    )


def _text(value: str | None) -> str:
    return "null" if value is None else encode_basestring(value)


def _number(value: int | None) -> object:
    return "null" if value is None else value
