"""What a repair has found, for a program and for a person."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from app.row_ids import shown
from app.verification.repair import WORDS, Case
from app.verification.workspace import Workspace
from app.visible import visible

EXAMPLES = 5


def summary(work: Workspace) -> dict[str, Any]:
    """What ``find`` has found, for JSON: counts by case and a few examples of each."""
    counts = work.sick_counts()
    columns = "SELECT kind, row_id, old_key, new_key, detail FROM sick WHERE kind = ? ORDER BY seq LIMIT ?"
    return {
        "journal_objects": work.noted("journal_objects", 0),
        "journal_of_others": work.noted("journal_of_others", 0),
        "journal_unreadable": work.noted("journal_unreadable", 0),
        "found": {str(case): counts[case] for case in Case if counts.get(case)},
        "examples": {str(case): [_plain(values) for values in work.select(columns, case, EXAMPLES)] for case in Case if counts.get(case)},
    }


def all_sick(work: Workspace) -> Iterator[dict[str, Any]]:
    """Every row that was found, for JSON Lines."""
    after = 0
    while page := work.select("SELECT seq, kind, row_id, old_key, new_key, detail FROM sick WHERE seq > ? ORDER BY seq LIMIT 500", after):
        yield from (_plain(values[1:]) for values in page)
        after = page[-1][0]


def lines(report: dict[str, Any]) -> list[str]:
    """What ``find`` has found, for a person."""
    told = [f"{report['journal_objects']} objects of the journal are of table {report['table']} and bucket {report['bucket']}"]
    if report["journal_unreadable"]:
        told.append(f"  {report['journal_unreadable']} more could not be read: rows that they are about are not in this list")
    for case, words in WORDS.items():
        if case in report["found"]:
            told.append(f"{report['found'][case]:>9} {words} ({case})")
            told += [f"          row {_row(each)} {_key(each, 'old_key')} -> {_key(each, 'new_key')}" for each in report["examples"][case]]
    if not report["found"]:
        told.append("no row names a key that the journal says was deleted")
    return told


def _row(each: dict[str, Any]) -> str:
    return visible(shown(each["row_id"]))


def _key(each: dict[str, Any], name: str) -> str:
    return visible(repr(each[name])) if name in each else "?"


def _plain(values: Sequence[Any]) -> dict[str, Any]:
    found = dict(zip(("case", "row_id", "old_key", "new_key", "detail"), values, strict=True))
    return {name: value for name, value in found.items() if value is not None}
