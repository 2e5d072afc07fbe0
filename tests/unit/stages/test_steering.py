"""What an operator does to a run under way: pause, cancel, hold, rates, retry, release (H16, H17)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from app.errors import ConditionFailedError, DeniedError, StoreRequestError, StoreUnavailableError, UsageError
from app.ledger.reopening import Selection
from app.states import KeptReason, MoveState, ParkedReason, RunState
from app.testing import Fault
from tests.builders import World, make_run

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from app.errors import ObjectError, RekeyError


@pytest.fixture
def world(tmp_path: Path) -> World:
    """One kind of store is enough: what differs between stores is tested with the stages."""
    return World(tmp_path)


def _fill(world: World, numbers: int) -> None:
    for number in range(1, numbers + 1):
        world.add(number)


def _cancel(world: World) -> None:
    assert world.context.reopening.cancel(world.run)


def _end(world: World) -> None:
    world.go()
    assert not world.run.is_live


def test_paused_batch_ends_within_a_second_and_gives_the_rest_back(world: World) -> None:
    """A worker in the middle of a batch hears of it before its next request but one second."""
    _fill(world, 20)
    world.seed()

    def pause(call: str, _key: str) -> None:
        world.clock.advance(0.5)
        if call in {"put", "copy"} and len(world.writes()) == 3:
            world.context.runs.set_state(world.run, RunState.PAUSED, only_from=RunState.RUNNING)

    world.store.on_call = pause
    result = world.do("copy")

    assert 3 <= len(result.ready) <= 6
    assert len(result.again) == 20 - len(result.ready)
    assert world.states() == {"copied": len(result.ready), "planned": 20 - len(result.ready)}


def test_batch_under_way_goes_by_a_new_rate_within_a_second(world: World) -> None:
    """What it has not begun is given back, and taken again under the rate that was set."""
    _fill(world, 20)
    world.seed()

    def turn(call: str, _key: str) -> None:
        world.clock.advance(0.4)
        if call in {"put", "copy"} and len(world.writes()) == 3:
            world.context.steering.set_knobs(world.run, {"copy_rate": 1})

    world.store.on_call = turn
    result = world.do("copy")

    assert 3 <= len(result.ready) <= 8
    assert len(result.again) == 20 - len(result.ready)


def test_cancelled_run_leaves_every_row_readable_and_removes_copies_that_no_row_names(world: World) -> None:
    """Planned: as it was; copied: the copy goes; switched: both objects stay; deleted: stays so (H17)."""
    _fill(world, 4)
    world.seed()
    world.do("copy", [2, 3, 4])
    world.do("rename", [3, 4])
    world.later(61)
    world.do("delete", [4])
    _cancel(world)
    _end(world)

    assert {number: world.move(number).state for number in range(1, 5)} == {
        1: MoveState.CANCELLED,
        2: MoveState.CANCELLED,
        3: MoveState.KEPT,
        4: MoveState.DELETED,
    }
    assert world.move(3).reason is KeptReason.CANCELLED
    assert sorted(world.store.contents()) == ["clients/7/assets/3.png", "clients/7/assets/4.png", "up/1.png", "up/2.png", "up/3.png"]
    assert [world.get(number) for number in range(1, 5)] == [b"v1"] * 4
    assert (world.run.state, world.report()["open"]) == (RunState.CANCELLED, 0)


def test_cancelled_run_still_copies_a_write_that_overlapped_the_switch(world: World) -> None:
    """The look after the switch is owed to the application, whatever the operator wishes (S1, S2)."""
    _fill(world, 1)
    world.moved()
    world.later(1)
    world.store.app_put("up/1.png", b"late")
    _cancel(world)
    _end(world)

    assert (world.get(1), world.move(1).state) == (b"late", MoveState.KEPT)


def test_cancelled_run_holds_bucket_and_table_until_its_moves_have_ended(world: World) -> None:
    """A new run on the same rows would meet them half way (H32)."""
    _fill(world, 1)
    world.moved(up_to="copy")
    _cancel(world)
    with pytest.raises(UsageError, match="cancelled"):
        make_run(world.context)
    _end(world)

    assert make_run(world.context).is_live


def test_cancel_counts_rows_that_were_never_examined_as_unseen(world: World) -> None:
    """The report adds up to the rows that were counted at the start (S8)."""
    _fill(world, 3)
    world.run_id = make_run(world.context, rows=3).id
    _cancel(world)
    _end(world)

    assert (world.report()["rows"], world.report()["unseen"]) == (0, 3)


def test_cancelled_suspects_and_unanswered_copies_end_too(world: World) -> None:
    """A crash in the middle of a cancellation is no reason to hang."""
    _fill(world, 2)
    world.moved(up_to="copy")
    _cancel(world)
    world.crash_in("rename", [1])
    _end(world)

    assert world.states() == {"cancelled": 2}


def test_copy_that_was_written_but_not_recorded_is_listed_by_a_cancellation(world: World) -> None:
    """Its worker had to end at once, in between; nothing proves whose it is, so it stays, and is told (H12, H17)."""
    _fill(world, 2)
    world.seed()
    world.context.moves.give_up(world.crash_in("copy", [1]), due_in=10)
    world.store.app_put("clients/7/assets/1.png", b"v1")
    _cancel(world)
    _end(world)

    assert world.states() == {"cancelled": 2}
    assert "perhaps our copy was left at 'clients/7/assets/1.png'" in str(world.move(1).detail)
    assert world.move(2).detail is None


def test_cancelled_run_does_not_wait_for_the_grace_of_its_switched_assets(world: World) -> None:
    """Which may be days; only for the look that the application is owed."""
    _fill(world, 3)
    world.moved()
    _cancel(world)
    before = world.clock.boot()
    _end(world)

    assert world.report()["kept_reasons"] == {"cancelled": 3}
    assert world.clock.boot() - before < 30


@pytest.mark.parametrize("from_state", [RunState.CANCELLED, RunState.FINISHED])
def test_cancel_of_a_run_that_is_over_changes_nothing(world: World, from_state: RunState) -> None:
    """The command says so."""
    run = world.run
    world.context.runs.set_state(run, from_state, only_from=RunState.RUNNING)

    assert not world.context.reopening.cancel(run)
    assert world.run.state is from_state


def test_held_run_deletes_nothing_and_finishes(world: World) -> None:
    """Old objects are kept as held; the rows are all switched (H17)."""
    _fill(world, 3)
    world.context.steering.hold(world.run, hold=True)
    world.go()

    assert world.report()["kept_reasons"] == {"held": 3}
    assert all(f"up/{number}.png" in world.store.contents() for number in range(1, 4))
    assert world.run.state is RunState.FINISHED


def test_hold_set_in_the_middle_stops_deletes_at_once(world: World) -> None:
    """It is read with each look at the rows, not with the message."""
    _fill(world, 1)
    world.moved()
    world.later(61)
    run = world.run
    world.context.steering.hold(run, hold=True)
    world.do("delete")

    assert world.move(1).reason is KeptReason.HELD


@pytest.mark.parametrize("at", ["stat", "put"])  # just before the run is read with the look, and after it
@pytest.mark.parametrize("stop", ["pause", "hold", "a canary read", "cancel"])
def test_what_stops_the_run_after_the_look_stops_the_delete_that_was_about_to_go(tmp_path: Path, stop: str, at: str) -> None:
    """It is asked last before the request: a journal that is slow to take its entry leaves seconds for it."""
    world = World(tmp_path, settings={"journal": True})
    _fill(world, 3)
    world.moved()
    world.later(61)
    stops = {
        "pause": lambda: world.context.runs.set_state(world.run, RunState.PAUSED, only_from=RunState.RUNNING),
        "hold": lambda: world.context.steering.hold(world.run, hold=True),
        "a canary read": lambda: world.context.runs.hold_deletes(world.run, seconds=60),
        "cancel": lambda: world.context.reopening.cancel(world.run),
    }
    world.store.on_call = lambda call, _key: call == at and stops[stop]()
    world.do("delete")

    assert [key for name, key in world.writes() if name == "delete"] == []
    assert "deleted" not in world.states()


def test_release_deletes_what_was_held_under_every_check(world: World) -> None:
    """An old object that a row names by now is kept; the others go."""
    _fill(world, 2)
    world.context.steering.hold(world.run, hold=True)
    world.go()
    world.sql("INSERT INTO assets (id, client_id, object_key) VALUES (9, 9, 'up/2.png')")
    world.context.steering.hold(world.run, hold=False)
    sent = world.context.reopening.release(world.run, most=None)
    _end(world)

    assert (sent.moves, sent.blocked) == (2, 0)
    assert (world.move(1).state, world.move(2).reason) == (MoveState.DELETED, KeptReason.NAMED)


def test_released_old_key_that_was_used_again_meanwhile_is_left_alone(world: World) -> None:
    """Another asset lies there whose row is gone again: it is not what this row's object has become (H1b)."""
    world.add(1)
    world.context.steering.hold(world.run, hold=True)
    world.go()
    world.later(3600)
    world.add(9, "up/1.png", body=b"another asset", client=9)
    world.sql("DELETE FROM assets WHERE id = 9")
    world.later(3600)
    world.context.reopening.release(world.run, most=None)
    world.go()

    assert world.get(1) == b"v1"
    assert world.store.app_get("up/1.png") == b"another asset"
    assert world.move(1).reason is ParkedReason.CONFLICT


def test_release_of_some_lets_so_many_go(world: World) -> None:
    """--max-deletes of release."""
    _fill(world, 5)
    world.context.steering.hold(world.run, hold=True)
    world.go()
    world.context.steering.hold(world.run, hold=False)
    sent = world.context.reopening.release(world.run, most=2)
    _end(world)

    assert sent.moves == 2
    assert world.states() == {"deleted": 2, "kept": 3}


def test_max_deletes_bounds_the_deletes_and_keeps_assets_of_one_object_together(world: World) -> None:
    """Three assets, two of them on one object: a bound of one deletes at most one object whole."""
    world.add(1)
    world.add(2, "up/shared.png", client=8)
    world.add(3, "up/shared.png", body=None, client=9)
    world.context.steering.allow_deletes(world.run, 1)
    world.go()

    report = world.report()
    assert report["deleted"] <= 1
    assert report["deleted"] + report["kept"] == 3
    assert ("up/shared.png" in world.store.contents()) or report["deleted"] == 0


def _stopped_for_a_while(world: World) -> None:
    """The worker stands still between its looks and its request, once."""
    ledger = world.context.moves
    real = ledger.record
    stops = [6.0]

    def record(lease, outcomes, *, connection=None):  # type: ignore[no-untyped-def] # noqa: ANN001, ANN202
        if stops and any("intent_at" in outcome.stamp for outcome in outcomes):
            world.clock.advance(stops.pop())
        return real(lease, outcomes, connection=connection)

    ledger.record = record  # type: ignore[method-assign]


def _store_says(world: World, error: RekeyError | type[ObjectError], *, on: str = "delete") -> None:
    world.store.faults.add(Fault.refuse(error), on=on)


@pytest.mark.parametrize(
    "spoil",
    [
        _stopped_for_a_while,
        lambda world: _store_says(world, StoreUnavailableError("SlowDown")),
        lambda world: _store_says(world, ConditionFailedError, on="delete_key"),
        lambda world: _store_says(world, StoreUnavailableError("SlowDown"), on="put"),
        lambda world: _store_says(world, StoreRequestError, on="put"),
    ],
    ids=["stopped worker", "slow down", "condition failed", "no answer to the note", "no journal"],
)
def test_bounds_of_deletes_are_used_up_by_what_is_deleted(tmp_path: Path, spoil: Callable[[World], None]) -> None:
    """Not by what was granted and then not sent, or refused: else the assets end as held while the bound allows them."""
    world = World(tmp_path, settings={"journal": True, "delete_rate": 2})
    _fill(world, 2)
    world.moved()
    world.context.steering.allow_deletes(world.run, 2)
    world.later(61)
    spoil(world)
    world.do("delete")
    deleted = world.states().get("deleted", 0)
    left, turn = world.run.deletes_left, world.context.steering.turn(world.run, stage="delete", moves=1, rate=2, patience=0.0)
    world.go()

    assert (left, turn > 0) == (2 - deleted, deleted > 0)
    assert world.states() == {"deleted": 2}
    assert world.run.deletes_left == 0


@pytest.mark.parametrize("fault", [Fault.lose_reply(), Fault.delay(), Fault.answer(StoreRequestError)])
def test_delete_that_may_have_been_carried_out_counts(tmp_path: Path, fault: Fault) -> None:
    """No more objects are deleted than the bound says, whatever the store answers."""
    world = World(tmp_path)
    _fill(world, 2)
    world.moved()
    world.context.steering.allow_deletes(world.run, 2)
    world.later(61)
    world.store.faults.add(fault, on="delete")
    world.do("delete")

    assert world.run.deletes_left == 0


def test_bound_that_parts_no_assets_of_one_object_is_not_used_up_by_them(world: World) -> None:
    """Two assets on one object, a bound of one: it is left for another asset."""
    world.add(1, "up/shared.png")
    world.add(2, "up/shared.png", body=None, client=8)
    world.moved()
    world.context.steering.allow_deletes(world.run, 1)
    world.later(61)
    world.do("delete")

    assert world.states() == {"kept": 2}
    assert world.run.deletes_left == 1


def test_rate_lets_so_many_assets_go_a_second(world: World) -> None:
    """All workers together: the second finds the turn of the first (rates are for the store's sake)."""
    _fill(world, 40)
    world.seed()
    ids = [move.id for move in world.moves()]
    other = world.worker()
    slow = world.worker(settings=world.context.settings.model_copy(update={"copy_rate": 4}))
    began = world.clock.boot()
    world.do("copy", ids[:20], worker=slow)
    copied, seconds = world.states()["copied"], world.clock.boot() - began

    assert copied <= 4 * (seconds + 1)
    assert copied < 40
    assert other.steering.turn(world.run, stage="copy", moves=1, rate=4, patience=0.0) > 0


def test_deletes_keep_their_own_rate_while_looks_go_on(world: World) -> None:
    """What is over the rate is due again a moment later, and nothing is lost."""
    _fill(world, 6)
    world.moved()
    world.later(61)
    slow = world.worker(settings=world.context.settings.model_copy(update={"delete_rate": 2}))
    world.do("delete", worker=slow)
    first = world.states()
    world.later(3)
    world.do("delete", worker=slow)

    assert first == {"deleted": 2, "renamed": 4}
    assert world.states() == {"deleted": 4, "renamed": 2}


def test_assets_of_one_object_are_deleted_under_a_rate_below_their_number(world: World) -> None:
    """They are not parted, and one rate after the other does not pass them by."""
    world.add(1, "up/shared.png")
    world.add(2, "up/shared.png", body=None, client=8)
    world.moved()
    world.later(61)
    slow = world.worker(settings=world.context.settings.model_copy(update={"delete_rate": 1}))
    world.do("delete", worker=slow)

    assert world.states() == {"deleted": 2}


def test_grace_that_is_changed_holds_for_rows_switched_later(world: World) -> None:
    """A switched row keeps what its readers were promised (H16)."""
    _fill(world, 2)
    world.seed()
    world.do("copy")
    world.do("rename", [1])
    world.do("rename", [2], worker=world.worker(settings=world.context.settings.model_copy(update={"grace_seconds": 600})))

    assert [world.move(number).grace_seconds for number in (1, 2)] == [60, 600]


def test_retry_returns_a_move_to_the_state_it_was_parked_in(world: World) -> None:
    """A denied delete is not copied again: what the application has written at the new key since stays (H17a)."""
    _fill(world, 1)
    world.moved()
    world.later(61)
    world.store.faults.add(Fault.refuse(DeniedError), on="delete")
    world.do("delete")
    assert world.move(1).reason is ParkedReason.DENIED
    world.later(1)
    world.go()
    world.store.app_put("clients/7/assets/1.png", b"v2")
    sent = world.context.reopening.retry(world.run, Selection(reasons=["denied"]))

    assert sent.moves == 1
    assert (world.move(1).state, world.run.state) == (MoveState.RENAMED, RunState.RUNNING)
    _end(world)
    assert world.get(1) == b"v2"


@pytest.mark.parametrize(
    ("selection", "expected"),
    [
        (Selection(), {1, 2, 3}),
        (Selection(reasons=["missing_source"]), {1, 2}),
        (Selection(clients=["8"]), {2}),
        (Selection(row_ids=["[3]"]), {3}),
        (Selection(reasons=["missing_source"], clients=["9"]), set()),
    ],
)
def test_retry_takes_those_that_are_meant(world: World, selection: Selection, expected: set[int]) -> None:
    """By reason, client or row."""
    world.add(1, body=None)
    world.add(2, body=None, client=8)
    world.add(3, "..", body=None, client=9)
    world.go()
    assert world.states() == {"parked": 3}
    world.context.reopening.retry(world.run, selection)

    assert {number for number in (1, 2, 3) if world.move(number).state is MoveState.PLANNED} == expected


def test_retried_bad_names_are_planned_anew_from_their_rows(world: World) -> None:
    """The service has mended the rows; both get their new keys."""
    world.add(1, "", body=None)
    world.add(2, "up/", body=None)
    world.go()
    assert world.report()["parked_reasons"] == {"bad_name": 2}
    for number in (1, 2):
        world.store.app_put(f"up/{number}.png", b"v1")
        world.save_key(number, f"up/{number}.png")
    sent = world.context.reopening.retry(world.run, Selection())
    _end(world)

    assert sent.moves == 2
    assert world.states() == {"deleted": 2}
    assert [world.key(number) for number in (1, 2)] == ["clients/7/assets/1.png", "clients/7/assets/2.png"]


@pytest.mark.parametrize("key", ["", None, "   ", "up/"])
def test_retried_bad_name_is_parked_again_while_its_row_is_as_it_was(world: World, key: str | None) -> None:
    """No row without a key has been moved, and an empty one is not the empty new key of a move that has none."""
    world.add(2)
    world.sql("INSERT INTO assets (id, client_id, object_key) VALUES (1, 7, :key)", key=key)
    world.go()
    before = world.move(1)
    world.context.reopening.retry(world.run, Selection())
    _end(world)

    assert (world.states(), world.parked()) == ({"deleted": 1, "parked": 1}, {"bad_name": 1})
    assert world.move(1).detail == before.detail


def test_retried_collision_stays_parked_while_the_other_is_under_way(world: World) -> None:
    """Two live moves never want one key (H25)."""
    world.add(1, "a/logo.png")
    world.add(2, "b/logo.png")
    world.seed()
    sent = world.context.reopening.retry(world.run, Selection())

    assert (sent.moves, sent.blocked) == (0, 1)
    assert world.move(2).reason is ParkedReason.COLLISION


def test_retry_is_refused_while_another_run_is_live(world: World) -> None:
    """And it changes nothing (H32)."""
    world.add(1, body=None)
    world.go()
    other = make_run(world.context)
    with pytest.raises(UsageError, match=other.id[:8]):
        world.context.reopening.retry(world.run, Selection())

    assert (world.move(1).state, world.run.state) == (MoveState.PARKED, RunState.FINISHED)


def test_released_moves_of_a_cancelled_run_plan_nothing_more(world: World) -> None:
    """Its seed has ended for good: only what was switched is deleted."""
    _fill(world, 1)
    world.moved()
    _cancel(world)
    _end(world)
    world.add(2)
    world.context.reopening.release(world.run, most=None)
    _end(world)

    assert (world.states(), world.key(2)) == ({"deleted": 1}, "up/2.png")
