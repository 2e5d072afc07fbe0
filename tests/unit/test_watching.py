"""What is shown of a run that goes on, where no terminal is."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import pytest

from app import cli, resources
from app.cli import starting, watching
from app.cli.words import line, summary
from app.errors import UsageError
from app.states import RunState
from tests.builders import World

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def _moved(world: World) -> None:
    world.moved()


def _moved_and_kept(world: World) -> None:
    world.context.steering.hold(world.run, hold=True)
    world.go()


def _parked(world: World) -> None:
    world.add(2, body=None)
    world.go()


def _cancelled(world: World) -> None:
    world.seed()
    world.context.reopening.cancel(world.run)
    world.go()


def _cancelled_in_the_middle(world: World) -> None:
    world.add(2)
    first, _ = world.seed()
    for stage in ("copy", "rename"):
        world.do(stage, [first])
    world.context.reopening.cancel(world.run)
    world.go()


@pytest.fixture
def report(tmp_path: Path) -> dict[str, Any]:
    """Of a run with one switched asset."""
    world = World(tmp_path)
    world.add(1)
    world.moved()
    return world.report()


def test_line_has_the_rate_of_each_stage_that_moves(report: dict[str, Any]) -> None:
    """While nothing has ended yet, the rate in all is nothing, and says nothing of the copies."""
    shown = line(report, {"copy": 41.4, "rename": 0.2, "delete": 0.0})

    assert "1 copied +41/s | 1 renamed | 0 deleted | 1 open of 1 | 0/s in all" in shown


def test_rollback_is_called_one(report: dict[str, Any]) -> None:
    """Its copies and deletes are the other way round."""
    other = {**report, "kind": "rollback"}

    assert (line(report)[:4], summary(report)[:4]) == ("run ", "Run ")
    assert (line(other)[:9], summary(other)[:9]) == ("rollback ", "Rollback ")


@pytest.mark.parametrize(
    ("drive", "expected"), [(_moved, 0), (_moved_and_kept, 0), (_parked, 3), (_cancelled, 3), (_cancelled_in_the_middle, 3)]
)
def test_exit_status_of_watching_until_all_is_switched_tells_whether_it_is(
    drive: Callable[[World], None], expected: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A service that goes by it may end its double reads: not where the run was cancelled meanwhile, and rows name their old keys."""
    world = World(tmp_path)
    world.add(1)
    drive(world)
    monkeypatch.setattr(resources, "_settings", None)
    monkeypatch.setattr(starting, "start", lambda *_, **__: world.run)
    values = {"DATABASE_URL": f"sqlite:///{tmp_path}/world.db", "BROKER_URL": "redis://127.0.0.1:1/0", "S3_ENDPOINT": "http://127.0.0.1:1"}
    values |= {"S3_ACCESS_KEY": "nobody", "S3_SECRET_KEY": "nothing-at-all", "S3_BUCKET": "assets", "TABLE": "assets"}
    for name, value in values.items():
        monkeypatch.setenv(f"REKEY_{name}", value)
    root = logging.getLogger()
    monkeypatch.setattr(root, "handlers", [])
    monkeypatch.setattr(root, "level", root.level)

    assert expected == cli.main(["enqueue", "--watch", "--until", "renamed"])


def _lines(world: World, capsys: pytest.CaptureFixture[str]) -> str:
    """What is written of the run as it is, where no terminal is."""
    watching._plain_lines()(world.report())
    return capsys.readouterr().err


def test_plain_line_says_why_the_run_stands_still(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """In the words of the screen, so that a log can be searched for them."""
    world = World(tmp_path)
    world.add(1)
    world.seed()
    world.context.runs.set_state(world.run, RunState.PAUSED, only_from=RunState.RUNNING)

    assert " | stands still: paused: `rekey resume` goes on\n" in _lines(world, capsys)


def test_plain_line_says_what_holds_the_run_back(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Whatever that is: a rate that was set, or workers that are too few."""
    world = World(tmp_path)
    for number in (1, 2, 3):
        world.add(number)
    world.seed()
    world.crash_in("copy", [1])

    assert " | held back by copy, 1 in hand and 2 queued: more copy workers help\n" in _lines(world, capsys)


def test_line_goes_by_what_the_stages_do_now(tmp_path: Path) -> None:
    """A rate that is far from being reached of late holds nothing back, as on the screen."""
    world = World(tmp_path)
    world.add(1)
    world.seed()
    world.crash_in("copy", [1])
    report = world.report()
    report["stages"]["copy"] |= {"rate_bound": 40, "at_rate": True, "queued": 9}

    assert "held back by copy_rate=40" in line(report, {"copy": 39.0})
    assert "held back by copy, 1 in hand" in line(report, {"copy": 3.0})


def test_watching_ends_where_the_run_is_not_in_the_ledger_any_more(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A ledger that was restored from a back-up, or made anew: nothing would ever be shown again."""
    world = World(tmp_path)
    monkeypatch.setattr(resources, "runs", lambda: world.context.runs)
    monkeypatch.setattr(resources, "queues", lambda: world.context.queues)
    run = world.run
    world.sql("DELETE FROM rekey_runs")
    with pytest.raises(UsageError, match="is not in this ledger any more"):
        watching.watch(run)
