"""What holds a run back: by whom it is decided, that workers go by it, and that the status says so."""

from __future__ import annotations

import dataclasses
import gc
import weakref
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import TYPE_CHECKING, Any

import pytest

from app import probing
from app.cli.turn import parse
from app.cli.words import line
from app.errors import DatabaseUnavailableError, RolledBackError, UsageError
from app.gauge import BOUNDS, Gauge, Reading
from app.ledger.throttles import Tallied, Throttle, ThrottleLedger
from app.pipeline import MOVE_STAGES
from app.reconcile import reconcile
from app.settings import load
from app.stages.tally import Tally
from app.states import RunState
from app.testing import InMemoryStore
from app.testing.versions import CONDITIONAL
from app.throttle.window import Window
from app.throttling import throttle
from tests.builders import HOST, World, make_settings

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

ADAPTS = {"adapt": True, "grace_seconds": 0}


def busy(folder: Path, *, rows: int = 40, **settings: object) -> World:
    """A world whose workers note what they do with each chunk."""
    world = World(folder, settings=ADAPTS | settings)
    world.context = dataclasses.replace(world.context, tally=Tally(seconds=0.0))
    for number in range(1, rows + 1):
        world.add(number)
    world.seed()
    return world


def decide(world: World, *, write_seconds: float = 0.0, depth: int = 0, after: float = 5) -> Throttle:
    """What a tick, five seconds later, makes of it."""
    world.later(after)
    run = world.context.runs.find(world.run_id)
    assert run is not None
    throttle(run, context=world.context, now=world.context.runs.now(), write_seconds=write_seconds, depth=lambda: depth)
    return world.context.throttles.find(world.run)


def answered(world: World, *, requests: int, slow_downs: int = 0, milliseconds: int = 1) -> None:
    """The store has answered so, since it was last asked."""
    world.store.answered += Reading(requests, slow_downs, requests * milliseconds * 1000)


def test_stage_that_the_store_refuses_gives_way_and_the_others_do_not(tmp_path: Path) -> None:
    """By its own requests; the status names stage, cause and knob, and a worker that reads the run goes by the rate."""
    world = busy(tmp_path)
    ids = [move.id for move in world.moves()]
    answered(world, requests=40, slow_downs=10)
    world.do("copy", ids[:20])
    decided = decide(world)
    run = world.context.runs.find(world.run_id)

    assert run is not None
    assert run.rates == decided.rates == {"copy": decided.rates["copy"]}
    assert 2 <= decided.rates["copy"] <= 3, "a half or more of four a second"
    assert world.context.rate(run, "copy") == decided.rates["copy"]
    assert world.context.rate(run, "rename") == 0
    assert f"| held back by copy, slowed to {decided.rates['copy']} a second: the store asks" in line(world.report())
    assert world.report()["held_back_by"] == (
        f"copy, slowed to {decided.rates['copy']} a second: the store asks to slow down (503) in 25 % of its answers: "
        "`rekey set adapt=false` takes no notice"
    )


def test_deletes_that_are_slowed_down_look_at_nothing_in_vain(tmp_path: Path) -> None:
    """The looks make the pressure, so they are what is bound: each of them ends in a delete."""
    world = busy(tmp_path, rows=40)
    world.do("copy")
    world.do("rename")
    world.context.throttles.decide(world.run, Throttle(rates={"delete": 3}))
    world.later(3)  # until it is heard of
    before = world.clock.boot()
    result = world.do("delete")

    assert result.taken == result.outcomes < 40
    assert 6 <= result.taken <= 3 * (world.clock.boot() - before) + 6, "two seconds' worth at once"
    assert world.states() == {"deleted": result.taken, "renamed": 40 - result.taken}


def test_turns_that_were_not_used_are_given_back(tmp_path: Path) -> None:
    """A message that comes twice finds nothing to do, and holds nobody up."""
    world = busy(tmp_path, rows=20)
    world.do("copy", list(range(1, 11)))
    world.context.throttles.decide(world.run, Throttle(rates={"copy": 5}))
    world.later(3)
    before = world.clock.boot()
    world.do("copy", list(range(1, 11)))

    assert world.context.steering.turn(world.run, stage="copy", moves=1, rate=5, patience=0.0) == 0
    assert world.clock.boot() == before


def test_operators_rate_stays_a_bound(tmp_path: Path) -> None:
    """The lower one counts."""
    world = busy(tmp_path, copy_rate=1)
    answered(world, requests=10, slow_downs=10)
    world.do("copy", [1])
    decide(world)
    run = world.context.runs.find(world.run_id)

    assert run is not None
    assert world.context.rate(run, "copy") == 1
    lower = dataclasses.replace(run, rates={"copy": 7})
    free = dataclasses.replace(world.context, settings=make_settings(**ADAPTS))
    assert (world.context.rate(lower, "copy"), free.rate(lower, "copy")) == (1, 7)


def test_single_refusals_are_no_pressure(tmp_path: Path) -> None:
    """A store says 503 once in a while: to less than one request in twenty, or to one or two of a few."""
    world = busy(tmp_path)
    for move, (requests, slow_downs) in enumerate([(1000, 49), (4, 2)], start=1):
        answered(world, requests=requests, slow_downs=slow_downs)
        world.do("copy", [move])

        assert decide(world).rates == {}


@pytest.mark.parametrize(
    ("settings", "milliseconds", "write_seconds", "words"),
    [
        ({"store_latency_ms": 100}, 150, 0.0, "the store takes 150 ms to answer: `rekey set store_latency_ms=N` allows for more than 100"),
        (
            {"database_latency_ms": 50},
            1,
            0.08,
            "a small transaction takes 80 ms: `rekey set database_latency_ms=N` allows for more than 50",
        ),
    ],
)
def test_slow_answers_above_a_bound_slow_down(
    tmp_path: Path, settings: dict[str, int], milliseconds: int, write_seconds: float, words: str
) -> None:
    """No bound is set unless the operator sets it: what is slow here is not there."""
    world = busy(tmp_path, **settings)
    answered(world, requests=100, milliseconds=milliseconds)
    world.do("copy", list(range(1, 21)))
    slowed = decide(world, write_seconds=write_seconds)
    world.context = dataclasses.replace(world.context, settings=make_settings(**ADAPTS))
    answered(world, requests=100, milliseconds=milliseconds)
    world.do("copy", list(range(21, 41)))
    unbound = decide(world, write_seconds=write_seconds)

    assert slowed.causes == {"copy": words}
    assert unbound.rates["copy"] >= slowed.rates["copy"]


def test_rate_changes_no_faster_than_its_effect_is_seen(tmp_path: Path) -> None:
    """With a tick a second, one burst of refusals would be taken for four: what was decided needs two seconds to be heard and noted."""
    world = busy(tmp_path)
    answered(world, requests=40, slow_downs=20)
    world.do("copy", list(range(1, 21)))
    first = decide(world)
    answered(world, requests=40, slow_downs=20)
    world.do("copy", [21, 22])
    soon = decide(world, after=2)
    later = decide(world, after=3)

    assert soon == first
    assert later.rates["copy"] < first.rates["copy"]


def test_rate_is_lifted_when_the_operator_takes_no_notice(tmp_path: Path) -> None:
    """`rekey set adapt=false`, at the next tick."""
    world = busy(tmp_path)
    answered(world, requests=10, slow_downs=10)
    world.do("copy", [1])
    assert decide(world).rates
    world.context = dataclasses.replace(world.context, settings=make_settings(adapt=False, guard_percent=0))

    assert decide(world).rates == {}


def test_full_queues_hold_the_seed_and_the_reconciler(tmp_path: Path) -> None:
    """What lies there is worked off; nothing is added to it."""
    world = busy(tmp_path, broker_depth=10)
    world.add(100)
    deep = decide(world, depth=11)
    told = world.report()["held_back_by"]
    world.later(70)
    held = reconcile(world.run, context=world.context, host=HOST, depth=lambda: 11)
    after = decide(world, depth=3)

    assert deep.rates == {"seed": 0}
    assert told.startswith("seed, held: 11 messages lie in the queues: `rekey set broker_depth=N`")
    assert (held.messages, held.seed) == ([], False), "the messages count as lost by now"
    assert after.rates == {}


def failing(folder: Path, **settings: object) -> World:
    """A world in which nine of thirty objects are missing."""
    world = busy(folder, rows=30, guard_percent=20, guard_outcomes=30, settle_seconds=0, **settings)
    for number in range(1, 10):
        world.store.app_delete(f"up/{number}.png")
    return world


def test_too_many_failures_pause_the_run_until_somebody_has_looked(tmp_path: Path) -> None:
    """`resume` counts anew: the failures that were seen do not pause it again."""
    world = failing(tmp_path)
    world.go()
    stopped = world.report()
    world.context.throttles.hand_over(world.run)
    world.context.runs.set_state(world.run, RunState.RUNNING, only_from=RunState.PAUSED)
    world.context.queues.forget_hints(world.run)
    world.go()

    assert (stopped["state"], stopped["rests"]) == ("paused", "failures")
    assert "20 % of 30 are too many" in stopped["stall"]
    assert "`rekey resume` goes on and counts anew" in stopped["stall"]
    assert world.states() == {"deleted": 21, "parked": 9}


@pytest.mark.parametrize("stage", [stage.name for stage in MOVE_STAGES])
def test_failures_of_one_stage_are_not_thinned_out_by_what_the_others_did(tmp_path: Path, stage: str) -> None:
    """A slow tick sees copies, switches and deletes of the same assets at once; each stage's share is its own."""
    world = busy(tmp_path, rows=30, guard_percent=20, guard_outcomes=30)
    for each in (each.name for each in MOVE_STAGES):
        world.context.throttles.note(world.run, worker=HOST, stage=each, done=Tallied(outcomes=30, failed=6 if each == stage else 0))
    decide(world)

    assert world.report()["rests"] == "failures"
    assert f"6 of the last 30 outcomes of {stage} failed" in world.report()["stall"]


def test_guard_can_be_taken_away(tmp_path: Path) -> None:
    """With 0 nothing pauses a run but a canary read."""
    world = failing(tmp_path)
    world.context = dataclasses.replace(world.context, settings=world.context.settings.model_copy(update={"guard_percent": 0}))
    world.go()

    assert world.run.state is RunState.FINISHED


def resting(folder: Path) -> World:
    """A run that rests since the operator's SELECT says so; row 1's title is what it looks at."""
    world = busy(folder, rows=3, probe_sql="SELECT count(*) = 0 FROM assets WHERE title = 'busy: as ever'")
    world.sql("UPDATE assets SET title = 'busy: as ever' WHERE id = 1")
    world.messages.append((None, []))
    world.go()
    return world


def test_run_rests_while_the_operators_select_says_no_and_goes_on_by_itself(tmp_path: Path) -> None:
    """Nothing is done meanwhile, and the status says whose answer it is."""
    world = resting(tmp_path)
    rested = world.report()
    world.later(5)
    world.tick()
    still = world.run.state
    world.sql("UPDATE assets SET title = NULL")
    world.later(5)
    found = world.tick()
    world.messages += found.messages
    world.go()

    assert (rested["state"], rested["rests"]) == ("paused", "probe")
    assert rested["stall"].startswith("paused, the SELECT of REKEY_PROBE_SQL says 0: goes on as soon as that is over")
    assert still is RunState.PAUSED
    assert "goes on by itself" in found.notes
    assert world.states() == {"deleted": 3}


def test_operators_pause_is_not_undone_when_the_reason_to_rest_is_gone(tmp_path: Path) -> None:
    """He has paused a run that rested already: it stays so until he resumes it."""
    world = resting(tmp_path)
    world.context.throttles.hand_over(world.run)
    world.sql("UPDATE assets SET title = NULL")
    world.later(5)
    world.tick()

    assert world.run.state is RunState.PAUSED
    assert not world.context.throttles.go_on(world.run)


def test_run_that_was_ended_is_not_let_go_on(tmp_path: Path) -> None:
    """Nor one that was cancelled while it rested."""
    world = resting(tmp_path)
    world.context.reopening.cancel(world.run)

    assert not world.context.throttles.go_on(world.run)
    assert not world.context.throttles.rest(world.run, Throttle(rests="probe"))
    assert world.run.state is RunState.CANCELLED


def test_select_that_fails_holds_the_run(tmp_path: Path) -> None:
    """What cannot be asked has not said yes."""
    world = busy(tmp_path, probe_sql="SELECT nothing FROM nowhere")
    decide(world)

    assert "the database refuses the SELECT" in world.report()["stall"]


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("-- is it quiet?", "it gives no rows"),
        ("DELETE FROM assets", "it gives no rows"),
        ("SELECT 1; SELECT 1", "REKEY_PROBE_SQL"),
        ("SELECT 1 -- \0", "REKEY_PROBE_SQL"),
        ("SELECT '0'", "says 0"),
        ("SELECT 'false'", "says false"),
        ("SELECT x'00'", "says"),
        ("SELECT NULL", "says None"),
    ],
)
def test_whatever_is_no_yes_holds_the_run(tmp_path: Path, text: str, why: str) -> None:
    """Texts that give no rows or that the driver refuses, as on record of a run; and what a database may give for false."""
    world = busy(tmp_path, rows=3)
    world.context = dataclasses.replace(world.context, settings=world.context.settings.model_copy(update={"probe_sql": text}))
    decide(world)

    assert world.run.state is RunState.PAUSED
    assert why in world.report()["stall"]
    assert len(world.sql("SELECT id FROM assets")) == 3


@pytest.mark.parametrize("text", ["SELECT 1", "SELECT 'true'", "SELECT 't'", "SELECT x'01'", "SELECT 0.5"])
def test_select_that_says_yes_lets_the_run_go_on(tmp_path: Path, text: str) -> None:
    """In any type of value."""
    world = busy(tmp_path, rows=3, probe_sql=text)
    decide(world)

    assert world.run.state is RunState.RUNNING


def test_select_that_takes_too_long_holds_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The server ends it, as it ends any long statement."""

    def ended(_engine: object, **_: object) -> object:
        raise RolledBackError("the database did not answer: canceling statement due to statement timeout")

    world = busy(tmp_path, probe_sql="SELECT 1")
    monkeypatch.setattr(probing, "transaction", ended)
    decide(world)

    assert "the database refuses the SELECT" in world.report()["stall"]


@pytest.mark.parametrize("text", ["-- is it quiet?", "DELETE FROM v2", "UPDATE t SET a = 1", "/* SELECT 1 */", "quiet?", "selection"])
def test_probe_that_is_no_select_is_refused_where_it_is_set(text: str) -> None:
    """At the start, and by `rekey set`."""
    with pytest.raises(UsageError, match="cannot be right: give a SELECT"):
        load({"probe_sql": text}, environ={}, required=())
    with pytest.raises(UsageError, match="probe_sql="):
        parse((f"probe_sql={text}",))


@pytest.mark.parametrize(
    "text", ["SELECT 1", " select(1)", "-- why\n/* how */ (SELECT 1)", "WITH a AS (SELECT 1) SELECT * FROM a", "VALUES (1)", ""]
)
def test_probe_that_asks_is_taken(text: str) -> None:
    """With comments and brackets before it too; an empty one asks no more."""
    assert load({"probe_sql": text}, environ={}, required=()).probe_sql == (text or None)


class Ready(BaseHTTPRequestHandler):
    """The operator's own address, which answers what it is told to; by HTTP/1.0, and without a length."""

    status = 503

    def do_GET(self) -> None:
        """Answer."""
        self.send_response(type(self).status)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Nothing is logged."""


def test_run_rests_while_the_operators_url_does_not_say_yes(tmp_path: Path) -> None:
    """What it answers is told, and the address is not; one that is gone has not said yes either."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Ready) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        world = busy(tmp_path, rows=3, probe_url=f"http://127.0.0.1:{server.server_port}/ready?token=abc")
        decide(world)
        refused = world.report()
        server.shutdown()
    world.later(5)
    world.tick()
    gone = world.report()
    with ThreadingHTTPServer(("127.0.0.1", server.server_port), Ready) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        Ready.status = 204
        world.later(5)
        world.messages += world.tick().messages
        world.go()
        server.shutdown()

    assert (refused["state"], refused["rests"]) == ("paused", "probe")
    assert refused["stall"].startswith("paused, REKEY_PROBE_URL answers 503: goes on as soon as that is over")
    assert gone["stall"].startswith("paused, REKEY_PROBE_URL gives no answer within 2 s")
    assert "abc" not in refused["stall"] + gone["stall"]
    assert world.states() == {"deleted": 3}


def test_reconciler_takes_the_time_of_its_own_small_transaction(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The one by which it takes its tick: one in which nothing but the database can be slow."""
    world = busy(tmp_path, database_latency_ms=50)
    answered(world, requests=100)
    world.do("copy", list(range(1, 21)))
    take_tick = world.context.runs.take_tick

    def slowly(*args: Any, **values: Any) -> bool:  # noqa: ANN401 - as that
        world.later(0.08)
        return take_tick(*args, **values)

    monkeypatch.setattr(world.context.runs, "take_tick", slowly)
    world.later(5)
    reconcile(world.run, context=world.context, host=HOST)

    assert "a small transaction takes 80 ms" in world.context.throttles.find(world.run).causes["copy"]


def test_run_rests_outside_of_its_hours(tmp_path: Path) -> None:
    """By the database's clock, which shows 08:00 UTC; the status says when it goes on."""
    closed = busy(tmp_path, rows=1, window="22:00-06:00 Europe/Berlin")
    decide(closed)

    assert closed.report()["stall"] == (
        "paused, outside of its hours 22:00-06:00 Europe/Berlin: goes on at 22:00 CET; `rekey set window=` takes them away"
    )


@pytest.mark.parametrize("text", ["22-6", "24:00-06:00", "22:00-06:00 Berlin", "06:00-06:00", "22:00", "22:00-06:00 ../etc"])
def test_hours_that_are_none_are_refused(text: str) -> None:
    """With the form that they have."""
    with pytest.raises(ValueError, match=r"time zone|open always or never"):
        Window.parse(text)
    with pytest.raises(UsageError, match="REKEY_WINDOW"):
        load({}, environ={"REKEY_WINDOW": text}, required=())


def test_address_of_the_probe_is_never_shown() -> None:
    """It may hold a key."""
    settings = load({}, environ={"REKEY_PROBE_URL": "https://ops.example.com/ready?token=abc"}, required=())

    assert "abc" not in repr(settings)
    assert "abc" not in str(settings.public())
    assert "https://ops.example.com/ready?token=abc" in settings.secrets


def test_tally_is_noted_now_and_then_and_loses_nothing(tmp_path: Path) -> None:
    """Between two notes it is kept; what several workers have noted is added up."""
    world = World(tmp_path)
    tallies = [Tally(seconds=1.0), Tally(seconds=1.0)]
    for second in (0.0, 0.5, 1.5):
        for tally in tallies:
            world.store.answered = Reading(int(10 * second), 0, 0)
            kept: dict[str, Any] = {"store": world.store, "throttles": lambda: world.context.throttles}
            tally.add(world.run, stage="copy", outcomes=2, failed=1, now=second, **kept)

    assert world.context.throttles.tallied(world.run) == {"copy": Tallied(outcomes=12, failed=6, store=Reading(30, 0, 0))}


def test_last_tasks_before_a_pause_in_the_work_are_noted_too(tmp_path: Path) -> None:
    """Soon, once for all of them; and what could not be noted, with the store's answers, comes with the next note."""
    world = World(tmp_path)
    awaited: list[tuple[float, Callable[[], None]]] = []
    tally = Tally(seconds=1.0, later=lambda seconds, act: awaited.append((seconds, act)))
    kept: dict[str, Any] = {"store": world.store, "throttles": lambda: world.context.throttles}
    for requests, second in ((2, 0.0), (4, 0.5), (8, 0.6)):
        world.store.answered = Reading(requests)
        tally.add(world.run, stage="copy", outcomes=1, failed=0, now=second, **kept)
    assert [seconds for seconds, _ in awaited] == [1.0]

    def away() -> ThrottleLedger:
        raise DatabaseUnavailableError("away")

    tally.add(world.run, stage="copy", outcomes=1, failed=1, now=0.7, **kept | {"throttles": away})
    tally.flush()
    before = world.context.throttles.tallied(world.run)
    tally.add(world.run, stage="copy", outcomes=1, failed=0, now=0.8, **kept)
    assert len(awaited) == 2
    awaited[-1][1]()
    tally.flush()  # nothing is left

    assert before == {"copy": Tallied(outcomes=1, store=Reading(2))}
    assert world.context.throttles.tallied(world.run) == {"copy": Tallied(outcomes=5, failed=1, store=Reading(8))}


def test_tally_keeps_nothing_of_a_run_that_is_noted(tmp_path: Path) -> None:
    """A worker serves many runs in its life: store and ledger of one that it has let go of are not kept for what was noted long ago."""
    tally, worlds = Tally(seconds=1.0), []
    for name in "abc":
        (tmp_path / name).mkdir()
        worlds.append(World(tmp_path / name))
    for world in worlds:
        world.context = dataclasses.replace(world.context, tally=tally)
        for _ in range(2):  # the second is left for the flush
            world.context.note(world.run, "copy", outcomes=1, failed=0)
    tally.flush()
    noted = [world.context.throttles.tallied(world.run)["copy"].outcomes for world in worlds]
    kept = [weakref.ref(part) for world in worlds for part in (world.store, world.context.moves)]
    world = worlds.pop()
    del worlds
    gc.collect()

    assert noted == [2, 2, 2]
    assert [ref() for ref in kept] == [None, None, None, None, world.store, world.context.moves]


def test_tally_of_a_run_that_is_opened_anew_begins_with_its_new_store(tmp_path: Path) -> None:
    """What another store of the same run was read to have counted says nothing of this one."""
    world = World(tmp_path)
    world.context = dataclasses.replace(world.context, tally=Tally(seconds=1.0))
    for requests in (9, 4):
        world.store.answered = Reading(requests)
        world.context.note(world.run, "copy", outcomes=1, failed=0)
        world.context = dataclasses.replace(world.context, store=InMemoryStore(CONDITIONAL, clock=world.clock))
        world.store = world.context.store

    assert world.context.throttles.tallied(world.run) == {"copy": Tallied(outcomes=2, store=Reading(13))}


def test_gauge_counts_requests_and_refusals() -> None:
    """And their time, and how many took how long."""
    gauge = Gauge()
    for seconds, slow_down in ((0.25, False), (0.5, True), (99.0, False)):
        gauge.add(seconds=seconds, slow_down=slow_down)
    took = dict.fromkeys((*BOUNDS, "more"), 0) | {0.25: 1, 0.5: 1, "more": 1}

    assert gauge.read() == Reading(3, 1, 99_750_000, tuple(took.values()))
    assert gauge.read() + Reading(1, 1, 1) - Reading(1, 0, 0) == Reading(3, 2, 99_750_001, tuple(took.values()))
