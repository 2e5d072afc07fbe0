"""What each stage has in hand, and which one holds the others back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from rich.console import Console

from app.cli.screen import RATE_SECONDS, Rates, clock, screen
from app.report import snapshot
from app.stage_report import held_back_by
from tests.builders import World

if TYPE_CHECKING:
    from pathlib import Path

QUIET: dict[str, Any] = {
    "left": 0,
    "in_hand": 0,
    "queued": 0,
    "later": 0,
    "rate_bound": None,
    "oldest_seconds": None,
    "slowed_to": None,
    "slowed_by": None,
}


def report_of(world: World) -> dict[str, Any]:
    """The report as the commands make it."""
    return snapshot(world.run, runs=world.context.runs, queues=world.context.queues)


def shown(report: dict[str, Any], *, per_second: dict[str, float], width: int = 80) -> list[str]:
    """The screen's lines in a terminal of *width* columns."""
    console = Console(width=width, force_terminal=True, color_system=None)
    with console.capture() as captured:
        console.print(screen(report, estimate=report["rows"], per_second=per_second))
    return [line.rstrip() for line in captured.get().splitlines()]


def stages(**changed: dict[str, Any]) -> dict[str, Any]:
    """A report of a run that has a thousand moves open; stages as they are given."""
    figures = {name: QUIET | changed.get(name, {}) for name in ("copy", "rename", "delete")}
    return {"stages": figures, "ended": False, "open": 1000, "stall": None, "at_rest": False}


def test_each_move_is_counted_where_it_is(tmp_path: Path) -> None:
    """Three seeded: one is held by a worker, one has a message out, one is switched and in its grace."""
    world = World(tmp_path, settings={"grace_seconds": 3600, "look_seconds": 300})
    for number in (1, 2, 3):
        world.add(number)
    world.seed()
    world.do("copy", [3])
    world.do("rename", [3])
    world.later(7)
    world.crash_in("copy", [1])
    figures = report_of(world)["stages"]

    assert figures["copy"] == QUIET | {"left": 2, "in_hand": 1, "queued": 1, "oldest_seconds": 7.0}
    assert figures["rename"] == QUIET
    assert figures["delete"] == QUIET | {"left": 1, "later": 1}


def test_moves_whose_message_is_gone_are_neither_queued_nor_in_hand(tmp_path: Path) -> None:
    """The broker lost it: the reconciler will send it again, and the age shows for how long nothing came."""
    world = World(tmp_path)
    world.add(1)
    world.seed()
    with world.engine.begin() as connection:
        connection.exec_driver_sql("UPDATE rekey_moves SET hints = 0, due_at = 0")
    world.later(90)

    assert report_of(world)["stages"]["copy"] == QUIET | {"left": 1, "oldest_seconds": 90.0}


@pytest.mark.parametrize(
    ("given", "per_second", "said"),
    [
        (
            {"copy": {"left": 900, "in_hand": 50, "queued": 300}, "rename": {"left": 100, "in_hand": 20}},
            {},
            "copy, 50 in hand and 300 queued",
        ),
        ({"copy": {"left": 10, "in_hand": 5}, "rename": {"left": 900, "in_hand": 10, "queued": 800}}, {}, "rename, 10 in hand"),
        ({"copy": {"left": 900, "in_hand": 50, "rate_bound": 40}}, {"copy": 39.0}, "copy_rate=40: `rekey set copy_rate=0`"),
        ({"copy": {"left": 900, "in_hand": 50, "rate_bound": 40}}, {"copy": 11.0}, "copy, 50 in hand"),
        ({"delete": {"left": 900, "later": 900, "rate_bound": 40}}, {}, None),
        ({"copy": {"left": 900, "queued": 900, "oldest_seconds": 31.0}}, {}, "is a worker on the queue 'copy'?"),
        ({"copy": {"left": 900, "queued": 900, "oldest_seconds": 2.0}}, {}, None),
    ],
)
def test_what_holds_the_run_back_is_named(given: dict[str, Any], per_second: dict[str, float], said: str | None) -> None:
    """A bound that is reached goes before work, and much work before little."""
    named = held_back_by(stages(**given), per_second=per_second)

    assert named is None if said is None else said in str(named)


def test_nothing_holds_back_a_run_that_is_over() -> None:
    """Whatever its bounds are."""
    report = stages(copy={"left": 900, "rate_bound": 40}) | {"ended": True}

    assert held_back_by(report, per_second={}) is None


def test_rates_are_those_of_the_last_seconds() -> None:
    """What was long ago counts no more, and the first report tells none."""
    rates = Rates()
    first = rates.add({"copied": 0, "renamed": 0, "deleted": 0}, now=100.0)
    rates.add({"copied": 1000, "renamed": 0, "deleted": 0}, now=110.0)
    late = rates.add({"copied": 1100, "renamed": 50, "deleted": 0}, now=110.0 + RATE_SECONDS)

    assert first == {}
    assert late == {"copy": 10.0, "rename": 5.0, "delete": 0.0}


def test_screen_is_legible_at_eighty_columns(tmp_path: Path) -> None:
    """Stages with depth, rate and age, what was parked and why, the last errors; no line is wider, none is cut."""
    world = World(tmp_path)
    world.context.steering.set_knobs(world.run, {"copy_rate": 40})
    for number in range(1, 6):
        world.add(number, body=None if number == 5 else b"v1")
    world.seed()
    world.do("copy", [1, 2])
    world.do("rename", [1])
    report = report_of(world) | {
        "parked": 1,
        "parked_reasons": {"missing_source": 1},
        "last_errors": ["the object store did not answer: timed out"],
        "copied": 1_234_567,
    }
    lines = shown(report, per_second={"copy": 39.6, "rename": 12.0, "delete": 0.0})
    text = "\n".join(lines)

    assert max(map(len, lines)) <= 80
    assert f"run {report['run'][:8]}  move  running" in text
    assert "1,234,567" in text
    for word in ("copied", "renamed", "deleted", "a second", "in hand", "queued", "oldest"):
        assert word in text
    assert "held back by: copy_rate=40: `rekey set copy_rate=0` lifts the bound" in text
    assert "parked 1: missing_source 1" in text
    assert "error: the object store did not answer: timed out" in text


@pytest.mark.parametrize(("seconds", "said"), [(0.4, "0 s"), (59.9, "59 s"), (187, "3:07"), (3723, "1:02:03")])
def test_durations_read_well(seconds: float, said: str) -> None:
    """Seconds, then minutes, then hours."""
    assert clock(seconds) == said
