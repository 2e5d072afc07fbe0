"""The reconciler: what is due is hinted again, boundedly; what can end is ended; clocks that jump hold deletes (S6, S9, H16, H26)."""

from __future__ import annotations

import itertools
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest

from app import reconcile
from app.errors import DatabaseUnavailableError, OutcomeUnknownError
from app.ledger import queues
from app.pipeline import BY_NAME
from app.states import MoveState, ParkedReason, RunState
from app.testing import Fault
from tests.builders import World

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def world(tmp_path: Path) -> World:
    """A world with conditions honoured."""
    return World(tmp_path)


def _ids(world: World) -> list[int]:
    return [move_id for _, ids in world.tick().messages for move_id in ids]


def test_lost_message_is_sent_again_after_hint_seconds_and_then_ever_later(world: World) -> None:
    """60 s, 120 s, 240 s ... up to 15 minutes (H26)."""
    world.add(1)
    world.seed()
    start = world.clock.boot()
    sent: list[float] = []
    while len(sent) < 5:
        world.later(15)
        if _ids(world):
            sent.append(world.clock.boot() - start)

    assert [later - earlier for earlier, later in itertools.pairwise([0.0, *sent])] == pytest.approx([60, 120, 240, 480, 900], abs=30)


def test_tick_that_comes_twice_does_nothing_the_second_time(world: World) -> None:
    """Beat's messages may be doubled."""
    world.add(1)
    world.seed()
    world.later(61)

    assert (_ids(world), _ids(world)) == ([1], [])


def test_ticks_send_no_more_than_max_in_flight(tmp_path: Path) -> None:
    """The broker holds a bounded number (S6); moves in their grace do not count (H27)."""
    world = World(tmp_path, settings={"max_in_flight": 4})
    for number in range(1, 11):
        world.add(number)
    for _ in range(3):
        world.context.plans.seed_due_now(world.run)
        world.seed()
    world.later(61)
    world.tick()
    assert world.context.queues.in_flight(world.run) <= 10
    world.later(5)
    assert _ids(world) == []


def test_many_due_moves_are_stamped_whatever_the_database_takes_in_one_statement(tmp_path: Path) -> None:
    """SQLite takes 32,766 values in a statement, PostgreSQL 65,535; MAX_IN_FLIGHT may be larger."""
    world = World(tmp_path, settings={"max_in_flight": 100_000})
    world.add(1)
    world.seed()
    template = dict(world.sql("SELECT * FROM rekey_moves")[0]._mapping)
    names = ", ".join(template)
    marks = ", ".join(f":{name}" for name in template)
    from sqlalchemy import text  # noqa: PLC0415

    with world.engine.begin() as connection:
        connection.execute(
            text(f"INSERT INTO rekey_moves ({names}) VALUES ({marks})"),
            [template | {"id": number, "row_id": f"[{number}]", "live_hash": number.to_bytes(32, "big")} for number in range(2, 40_002)],
        )
    world.later(61)
    ids = world.context.queues.take_due(world.run, stage="copy", state=MoveState.PLANNED, limit=100_000)

    assert len(ids) == 40_001
    assert world.context.queues.in_flight(world.run) == 40_001


def test_switched_moves_are_sent_when_their_look_is_due(world: World) -> None:
    """No countdown anywhere: the ledger holds when a look or a delete is due (H31)."""
    world.add(1)
    world.moved()
    assert [stage.name for stage, _ in world.tick().messages] == ["delete"]
    world.do("delete")
    world.later(2.6)

    assert _ids(world) == []


def test_run_ends_when_nothing_is_open(world: World) -> None:
    """And frees its bucket and table."""
    world.add(1)
    world.go()

    assert world.run.state is RunState.FINISHED
    assert world.context.runs.live(world.run.bucket, world.run.table_name) is None


def test_empty_table_is_a_run_that_ends(world: World) -> None:
    """Zero rows are zero outcomes."""
    world.go()

    assert (world.run.state, world.report()["rows"]) == (RunState.FINISHED, 0)


@pytest.mark.parametrize("jump", [7200, -7200])
def test_jump_of_the_database_clock_holds_deletes_and_shows(world: World, jump: int) -> None:
    """A failover set the clock wrong (H16)."""
    world.add(1)
    world.moved()
    world.tick()
    world.database_clock.skew = jump
    world.later(5)
    found = world.tick()

    assert any("clock jumped" in note for note in found.notes)
    assert world.run.deletes_held_until > world.context.runs.now()
    assert "clock jumped" in str(world.report()["stall"])


def test_jump_forward_ends_no_lease(world: World) -> None:
    """All leases look over: whoever holds one still goes by the boot clock, and a request that is unanswered has not expired (S7)."""
    for number in (1, 2):
        world.add(number)
    world.seed()
    world.tick()
    world.crash_in("copy", [1])
    world.store.faults.add(Fault.delay(), on="copy")
    world.do("copy", [2])
    world.database_clock.skew = 7200
    world.later(5)
    world.tick()
    world.later(5)
    world.tick()
    world.do("copy")

    assert world.column(1, "lease_token")
    assert not world.move(1).suspect
    assert [key for name, key in world.writes() if name == "copy"] == ["clients/7/assets/2.png"]
    world.later(31)
    world.go()
    assert world.states() == {"deleted": 2}


def test_jump_is_seen_though_two_hosts_tick_in_turn(world: World) -> None:
    """Each process compares with what it saw last itself."""
    world.add(1)
    world.moved()
    other = world.worker()
    for _ in range(2):
        world.tick(host="worker-1")
        world.later(5)
        world.tick(host="worker-2", worker=other)
        world.later(5)
    world.database_clock.skew = 7200
    found = world.tick(host="worker-1")

    assert any("clock jumped" in note for note in found.notes)


def test_jump_is_seen_by_a_process_that_has_just_started(world: World) -> None:
    """The run keeps both clocks of the last tick on this machine (H16)."""
    world.add(1)
    world.moved()
    world.tick()
    world.database_clock.skew = 7200
    world.later(5)

    assert any("clock jumped" in note for note in world.tick(worker=world.worker()).notes)


def test_slow_database_is_no_jump_of_its_clock(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """A tick that waits for the database for a while holds up nothing afterwards."""
    world.add(1)
    world.moved()
    world.tick()
    real = world.context.runs.take_tick

    def slow(*args: object, **more: object) -> bool:
        world.later(8)
        return bool(real(*args, **more))  # type: ignore[arg-type]

    monkeypatch.setattr(world.context.runs, "take_tick", slow)
    world.later(5)
    first = world.tick()
    monkeypatch.undo()
    world.later(5)
    second = world.tick()

    assert [note for found in (first, second) for note in found.notes if "jumped" in note] == []


def test_clock_set_back_does_not_stop_the_run_for_as_long(world: World) -> None:
    """Two hours back: ticks, hints and leases must not wait for two hours (H16)."""
    for number in (1, 2):
        world.add(number)
    world.seed()
    world.tick()
    world.crash_in("copy", [2])
    world.database_clock.skew = -7200
    world.later(5)
    world.tick()
    for _ in range(300):
        world.messages += world.tick().messages
        world.go(until=1)
        if world.is_over():
            break
        world.later(1)

    assert world.states() == {"deleted": 2}
    assert world.clock.boot() < 1000 + 3000


def test_reboot_of_the_ticking_machine_is_no_jump(world: World) -> None:
    """The boot clock begins anew."""
    world.tick()
    world.later(5)
    world.sql("UPDATE rekey_runs SET tick_boot = tick_boot + 1000000000000")
    found = World.tick(world, worker=world.worker())

    assert found.notes == []


def test_first_tick_after_an_outage_suspects_nobody(world: World) -> None:
    """Nobody could give leases back while the ledger was away: workers get until the next tick (S8)."""
    world.add(1)
    world.seed()
    world.tick()
    world.crash_in("copy")
    world.later(300)
    world.tick()
    assert not world.move(1).suspect
    world.later(5)
    world.tick()

    assert world.move(1).suspect


def test_cycle_is_not_parked_while_somebody_works_on_it(world: World) -> None:
    """A waiting move that is leased may be about to be copied."""
    world.add(1, "clients/8/assets/x.png", client=7)
    world.add(2, "clients/7/assets/x.png", client=8)
    world.seed()
    world.do("copy")
    world.later(16)
    world.set_columns(1, lease_token="somebody", lease_until=world.context.runs.now() + 20_000_000)
    world.context.queues.end_waiting(world.run)

    assert world.move(1).state is MoveState.PLANNED
    world.set_columns(1, lease_token=None, lease_until=0)
    world.go()
    assert world.parked() == {str(ParkedReason.TARGET_EXISTS): 2}


def test_move_that_waits_for_another_run_goes_on_waiting(world: World) -> None:
    """Its blocker is no waiting move: it will go, so there is no cycle to be parked."""
    world.add(1, "in/x.png", client=7)
    world.add(2, "clients/7/assets/x.png", client=8)
    world.seed()
    world.do("copy", [1])
    assert world.move(1).waiting
    world.set_columns(2, run_no=99)
    assert world.context.queues.end_waiting(world.run) == 0

    assert world.move(1).state is MoveState.PLANNED


def test_statements_of_a_tick_read_no_more_than_is_due(world: World) -> None:
    """Moves that lie in a long grace are not read at each tick: the index knows which are due."""
    plan = world.sql(
        "EXPLAIN QUERY PLAN SELECT id FROM rekey_moves WHERE run_no = 1 AND state = 'renamed' AND due_at <= 5 ORDER BY due_at, id LIMIT 10"
    )

    assert any("rekey_moves_due (run_no=? AND state=? AND due_at<?)" in row[-1] for row in plan)


def test_switched_moves_that_are_due_go_together_in_a_few_messages(world: World) -> None:
    """A page of a listing shows many; several tasks share very many of them."""
    made = [_sizes(world, due) for due in (3, 100, 250, 4000, 20_000)]

    assert made == [3, 100, 100, 500, 1000]


def _sizes(world: World, due: int) -> int:
    return min(due, reconcile.message_size(world.run, BY_NAME["delete"], due, world.context))


def test_what_is_stamped_when_the_ledger_goes_away_is_sent(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Half-way through a tick: those moves would wait for HINT_SECONDS, and twice as long the next time (H26)."""
    world.add(1)
    world.seed()
    world.later(61)
    take_due, calls = world.context.queues.take_due, itertools.count()

    def away(*args: Any, **kwargs: Any) -> list[int]:  # noqa: ANN401 - as the ledger's own
        if next(calls) > 0:
            raise DatabaseUnavailableError("the server closed the connection")
        return take_due(*args, **kwargs)

    monkeypatch.setattr(world.context.queues, "take_due", away)
    found = world.tick()
    assert ([ids for _, ids in found.messages], found.notes) == ([[1]], ["the server closed the connection"])

    world.later(130)
    with pytest.raises(DatabaseUnavailableError):  # nothing is stamped: the task says so
        world.tick()


def test_hint_whose_commit_was_not_answered_is_sent(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """A message too many does no harm, one too few costs time (S6)."""
    world.add(1)
    world.seed()
    world.later(61)
    real = queues.transaction

    @contextmanager
    def lose_the_answer(*args: Any, **kwargs: Any) -> Iterator[Any]:  # noqa: ANN401 - as the database's own
        with real(*args, **kwargs) as connection:
            yield connection
        if not kwargs.get("read_only"):
            raise OutcomeUnknownError("the connection to the database broke during COMMIT")

    with monkeypatch.context() as broken:
        broken.setattr(queues, "transaction", lose_the_answer)
        sent = world.context.queues.take_due(world.run, stage="copy", state=MoveState.PLANNED, limit=9)

    assert sent == [1]
    assert world.context.queues.in_flight(world.run) == 1
