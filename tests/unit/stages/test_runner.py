"""The frame around a stage: leases, what a message may make a worker do, outages, and assets that kill their worker (S6, S7, S8)."""

from __future__ import annotations

from contextlib import contextmanager
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, NoReturn

import pytest
from sqlalchemy import event

from app.errors import DatabaseUnavailableError, LeaseLostError, OutcomeUnknownError
from app.ledger import leases
from app.ledger import moves as ledger_moves
from app.ledger.records import Outcome
from app.pipeline import BY_NAME
from app.stages.runner import run_stage
from app.states import MoveState, ParkedReason, RunState
from app.testing import Fault
from tests.builders import World

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from sqlalchemy import Connection, Engine


@pytest.fixture
def world(tmp_path: Path) -> World:
    """One kind of store is enough here: what is tested never sends a request that differs."""
    return World(tmp_path)


def _add(world: World, numbers: int) -> None:
    for number in range(1, numbers + 1):
        world.add(number)
    world.seed()


def test_message_for_another_stage_does_what_the_ledger_asks_and_no_more(world: World) -> None:
    """A move that is not due for the stage of the message is left alone (S6)."""
    _add(world, 1)
    world.do("rename", [1])
    world.do("delete", [1])

    assert world.move(1).state is MoveState.PLANNED
    assert world.writes() == []


def test_message_that_comes_again_finds_nothing_to_do(world: World) -> None:
    """A doubled message, or one that was days on its way (S6)."""
    _add(world, 1)
    world.do("copy", [1])
    sent = len(world.writes())
    result = world.do("copy", [1, 1, 99])

    assert result.ready == []
    assert result.summary() == "nothing to do"
    assert len(world.writes()) == sent


def test_two_workers_never_hold_the_same_move(world: World) -> None:
    """The second claim gets what the first one left (S7)."""
    _add(world, 3)
    first = _claim(world, [1, 2])
    second = _claim(world, [1, 2, 3])

    assert (first, second) == ([1, 2], [3])


def _claim(world: World, ids: list[int]) -> list[int]:
    _, claimed = world.context.moves.claim(
        world.run, ids, stage="copy", lease_seconds=30, store_time=world.store.store_time(), clock=world.clock
    )
    return [move.id for move in claimed]


def test_outcome_is_void_once_the_lease_is_somebody_elses(world: World) -> None:
    """Every ledger write carries the token (S7): a worker that was stopped for a while changes nothing any more."""
    _add(world, 1)
    lease = world.crash_in("copy")
    before = world.move(1)
    world.later(31)
    world.messages += world.tick().messages
    world.go(until=2)
    late = world.context.moves.record(lease, [Outcome(move=before)])

    assert late == set()
    assert world.move(1).state is not MoveState.PLANNED


def test_lease_that_ran_out_cannot_be_renewed(world: World) -> None:
    """Though nobody has taken it yet: time has passed that somebody may have relied on."""
    _add(world, 1)
    lease = world.crash_in("copy")
    held = world.moves()
    world.later(20)
    world.context.moves.renew(lease, held, seconds=30)
    assert lease.remaining() == 30
    world.later(31)

    with pytest.raises(LeaseLostError):
        world.context.moves.renew(lease, held, seconds=30)


@pytest.mark.parametrize("state", [RunState.PAUSED, RunState.FINISHED])
def test_run_that_is_not_running_is_left_alone(world: World, state: RunState) -> None:
    """Messages are acknowledged and dropped; nothing is claimed and nothing is hinted (H17)."""
    _add(world, 1)
    world.context.runs.set_state(world.run, state, only_from=RunState.RUNNING)
    world.do("copy", [1])
    world.later(1000)

    assert (world.writes(), world.tick().messages) == ([], [])
    assert world.column(1, "claims") == 0


def test_pause_after_the_message_was_read_still_stops_the_claim(world: World) -> None:
    """The flag is looked at in the claim itself, not only when the task begins."""
    _add(world, 1)
    run = world.run
    world.context.runs.set_state(run, RunState.PAUSED, only_from=RunState.RUNNING)
    _, claimed = world.context.moves.claim(run, [1], stage="copy", lease_seconds=30, store_time=0, clock=world.clock)

    assert claimed == []


def test_task_that_had_to_wait_for_a_place_goes_by_what_was_set_meanwhile(world: World) -> None:
    """It read the run before the wait: its first chunk would go at the old speed."""
    _add(world, 4)
    run, crowd = world.run, world.context.crowd

    @contextmanager
    def place(**_: object) -> Iterator[bool]:
        world.context.steering.set_knobs(run, {"copy_rate": 1})
        world.later(2)
        yield True

    waiting = world.worker(crowd=SimpleNamespace(place=place, lend=crowd.lend, give_back=crowd.give_back))
    result = run_stage("copy", BY_NAME["copy"].work, run, [1, 2, 3, 4], context=waiting)

    assert (result.again, world.writes()) == ([1, 2, 3, 4], [])


def test_paused_run_goes_on_where_it_was(world: World) -> None:
    """Paused between two stages, resumed later: nothing is lost and nothing is done twice."""
    _add(world, 2)
    world.do("copy")
    world.context.runs.set_state(world.run, RunState.PAUSED, only_from=RunState.RUNNING)
    world.do("rename")
    world.later(4000)
    world.context.runs.set_state(world.run, RunState.RUNNING, only_from=RunState.PAUSED)
    world.context.queues.forget_hints(world.run)
    world.go()

    assert world.states() == {"deleted": 2}
    assert len([call for call in world.writes() if call[0] == "copy"]) == 2


def test_move_is_not_claimed_before_its_time(world: World) -> None:
    """A message that came too early waits for the ledger's not-before."""
    _add(world, 1)
    world.store.faults.add(Fault.slow_down(), on="copy")
    world.do("copy")
    world.do("copy")

    assert world.move(1).state is MoveState.PLANNED
    world.later(5)
    world.do("copy")
    assert world.move(1).state is MoveState.COPIED


def test_message_of_many_moves_is_claimed_by_and_by(world: World) -> None:
    """What there was no time for was not claimed, and is sent again."""
    _add(world, 120)
    world.store.on_call = lambda name, _key: world.later(0.11) if name == "copy" else None
    result = world.do("copy", list(range(1, 121)))

    assert sorted(result.ready + result.again) == list(range(1, 121))
    assert max(world.column(number, "claims") for number in result.again if number > 100) == 0


# Workers that die (H28)


def test_batch_whose_worker_died_runs_one_by_one_and_all_of_it_moves(world: World) -> None:
    """One death proves nothing against anybody: no attempt and no death is counted."""
    _add(world, 3)
    world.crash_in("copy")
    world.later(31)
    world.tick()
    assert all(move.suspect for move in world.moves())
    world.go()

    assert world.states() == {"deleted": 3}
    assert [(move.attempts, move.deaths) for move in world.moves()] == [(0, 0)] * 3


def test_asset_that_kills_its_worker_parks_after_so_many_deaths_of_its_own(world: World) -> None:
    """Its batch mates move (case 40): only deaths alone count."""
    _add(world, 3)

    class KilledError(BaseException):
        pass

    def kill(name: str, key: str) -> None:
        if name == "copy" and key == "clients/7/assets/2.png":
            raise KilledError

    world.store.on_call = kill
    lived = 0
    for _ in range(100):
        for stage, ids in world.tick().messages or [(None, [])]:
            if stage is not None:
                try:
                    world.do(stage.name, ids)
                except KilledError:
                    lived += 1
        if world.is_over():
            break
        world.later(16)

    assert world.states() == {"deleted": 2, "parked": 1}
    assert (world.move(2).reason, world.move(2).deaths) == (ParkedReason.FAILED, world.context.settings.max_deaths)
    assert world.move(2).parked_from is MoveState.PLANNED
    assert lived == world.context.settings.max_deaths + 1


def test_suspects_run_one_at_a_time_in_the_whole_run(world: World) -> None:
    """While one worker runs a suspect, another does not run its own: a death is then that asset's for sure."""
    _add(world, 2)
    world.crash_in("copy")
    world.later(31)
    world.tick()
    world.context.runs.take_suspects(world.run, token="another worker", seconds=30)
    world.do("copy", [1, 2])
    assert world.states() == {"planned": 2}
    world.context.runs.leave_suspects(world.run, token="another worker")
    world.do("copy", [1, 2])

    assert world.states() == {"copied": 2}


def test_unanswered_request_makes_no_suspect(world: World) -> None:
    """The lease was kept on purpose."""
    _add(world, 1)
    world.store.faults.add(Fault.lose_reply(), on="copy")
    world.do("copy")
    world.later(40)
    world.tick()

    assert not world.move(1).suspect


# The ledger goes away


def test_outage_of_the_ledger_makes_no_suspects(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is away for longer than a lease: what was done is recorded when it is back, before the reconciler suspects anybody (S8)."""
    _add(world, 3)
    world.tick()
    away_until = world.clock.boot() + 200
    real = ledger_moves.transaction

    @contextmanager
    def away(engine: Engine, **options: bool) -> Iterator[Connection]:
        if 1000 <= world.clock.boot() < away_until and len(world.writes()) == 3:
            raise DatabaseUnavailableError("the database does not answer")
        with real(engine, **options) as connection:
            yield connection

    def sleep(seconds: float) -> None:
        world.later(max(seconds, 1))
        if world.clock.boot() >= away_until and not ticked:
            ticked.append(True)
            world.tick()

    ticked: list[bool] = []
    monkeypatch.setattr(ledger_moves, "transaction", away)
    monkeypatch.setattr(leases, "transaction", away)
    monkeypatch.setattr("app.stages.runner.time.sleep", sleep)
    with pytest.raises(DatabaseUnavailableError):
        world.do("copy")

    assert ticked
    assert [(move.state, move.suspect, move.copy_recorded) for move in world.moves()] == [(MoveState.COPIED, False, True)] * 3


def test_claim_whose_commit_got_no_reply_is_read_back(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """It had happened: the moves are ours, and are worked on instead of waiting for their lease to run out."""
    _add(world, 2)
    real = leases.transaction
    lost: list[bool] = []

    @contextmanager
    def losing(engine: Engine, **options: bool) -> Iterator[Connection]:
        with real(engine, **options) as connection:
            yield connection
        if not lost:
            lost.append(True)
            raise OutcomeUnknownError("the connection broke during COMMIT")

    monkeypatch.setattr(leases, "transaction", losing)
    world.do("copy")

    assert world.states() == {"copied": 2}


def test_claims_that_failed_leave_nothing_to_be_given_back(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker that was kept from its ledger for hours ends as fast as any other, and has not grown by each attempt."""
    _add(world, 1)
    statements: list[str] = []
    event.listen(world.engine, "before_cursor_execute", lambda *args: statements.append(args[2]))

    def away(*_: object, **__: object) -> NoReturn:
        raise DatabaseUnavailableError("the database did not answer")

    with monkeypatch.context() as patch:
        patch.setattr(leases, "transaction", away)
        for _ in range(3):
            with pytest.raises(DatabaseUnavailableError):
                world.do("copy", [1])
    statements.clear()
    world.context.moves.give_up_all(due_in=0)
    assert statements == []
    world.do("copy")

    assert world.states() == {"copied": 1}


def test_claim_of_which_nobody_knows_whether_it_happened_is_given_back(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its COMMIT got no reply, and then the ledger was away: what it may have taken is free again when the worker ends."""
    _add(world, 2)
    real = leases.transaction

    @contextmanager
    def losing(engine: Engine, *, read_only: bool = False, **options: bool) -> Iterator[Connection]:
        if read_only:
            raise DatabaseUnavailableError("the database did not answer")
        with real(engine, **options) as connection:
            yield connection
        raise OutcomeUnknownError("the connection broke during COMMIT")

    with monkeypatch.context() as patch:
        patch.setattr(leases, "transaction", losing)
        with pytest.raises(DatabaseUnavailableError):
            world.do("copy", [1, 2])
    assert world.do("copy", [1, 2]).summary() == "nothing to do"
    world.context.moves.give_up_all(due_in=0)
    world.do("copy", [1, 2])

    assert world.states() == {"copied": 2}


def test_fault_of_ours_parks_one_asset_and_not_its_mates(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """An exception that nobody foresaw: alone, it is this asset's recorded error; its mates move (H28)."""
    _add(world, 3)
    real = world.store.copy

    def copy(source: Any, key: str, **more: Any) -> Any:  # noqa: ANN401 - as the store's own
        if key == "clients/7/assets/2.png":
            raise ZeroDivisionError("a fault")
        return real(source, key, **more)

    monkeypatch.setattr(world.store, "copy", copy)
    messages = [("copy", [1, 2, 3])]
    for _ in range(100):
        messages += [(stage.name, ids) for stage, ids in world.tick().messages]
        for stage, ids in messages:
            try:
                world.do(stage, ids)
            except ZeroDivisionError:
                continue
        messages = []
        if world.is_over():
            break
        world.later(16)

    assert world.states() == {"deleted": 2, "parked": 1}
    assert "ZeroDivisionError" in str(world.move(2).detail)


@pytest.mark.parametrize("stage", ["copy", "rename", "delete"])
def test_statements_go_by_batches_and_not_by_moves(tmp_path: Path, stage: str) -> None:
    """A lease is a clock's deadline and a token: no query a request, none a move (H35)."""
    counted = []
    for numbers in (2, 40):
        folder = tmp_path / str(numbers)
        folder.mkdir()
        world = World(folder)
        _add(world, numbers)
        for before in ("copy", "rename", "delete")[: ("copy", "rename", "delete").index(stage)]:
            world.do(before)
        world.later(100)
        statements: list[str] = []
        event.listen(world.engine, "before_cursor_execute", lambda *args, seen=statements: seen.append(args[2]))
        world.do(stage, list(range(1, numbers + 1)))
        counted.append(len([statement for statement in statements if not statement.startswith("BEGIN")]))

    assert counted[0] == counted[1]


def test_grace_is_the_one_that_was_promised_when_the_move_was_planned(world: World) -> None:
    """Lowering the setting later takes nothing from readers (H16d)."""
    _add(world, 1)
    world.do("copy")
    world.do("rename")
    world.later(10)
    settings = world.context.settings.model_copy(update={"grace_seconds": 1})
    world.do("delete", worker=world.worker(settings=settings))

    assert world.move(1).state is MoveState.RENAMED
    assert world.move(1).grace_seconds == 60


@pytest.mark.parametrize(("stage", "looks"), [("rename", 4), ("delete", 4), ("copy", 2)])
def test_batch_gets_on_where_a_look_in_the_middle_fails(tmp_path: Path, stage: str, looks: int) -> None:
    """What was seen before is acted on, and only the rest goes back: else a store that fails now and then would hold up large batches."""
    world = World(tmp_path, settings={"grace_seconds": 0})
    for number in range(1, 5):
        world.add(number, f"up/odd name {number}.png")  # looked at by HEADs
    world.seed()
    for earlier in {"copy": (), "rename": ("copy",), "delete": ("copy", "rename")}[stage]:
        world.do(earlier)
    world.store.faults.add(Fault.slow_down(), on="stat", skip=looks)

    result = world.do(stage)

    done = {"copy": "copied", "rename": "renamed", "delete": "deleted"}[stage]
    assert result.counts == {done: 2, "given back": 2, "StoreUnavailable": 1}
    world.go()
    assert world.states() == {"deleted": 4}
