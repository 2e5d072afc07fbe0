"""The tasks: thin, and what they send is a hint that may be lost (S6)."""

from __future__ import annotations

import dataclasses
import sys
from typing import TYPE_CHECKING, Any

import pytest
from celery._state import _task_stack
from sqlalchemy.exc import OperationalError

import tasks
from app import resources, tick_failures
from app.errors import BrokerUnavailableError, DatabaseUnavailableError, UsageError
from app.states import MoveState, RunState
from tasks import messages, webhook
from tests.builders import World, make_settings

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from app.ledger.records import Run

DEPLOYMENT = "this deployment"
reconcile_moves = sys.modules["tasks.reconcile_moves"]  # the package's name is the task's


class Broker:
    """Takes messages, or refuses them for a while."""

    def __init__(self) -> None:
        self.sent: list[tuple[str, tuple[Any, ...]]] = []
        self.headers: list[Mapping[str, int] | None] = []
        self.away = 0

    def send(self, task: Any, *args: Any, headers: Mapping[str, int] | None = None) -> None:  # noqa: ANN401 - as app.celery_app.send
        """Keep a message."""
        if self.away > 0:
            self.away -= 1
            raise BrokerUnavailableError("the broker took no message")
        self.sent.append((task.name, args))
        self.headers.append(headers)

    def take(self) -> Sequence[tuple[str, tuple[Any, ...]]]:
        """What was sent since the last time."""
        taken, self.sent = self.sent, []
        return taken


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    """A world whose parts are this process's resources."""
    made = World(tmp_path)
    monkeypatch.setattr(resources, "runs", lambda: made.context.runs)
    monkeypatch.setattr(resources, "moves", lambda: made.context.moves)
    monkeypatch.setattr(resources, "queues", lambda: made.context.queues)
    monkeypatch.setattr(resources, "deployment", lambda: DEPLOYMENT)
    monkeypatch.setattr(resources, "context", lambda _run: made.context)
    monkeypatch.setattr(resources, "settings", make_settings)
    return made


@pytest.fixture
def broker(monkeypatch: pytest.MonkeyPatch) -> Broker:
    """Where the tasks publish."""
    made = Broker()
    monkeypatch.setattr(messages, "send", made.send)
    return made


def _deliver(broker: Broker) -> list[str]:
    """Let workers do all messages there are; gives what they say."""
    return [getattr(tasks, name)(*args) for name, args in broker.take()]


def _drive(world: World, broker: Broker, *, ticks: int = 60) -> None:
    for _ in range(ticks):
        tasks.reconcile_moves()
        while broker.sent:
            _deliver(broker)
        if world.run.state is RunState.FINISHED:
            return
        world.later(5)
    raise AssertionError(world.report())


def test_messages_alone_drive_a_run_to_its_end(world: World, broker: Broker) -> None:
    """From the seed's message on, each carries deployment, run and ids, and nothing else (S10)."""
    for number in range(1, 4):
        world.add(number)
    run = world.run
    messages.enqueue_seed(run)
    assert broker.sent == [("seed_moves", (DEPLOYMENT, run.id))]
    assert _deliver(broker) == ["pass 1: 3 of 3 rows planned"]
    assert broker.sent == [("copy_objects", (DEPLOYMENT, run.id, [number])) for number in (1, 2, 3)] + [
        ("seed_moves", (DEPLOYMENT, run.id))
    ]
    _drive(world, broker)

    assert world.states() == {"deleted": 3}


def test_end_of_a_run_is_one_event_in_the_log(world: World, broker: Broker, caplog: pytest.LogCaptureFixture) -> None:
    """What an alert or a script waits for, told from all the other ticks of the reconciler."""
    world.add(1)
    messages.enqueue_seed(world.run)
    with caplog.at_level("INFO"):
        _drive(world, broker)
    ends = [record for record in caplog.records if getattr(record, "action", None) == "run_ended"]

    assert [(record.run_id, "finished" in record.getMessage()) for record in ends] == [(world.run.id, True)]  # type: ignore[attr-defined]


def test_summary_says_what_was_done_as_flower_shows_it(world: World, broker: Broker) -> None:
    """Outcomes, and parked ones by reason."""
    for number in range(1, 4):
        world.add(number)
    world.store.app_put("clients/7/assets/2.png", b"theirs")
    world.seed()

    assert tasks.copy_objects(DEPLOYMENT, world.run.id, [1, 2, 3]) == "2 copied, 1 parked: target_exists 1"
    assert broker.take() == [("rename_keys", (DEPLOYMENT, world.run.id, [1, 3]))]
    assert tasks.rename_keys(DEPLOYMENT, world.run.id, [1, 3]) == "2 renamed"
    assert tasks.delete_objects(DEPLOYMENT, world.run.id, [1, 3]) == "2 looked after"
    assert broker.take() == []


def test_run_that_is_started_outside_of_its_hours_plans_nothing(world: World, broker: Broker) -> None:
    """It rests from its first message on, before any tick; in its hours it begins by itself."""
    world.add(1)
    world.context = dataclasses.replace(world.context, settings=make_settings(window="22:00-23:00"))
    said = tasks.seed_moves(DEPLOYMENT, world.run.id)
    stood, sent = world.report(), broker.take()
    tasks.reconcile_moves()
    still = world.moves()
    world.later(14 * 3600 + 60)  # the database's clock showed eight
    _drive(world, broker)

    assert said.startswith("paused: outside of its hours 22:00-23:00 UTC: goes on at 22:00 UTC")
    assert (stood["state"], stood["rests"]) == ("paused", "window")
    assert (sent, still) == ([], [])
    assert world.states() == {"deleted": 1}


@pytest.mark.parametrize("name", ["seed_moves", "copy_objects", "rename_keys", "delete_objects"])
def test_message_of_another_deployment_or_an_unknown_run_is_refused(world: World, broker: Broker, name: str) -> None:
    """Two ledgers on one broker, or a database restored to before the run (S6, case 44)."""
    world.add(1)
    world.seed()
    more = [] if name == "seed_moves" else [[1]]
    theirs = ("another", world.run.id, *more)
    said = [getattr(tasks, name)(*message) for message in (theirs, (DEPLOYMENT, "0" * 32, *more))]

    assert said == ["ignored: not a run of this deployment"] * 2
    assert (world.states(), world.writes()) == ({"planned": 1}, [])
    assert (broker.sent, broker.headers) == ([(name, theirs)], [{"passed_on": 1}]), "put back for the deployment that it is for"


@pytest.mark.parametrize(("passed", "taken"), [(9, 1), (10, 0)])
def test_message_of_another_deployment_comes_round_a_bounded_number_of_times(world: World, broker: Broker, passed: int, taken: int) -> None:
    """That deployment may be gone (case 44)."""
    task = tasks.copy_objects
    task.push_request(args=("another", world.run.id, [1]), headers={"passed_on": passed})
    _task_stack.push(task)
    try:
        assert messages.known_run("another", world.run.id) is None
    finally:
        _task_stack.pop()
        task.pop_request()

    assert len(broker.sent) == taken


def test_message_of_another_deployment_that_the_broker_does_not_take_back_is_dropped(world: World, broker: Broker) -> None:
    """Its ledger sends it again (S6)."""
    broker.away = 1

    assert tasks.copy_objects("another", world.run.id, [1]) == "ignored: not a run of this deployment"
    assert broker.sent == []


def test_broker_that_takes_no_message_loses_nothing(world: World, broker: Broker) -> None:
    """The copies are on record and due at once: the next tick sends them (case 41)."""
    world.add(1)
    world.seed()
    broker.away = 1
    tasks.copy_objects(DEPLOYMENT, world.run.id, [1])
    assert (broker.sent, world.move(1).state) == ([], MoveState.COPIED)
    tasks.reconcile_moves()

    assert broker.take() == [("rename_keys", (DEPLOYMENT, world.run.id, [1]))]


def test_flushed_broker_loses_nothing(world: World, broker: Broker) -> None:
    """Every message is thrown away once; the ledger has them sent again within HINT_SECONDS (case 42)."""
    for number in range(1, 4):
        world.add(number)
    messages.enqueue_seed(world.run)
    _deliver(broker)
    broker.take()
    _drive(world, broker)

    assert world.states() == {"deleted": 3}


def test_doubled_messages_do_everything_once(world: World, broker: Broker) -> None:
    """At least once is all that a broker promises."""
    for number in range(1, 4):
        world.add(number)
    messages.enqueue_seed(world.run)
    for _ in range(60):
        while broker.sent:
            for name, args in list(broker.take()) * 2:
                getattr(tasks, name)(*args)
        tasks.reconcile_moves()
        tasks.reconcile_moves()
        world.later(5)
        if world.run.state is RunState.FINISHED:
            break

    assert world.states() == {"deleted": 3}
    assert sum(1 for name, _ in world.writes() if name == "copy") == 3


def test_rest_of_a_batch_that_took_too_long_is_sent_again(world: World, broker: Broker) -> None:
    """After about five seconds (design, section 6)."""
    for number in range(1, 6):
        world.add(number)
    world.seed()
    world.store.on_call = lambda name, _key: world.later(3) if name == "copy" else None
    tasks.copy_objects(DEPLOYMENT, world.run.id, [1, 2, 3, 4, 5])

    assert ("copy_objects", (DEPLOYMENT, world.run.id, [3, 4, 5])) in broker.sent
    assert ("rename_keys", (DEPLOYMENT, world.run.id, [1, 2])) in broker.sent


def test_task_that_stops_half_way_still_hands_over_what_was_done_before(
    world: World, broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The table is not there any more, or the ledger is away: one line, and the ledger has the rest."""
    world.add(1)
    world.seed()

    def gone(_run: object) -> object:
        raise UsageError("no table 'assets' in this database")

    monkeypatch.setattr(resources, "context", gone)

    assert tasks.copy_objects(DEPLOYMENT, world.run.id, [1]) == "stopped: no table 'assets' in this database"
    assert tasks.seed_moves(DEPLOYMENT, world.run.id) == "stopped: no table 'assets' in this database"
    assert "no table" in tasks.reconcile_moves()
    assert broker.sent == []


def test_tick_that_finds_the_ledger_away_is_one_line(world: World, broker: Broker, monkeypatch: pytest.MonkeyPatch) -> None:
    """The next tick tries again."""

    def away() -> object:
        raise DatabaseUnavailableError("the database did not answer")

    monkeypatch.setattr(resources, "runs", away)

    assert tasks.reconcile_moves() == "stopped: the database did not answer"
    assert broker.sent == []


def test_tick_on_a_database_without_the_ledger_is_one_line(world: World, broker: Broker, monkeypatch: pytest.MonkeyPatch) -> None:
    """The wrong database, or none that `rekey init` has seen: said each time, without a traceback."""
    missing = UsageError("the ledger's tables are missing in this database: run `rekey init`")

    def none() -> str:
        raise missing

    monkeypatch.setattr(resources, "deployment", none)
    monkeypatch.setattr(world.context.runs, "all_live", lambda: pytest.fail("it has no table to read"))

    assert reconcile_moves.reconcile_moves() == f"stopped: {missing}"
    assert broker.sent == []


@pytest.mark.parametrize(
    "failure",
    [
        (OperationalError("SELECT 1", {}, Exception("no such table: assets")), "the database refuses: no such table: assets"),
        (ValueError("a bug"), "unexpected ValueError: a bug"),
    ],
    ids=["database", "bug"],
)
def test_run_whose_tick_fails_holds_up_no_other(
    world: World, broker: Broker, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, failure: tuple[Exception, str]
) -> None:
    """Its table was renamed, say: it is told in the log once, and in `rekey status` until its ticks come through again."""
    first, second, told = world.run, _run_on(world, "others"), []
    error, words = failure
    failing = {first.id}

    def context(run: Run) -> object:
        if run.id in failing:
            raise error
        return world.context

    monkeypatch.setattr(resources, "context", context)
    monkeypatch.setattr(reconcile_moves, "tell", lambda: told.append("told"))
    monkeypatch.setattr(reconcile_moves, "leave", lambda: ["some have left"])
    with caplog.at_level("WARNING"):
        said = [tasks.reconcile_moves() for _ in range(2)]
    sent, stall = broker.take(), world.report()["stall"]
    failing.clear()
    tasks.reconcile_moves()

    assert said == [f"run {first.id[:8]} fails: {words}; some have left"] * 2
    assert ("seed_moves", (DEPLOYMENT, second.id)) in sent
    assert told == ["told"] * 3
    assert [(record.getMessage(), record.exc_info) for record in caplog.records] == [
        (f"reconcile of run {first.id[:8]} fails: {words}", None)
    ]
    assert (stall, world.report()["stall"]) == (f"the reconciler fails on this run: {words}", None)


def test_failure_of_a_tick_is_not_told_for_ever(world: World) -> None:
    """The process that met it may have ended since, and another's ticks come through."""
    run = world.run
    tick_failures.keep(world.context.runs, run, "no such table: assets")
    during = world.report()["stall"]
    for _ in range(8):
        world.later(5)
        world.tick()

    assert during == "the reconciler fails on this run: no such table: assets"
    assert world.report()["stall"] is None


def test_run_that_the_webhook_cannot_be_told_of_holds_up_no_other(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the error is: each run is told of by itself."""
    first, second, told = world.run, _run_on(world, "others"), []

    def tell(run: Run) -> None:
        if run.id == first.id:
            raise ValueError("a bug")
        told.append(run.id)

    monkeypatch.setattr(resources, "settings", lambda: make_settings(webhook_url="http://127.0.0.1:1/"))
    monkeypatch.setattr(webhook, "_tell", tell)
    webhook.tell()

    assert told == [second.id]


def _run_on(world: World, table: str) -> Run:
    made = world.context.runs.create(
        bucket=world.context.settings.s3_bucket,
        table_name=table,
        settings={},
        capabilities=dataclasses.asdict(world.store.capabilities),
        rows=0,
        user="tester",
        version="0",
    )
    return world.context.runs.get(made.id)


def test_paused_run_drops_its_messages_and_sends_none(world: World, broker: Broker) -> None:
    """Acknowledged and dropped (H17)."""
    world.add(1)
    world.seed()
    world.context.runs.set_state(world.run, RunState.PAUSED, only_from=RunState.RUNNING)
    world.later(100)

    assert tasks.copy_objects(DEPLOYMENT, world.run.id, [1]) == "1 ignored: run paused"
    assert tasks.seed_moves(DEPLOYMENT, world.run.id) == "nothing to plan"
    assert tasks.reconcile_moves() == "nothing is due"
    assert broker.sent == []
