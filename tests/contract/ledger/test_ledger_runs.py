"""Runs: one live one a bucket and table, steered by flags, on each database."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import inspect

from app.errors import UsageError
from app.ledger.runs import Clocks
from app.states import RunState
from tests.builders import make_run

if TYPE_CHECKING:
    from app.stages.context import Context


def test_second_live_run_is_refused_until_the_first_has_ended(context: Context) -> None:
    """By constraint, not by a look (H32)."""
    first = make_run(context)
    with pytest.raises(UsageError, match=first.id[:8]):
        make_run(context)
    assert context.runs.set_state(first, RunState.PAUSED, only_from=RunState.RUNNING)
    with pytest.raises(UsageError, match="paused"):
        make_run(context)
    assert context.runs.set_state(first, RunState.CANCELLED, only_from=RunState.PAUSED)
    with pytest.raises(UsageError, match=r"is being cancelled .*: wait until"):  # its open moves have still to end
        make_run(context)
    assert context.runs.end(context.runs.get(first.id))
    assert not context.runs.end(context.runs.get(first.id))
    second = make_run(context)

    assert context.runs.live(second.bucket, second.table_name) == second
    assert context.runs.newest(second.bucket, second.table_name) == second
    assert context.runs.all_live() == [second]
    assert context.runs.get(first.id).finished_at is not None


def test_table_that_is_written_with_its_schema_is_the_same_table(context: Context) -> None:
    """One live run a table, however the operator writes its name."""
    schema = inspect(context.runs.engine).default_schema_name
    first = make_run(context, table_name="files")
    for name in (f"{schema}.files", f'"{schema}"."files"', '"files"'):
        with pytest.raises(UsageError, match=first.id[:8]):
            make_run(context, table_name=name)
        assert context.runs.live(first.bucket, name) == context.runs.newest(first.bucket, name) == first
    other = make_run(context, table_name="another.files")

    assert other.table_name == "another.files"


def test_two_that_start_at_once_make_one_run(context: Context) -> None:
    """All at the same moment."""
    start = threading.Barrier(4)

    def work(_: int) -> bool:
        start.wait()
        try:
            make_run(context)
        except UsageError:
            return False
        return True

    with ThreadPoolExecutor(4) as pool:
        assert sum(pool.map(work, range(4))) == 1


def test_run_is_found_by_the_beginning_of_its_id(context: Context) -> None:
    """As it is shown everywhere; what fits none or several is refused."""
    run = make_run(context)

    assert context.runs.get(run.id[:8]) == run
    assert context.runs.find(run.id) == run
    assert context.runs.find(run.id[:8]) is None
    with pytest.raises(UsageError):
        context.runs.get("%")
    with pytest.raises(UsageError):
        context.runs.get("_" * 32)


def test_state_changes_only_from_what_it_was(context: Context) -> None:
    """The one who comes late learns it."""
    run = make_run(context)

    assert context.runs.set_state(run, RunState.FINISHED, only_from=RunState.RUNNING)
    assert not context.runs.set_state(run, RunState.PAUSED, only_from=RunState.RUNNING)
    assert context.runs.get(run.id).state is RunState.FINISHED


def test_one_tick_in_each_interval_passes(context: Context) -> None:
    """And the run keeps both clocks (H16)."""
    run = make_run(context)
    now = context.runs.now()
    passed = [
        context.runs.take_tick(run, every_seconds=2.5, clocks=Clocks(now=at, boot_us=5, apart_us=0), host="h")
        for at in (now, now + 1_000_000, now + 2_600_000, now + 2_600_000, now - 60_000_000)
    ]

    assert passed == [True, False, True, False, True]
    assert (context.runs.get(run.id).tick_at, context.runs.get(run.id).tick_host) == (now - 60_000_000, "h")


def test_right_to_run_suspects_is_one_workers(context: Context) -> None:
    """Until it is given back or has ended (H28)."""
    run = make_run(context)

    assert context.runs.take_suspects(run, token="a", seconds=100)
    assert not context.runs.take_suspects(run, token="b", seconds=100)
    assert context.runs.take_suspects(run, token="a", seconds=0.001)
    context.runs.leave_suspects(run, token="b")
    while not context.runs.take_suspects(run, token="b", seconds=100):
        pass
    context.runs.leave_suspects(run, token="b")
    assert context.runs.take_suspects(run, token="a", seconds=100)


def test_held_deletes_unseen_rows_and_remembered_values_are_kept(context: Context) -> None:
    """Plain columns, but each is read by another process."""
    run = make_run(context, rows=12)
    context.runs.hold_deletes(run, seconds=50)
    context.runs.set_unseen(run, 3)
    context.runs.remember("probe", "one")
    context.runs.remember("probe", "two")
    found = context.runs.get(run.id)

    assert context.runs.now() + 40_000_000 < found.deletes_held_until < context.runs.now() + 60_000_000
    assert (found.unseen, found.rows_estimate) == (3, 12)
    assert (context.runs.remembered("probe"), context.runs.remembered("nothing")) == ("two", None)


def test_first_value_may_come_from_several_at_once(context: Context) -> None:
    """Two reconcilers, one of which was stopped for a while: the later value stands, and neither fails."""
    for name in ("canary:1", "canary:2", "canary:3"):
        start = threading.Barrier(8)

        def keep(value: int, name: str = name, start: threading.Barrier = start) -> None:
            start.wait()
            context.runs.remember(name, str(value))

        with ThreadPoolExecutor(8) as pool:
            list(pool.map(keep, range(8)))
        assert context.runs.remembered(name) in set(map(str, range(8)))


def test_passes_of_the_seed_end(context: Context) -> None:
    """A pass that planned something is followed by another, at most three (S9)."""
    run = make_run(context)
    seen = []
    for _ in range(5):
        current = context.runs.get(run.id)
        planned = context.plans.insert_page(current, [], in_place=set(), cursor="[1]", grace_seconds=0)
        with context.runs.engine.begin() as connection:
            connection.exec_driver_sql("UPDATE rekey_runs SET seed_planned = 1")
        seen.append((planned is not None, context.plans.end_pass(current, max_passes=3)))

    assert seen == [(True, True), (True, True), (True, False), (False, False), (False, False)]
    assert context.runs.get(run.id).seed_done
