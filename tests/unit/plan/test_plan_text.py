"""A plan as a person reads it, and the progress of making it."""

from __future__ import annotations

from typing import Any

import pytest

from app.cli import plan as command
from app.cli.plan_text import as_lines, duration, size

PLAN: dict[str, Any] = {
    "plan": "1f6e01c2d3e4",
    "table": "assets",
    "bucket": "b",
    "template": "clients/{client_id}/{file_name}",
    "rows": 10,
    "to_move": 7,
    "in_place": 2,
    "would_park": 1,
    "waiting": 0,
    "respelled": 0,
    "bytes": 3 * 1024**3,
    "bytes_read": 2048,
    "bytes_written": 2048,
    "bytes_copied_by_store": 0,
    "requests": {"PUT": 7, "GET": 7},
    "cost": {"total": 1.5, "by_class": {"PUT": 1.0, "GET": 0.5}},
    "time": {"seconds_to_switch": 1, "seconds_in_all": 7201, "basis": "assumed"},
    "bucket_objects": 12,
    "objects_without_row": 2,
    "looked": {"listings": 1, "heads": 0, "gets": 7, "probed": False, "thorough": False},
    "samples": [{"row": "[1]", "old_key": "a.png", "new_key": "clients/7/a.png"}],
    "attributes": [
        {
            "attribute": "tags",
            "rule": "keep",
            "estimated": True,
            "objects": 30,
            "objects_between": [20, 45],
            "lost": 3,
            "lost_between": [1, 9],
            "examples": ["t.png"],
        },
        {
            "attribute": "checksum",
            "rule": "warn",
            "estimated": False,
            "objects": 2,
            "objects_between": [2, 2],
            "lost": 2,
            "lost_between": [2, 2],
            "examples": [],
        },
        {
            "attribute": "expires",
            "rule": "keep",
            "estimated": True,
            "objects": 1,
            "objects_between": [1, 1],
            "lost": 0,
            "lost_between": [0, 0],
            "examples": [],
        },
    ],
    "storage_classes": {"GLACIER": 1, "STANDARD_IA": 4},
    "live_run": "77aa88bb99",
    "problems": [
        {
            "class": "missing_index",
            "rows": 1,
            "estimated": False,
            "text": "missing indexes",
            "remedy": "make them",
            "examples": [{"row": None, "old_key": None, "new_key": None, "detail": "assets.k has none", "statement": "CREATE INDEX x;"}],
        },
        {
            "class": "locked",
            "rows": 40,
            "estimated": True,
            "looked_at": 200,
            "text": "locked",
            "remedy": "",
            "examples": [{"row": "[3]", "old_key": "c.png", "new_key": "clients/7/c.png", "detail": "hold: ON"}],
        },
        {"class": "in_place", "rows": 2, "estimated": False, "text": "rows already in place", "remedy": "", "examples": [{"row": "[9]"}]},
    ],
}


def test_text_has_counts_samples_problems_and_the_next_step() -> None:
    """In this order; an estimate says on how many objects it rests, and a missing index how it is made."""
    text = "\n".join(as_lines(PLAN))

    words = [
        "Plan 1f6e01c2 of table assets and bucket b: clients/{client_id}/{file_name}",
        "to move                       7",
        "3.0 GiB",
        "12, 2 of them without a row",
        "7 PUT, 7 GET",
        "1.50 (PUT 1.00, GET 0.50)",
        "1 s until all rows are switched, 2.0 h in all",
        "(assumed)",
        "a.png -> clients/7/a.png",
        "(7 were looked at; the true figure is between those shown, 95 times in 100)",
        "30 (20 to 45), 3 (1 to 9) would lose it (stay): t.png",
        "2, 2 would lose it (move without)",
        "storage classes, all counted: GLACIER 1, STANDARD_IA 4",
        "assets.k has none",
        "CREATE INDEX x;",
        "200 objects were looked at; --sample N looks at more, --thorough at each",
        "row 3: c.png -> clients/7/c.png: hold: ON",
        "rows already in place",
        "Run 77aa88bb is under way",
        "is not known yet",
        "`rekey enqueue --plan 1f6e01c2`",
    ]
    places = [text.find(word) for word in words]
    assert -1 not in places, words[places.index(-1)]
    assert places == sorted(places)
    assert "waiting" not in text
    assert "row 9" not in text


def test_saved_plan_is_shown_as_it_was() -> None:
    """Its record comes back with the classes of requests in another order."""
    again = {**PLAN, "requests": {"GET": 7, "PUT": 7}, "cost": {"total": 1.5, "by_class": {"GET": 0.5, "PUT": 1.0}}}

    assert as_lines(again) == as_lines(PLAN)


def test_odd_keys_neither_break_lines_nor_fill_the_screen() -> None:
    """Neither among the samples nor among the examples."""
    odd = {"row": "[1]", "old_key": "a\nb\x1b[2J" + "x" * 2000, "new_key": "clients/7/a\nb", "detail": "no object"}
    problem = {"class": "bad_name", "rows": 1, "estimated": False, "text": "odd names", "remedy": "", "examples": [odd]}
    shown = as_lines({**PLAN, "samples": [odd], "problems": [problem]})

    assert all(line.isprintable() and len(line) < 500 for line in shown)
    assert any("row 1: a\\nb" in line for line in shown)


def test_text_of_a_plan_that_was_not_saved_says_so() -> None:
    """There is no id to enqueue."""
    text = "\n".join(as_lines({**PLAN, "plan": None, "cost": None, "bucket_objects": None, "objects_without_row": None}))

    assert text.startswith("Plan (not saved) of table assets")
    assert "Not saved, as --no-save says" in text
    assert "without a row" not in text
    assert "cost" not in text


@pytest.mark.parametrize(
    ("count", "expected"),
    [(0, "0 bytes"), (1023, "1023 bytes"), (1024, "1.0 KiB"), (2000 * 1024**5, "2000.0 PiB")],
)
def test_size_is_said_in_the_unit_that_fits(count: int, expected: str) -> None:
    """Exact below a KiB."""
    assert size(count) == expected


@pytest.mark.parametrize(("seconds", "expected"), [(0, "0 s"), (119, "119 s"), (120, "2.0 min"), (7200, "2.0 h"), (86_400 * 3, "3.0 d")])
def test_duration_is_said_in_the_unit_that_fits(seconds: int, expected: str) -> None:
    """From two of a unit on."""
    assert duration(seconds) == expected


def test_progress_is_a_line_now_and_then_where_no_terminal_is(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Ten seconds apart, so that a log stays readable."""
    now = iter([0.0, 5.0, 10.0, 10.0, 15.0])
    monkeypatch.setattr(command.time, "monotonic", lambda: next(now))
    with command._progress() as report:
        report("reading rows", 5000, 20_000)
        report("reading rows", 10_000, 20_000)
        report("reading rows", 15_000, 20_000)

    assert capsys.readouterr().err == "reading rows: 10000 of 20000\n"
