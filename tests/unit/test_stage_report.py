"""What each stage has in hand, and which one holds the others back."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import pytest
from rich.console import Console

from app.cli.screen import RATE_SECONDS, Rates, clock, screen
from app.cli.words import line
from app.ledger.throttles import Throttle
from app.report import snapshot
from app.stage_report import held_back_by
from app.stages.tally import Tally
from app.states import RunState
from tests.builders import World, make_settings

if TYPE_CHECKING:
    from pathlib import Path

QUIET: dict[str, Any] = {
    "left": 0,
    "in_hand": 0,
    "queued": 0,
    "later": 0,
    "rate_bound": None,
    "oldest_seconds": None,
    "idle_seconds": None,
    "leases_end_seconds": None,
    "sent_again_seconds": None,
    "resent": 0,
    "at_rate": False,
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
    world.later(4)
    figures = report_of(world)["stages"]

    ends = {"idle_seconds": 4.0, "leases_end_seconds": 26, "sent_again_seconds": 49}
    assert figures["copy"] == QUIET | {"left": 2, "in_hand": 1, "queued": 1, "oldest_seconds": 11.0} | ends
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
        (
            {"copy": {"left": 900, "in_hand": 50, "rate_bound": 40, "at_rate": True}},
            {"copy": 39.0},
            "copy_rate=40: `rekey set copy_rate=0`",
        ),
        ({"copy": {"left": 900, "in_hand": 50, "rate_bound": 40, "at_rate": True}}, {}, "copy_rate=40: `rekey set copy_rate=0`"),
        ({"copy": {"left": 900, "in_hand": 50, "queued": 9, "rate_bound": 40, "at_rate": True}}, {"copy": 11.0}, "copy, 50 in hand"),
        ({"copy": {"left": 900, "in_hand": 50, "queued": 9, "rate_bound": 40}}, {}, "copy, 50 in hand"),
        ({"delete": {"left": 92, "in_hand": 92}}, {}, None),
        ({"copy": {"left": 900, "in_hand": 50, "rate_bound": 40, "idle_seconds": 9.0}}, {}, None),
        ({"delete": {"left": 900, "later": 900, "rate_bound": 40, "at_rate": True}}, {}, None),
        (
            {"copy": {"left": 900, "queued": 900, "idle_seconds": 31.0, "sent_again_seconds": 29}},
            {},
            "copy, 900 queued and none taken up for 31 s: they are sent again in about 29 s",
        ),
        (
            {"copy": {"left": 900, "queued": 900, "idle_seconds": 31.0, "sent_again_seconds": 90, "resent": 900}},
            {},
            "copy, 900 queued and nobody takes them: is a worker on the queue 'copy'?",
        ),
        ({"copy": {"left": 900, "queued": 900, "idle_seconds": 2.0}}, {}, None),
    ],
)
def test_what_holds_the_run_back_is_named(given: dict[str, Any], per_second: dict[str, float], said: str | None) -> None:
    """A bound that is reached goes before work, and much work before little."""
    named = held_back_by(stages(**given), per_second=per_second)

    assert named is None if said is None else said in str(named)


def _slow(world: World) -> None:
    """A rate of twelve copies a second was set."""
    world.context.steering.set_knobs(world.run, {"copy_rate": 12})
    world.context = dataclasses.replace(world.context, settings=make_settings(copy_rate=12), tally=Tally(seconds=0.0))


def test_rate_holds_a_run_back_only_while_it_is_used_up(tmp_path: Path) -> None:
    """By the turns that are booked under it: a worker that has died, or has nothing to do, books none."""
    world = World(tmp_path)
    for number in range(1, 31):
        world.add(number)
    ids = world.seed()
    _slow(world)
    world.do("copy", ids[:20])
    during = report_of(world)
    world.later(3)
    after = report_of(world)

    assert during["held_back_by"] == "copy_rate=12: `rekey set copy_rate=0` lifts the bound"
    assert after["held_back_by"] is None


def test_leases_of_a_dead_worker_and_what_went_with_it_are_what_a_run_waits_for(tmp_path: Path) -> None:
    """How many moves and how long, stage by stage; no rate that was set, and no worker that is missing, is said to be the cause."""
    world = World(tmp_path)
    for number in range(1, 31):
        world.add(number)
    ids = world.seed()
    _slow(world)
    world.do("copy", ids[:20])  # whose messages to the next stage it still kept
    world.crash_in("copy", ids[20:24])
    world.later(5)
    soon = report_of(world)
    world.later(6)
    report = report_of(world)

    assert (soon["stall"], soon["held_back_by"]) == (None, None)
    assert report["stall"] == (
        "copy, 4 in hand and 6 queued, nothing done for 11 s: the leases of a worker that died, or of requests without an answer, "
        "end in about 19 s; rename, 20 queued and none taken up for 12 s: they are sent again in about 48 s, should a worker have died "
        "with them; is a worker on the queue 'rename'?"
    )
    assert (report["stall_kind"], report["held_back_by"]) == (report["stall"], None)


def test_nobody_is_said_to_take_messages_only_when_they_were_sent_again_in_vain(tmp_path: Path) -> None:
    """The first ones may have been lost with a worker; of the second ones a worker that is alive would have taken some by now."""
    world = World(tmp_path)
    world.add(1)
    world.seed()
    world.later(61)
    world.tick()
    at_once = world.report()["stall"]
    world.later(10)
    world.tick()

    assert at_once is None
    assert world.report()["stall"] == "copy, 1 queued and nobody takes them: is a worker on the queue 'copy'?"


def test_stage_that_gets_on_is_no_standstill_whatever_another_waits_for(tmp_path: Path) -> None:
    """Another copy worker has died with a batch; this one takes up the next."""
    world = World(tmp_path)
    for number in range(1, 5):
        world.add(number)
    ids = world.seed()
    world.crash_in("copy", ids[:2])
    world.later(12)
    world.tick()
    world.do("copy", ids[2:3], worker=world.worker(tally=Tally(seconds=0.0)))

    assert world.report()["stall"] is None


def test_lease_that_covers_a_large_copy_is_not_a_dead_workers_before_it_would_be_kept_up(tmp_path: Path) -> None:
    """A worker copies by parts for minutes, and renews its lease when half of it is gone."""
    world = World(tmp_path)
    world.add(1)
    ids = world.seed()
    lease = world.crash_in("copy", ids)
    world.context.uploads.begin(lease, world.move(1), key="clients/7/assets/1.png", upload_id="u")
    world.later(20)
    world.tick()
    within = world.report()
    world.later(6)

    assert (within["stall"], within["held_back_by"]) == (None, None)
    assert "copy, 1 in hand, nothing done for 26 s" in str(world.report()["stall"])


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
    world.context = dataclasses.replace(world.context, settings=make_settings(copy_rate=40))
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


def missing(folder: Path, *, rows: int, gone: int, **settings: Any) -> World:  # noqa: ANN401 - any setting
    """All of so many assets moved as far as they go at once, but for those whose objects are not there."""
    world = World(folder, settings={"grace_seconds": 0, "settle_seconds": 60, **settings})
    for number in range(1, rows + 1):
        world.add(number, body=None if number <= gone else b"v1")
    world.go(until=2, seconds=2.5)
    return world


@pytest.mark.parametrize(("gone", "said"), [(1, "an asset's object is missing"), (3, "3 assets' objects are missing")])
def test_objects_that_are_looked_for_again_are_what_a_run_waits_for(tmp_path: Path, gone: int, said: str) -> None:
    """For how long, by which setting; and the run is said to last as long, however fast the others were."""
    world = missing(tmp_path, rows=9, gone=gone)
    first = world.report()
    world.go(until=2)
    report = world.report()

    assert world.states() == {"planned": gone, "deleted": 9 - gone}
    assert first["stall"] == f"{said}: looked for again for about 56 s more (REKEY_SETTLE_SECONDS)"
    assert (first["eta_seconds"], first["held_back_by"]) == (56, None)
    assert report["stall"] == f"{said}: looked for again for about 46 s more (REKEY_SETTLE_SECONDS)"
    assert report["eta_seconds"] == 46


def test_missing_objects_are_no_standstill_while_there_are_rows_to_be_planned(tmp_path: Path) -> None:
    """The time left is that of the last of them all the same."""
    world = missing(tmp_path, rows=9, gone=1)
    with world.engine.begin() as connection:
        connection.exec_driver_sql("UPDATE rekey_runs SET seed_done = 0")
    report = world.report()

    assert (report["stall"], report["eta_seconds"]) == (None, 56)


def test_time_left_is_that_of_the_grace_where_that_ends_after_the_search(tmp_path: Path) -> None:
    """Of the others; what the run waits for at the moment is the search, whatever looks are due meanwhile."""
    world = missing(tmp_path, rows=9, gone=1, grace_seconds=600)
    for _ in range(4):
        report = world.report()
        world.go(until=1)

        assert "an asset's object is missing" in report["stall"]
        assert report["eta_seconds"] >= 570


def test_paused_run_is_held_back_by_nothing_but_the_pause(tmp_path: Path) -> None:
    """However fast it may go once it goes on, and whatever workers still have in hand."""
    world = World(tmp_path)
    for number in range(1, 31):
        world.add(number)
    ids = world.seed()
    _slow(world)
    world.do("copy", ids[:20])
    world.crash_in("copy", ids[20:24])
    world.context.throttles.decide(world.run, Throttle(rates={"copy": 3}, causes={"copy": "the store takes 900 ms to answer"}))
    before = report_of(world)["held_back_by"]
    world.context.runs.set_state(world.run, RunState.PAUSED, only_from=RunState.RUNNING)
    report = report_of(world)

    assert before == "copy, slowed to 3 a second: the store takes 900 ms to answer"
    assert (report["stall"], report["held_back_by"]) == ("paused: `rekey resume` goes on", None)
    assert "held back by" not in line(report)
    assert "held back by" not in "\n".join(shown(report, per_second={"copy": 12.0, "rename": 0.0, "delete": 0.0}))
