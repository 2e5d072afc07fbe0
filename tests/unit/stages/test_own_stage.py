"""The operator's own stage: it sees every switched asset, however often it fails, and nothing of the chain waits for it unless it is to."""

from __future__ import annotations

import sys
from types import ModuleType
from typing import TYPE_CHECKING

import pytest

from app.errors import UsageError
from app.settings import load
from app.stages.own_stage import SwitchedAsset, call_own_stage, own_stage
from app.states import MoveState, RunState
from tests.builders import World

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path


class Purge:
    """A function of the operator's that fails so often."""

    def __init__(self) -> None:
        self.seen: list[SwitchedAsset] = []
        self.failures = 0
        self.meanwhile: list[Callable[[], object]] = []  # while it is called

    def __call__(self, assets: Sequence[SwitchedAsset]) -> None:
        """See them."""
        while self.meanwhile:
            self.meanwhile.pop(0)()
        if self.failures:
            self.failures -= 1
            raise TimeoutError("the CDN does not answer")
        self.seen += assets


@pytest.fixture
def purge(monkeypatch: pytest.MonkeyPatch) -> Purge:
    """It is called my_hooks:purge."""
    module = ModuleType("my_hooks")
    found = Purge()
    module.purge = found  # type: ignore[attr-defined] # what a module is for
    monkeypatch.setitem(sys.modules, "my_hooks", module)
    return found


def hooked(folder: Path, *, rows: int = 3, **settings: object) -> World:
    """A world whose run has that stage."""
    world = World(folder, settings={"grace_seconds": 0, "after_switch": "my_hooks:purge", **settings})
    for number in range(1, rows + 1):
        world.add(number)
    return world


def test_each_switched_asset_is_seen(tmp_path: Path, purge: Purge) -> None:
    """With its keys, client and primary key; the run ends only then."""
    world = hooked(tmp_path)
    world.add(4, "clients/7/assets/4.png")
    world.go()

    assert world.run.state is RunState.FINISHED
    assert {asset.row_id for asset in purge.seen} == {(1,), (2,), (3,)}, "what was in place has not changed"
    assert purge.seen[0] == SwitchedAsset(
        row_id=(1,), client="7", old_bucket="assets", old_key="up/1.png", new_bucket="assets", new_key="clients/7/assets/1.png"
    )
    assert not world.context.visits.is_open(world.run)


def test_failing_stage_holds_up_nothing_and_is_given_up(tmp_path: Path, purge: Purge) -> None:
    """Unless deletes are to wait: all old objects are gone, it was tried again and again, and the run ended."""
    purge.failures = 1000
    world = hooked(tmp_path, rows=1, max_attempts=3)
    world.go()

    assert (world.states(), purge.failures) == ({"deleted": 1}, 997)
    assert world.run.state is RunState.FINISHED


def test_deletes_wait_until_it_has_seen_their_assets(tmp_path: Path, purge: Purge) -> None:
    """If the operator says so; it is tried for as long as it takes, and the status says what fails."""
    purge.failures = 6
    world = hooked(tmp_path, rows=1, max_attempts=3, deletes_wait=True)
    world.go(until=3)
    waiting = world.move(1).state, world.context.visits.figures(world.run)
    old = world.store.app_get("up/1.png")
    world.go()

    assert waiting[0] is MoveState.RENAMED
    assert waiting[1]["failing"] == 1
    assert "the CDN does not answer" in waiting[1]["detail"]
    assert old == b"v1"
    assert (world.states(), len(purge.seen)) == ({"deleted": 1}, 1)


def test_asset_that_is_switched_twice_is_seen_twice(tmp_path: Path, purge: Purge) -> None:
    """The application saved the old key over the switch: its readers went back to what a CDN may have kept."""
    world = hooked(tmp_path, rows=1, grace_seconds=600)
    world.go(until=2)
    before = len(purge.seen)
    world.save_key(1, "up/1.png")
    world.go(until=10)

    assert world.key(1) == "clients/7/assets/1.png"
    assert (before, len(purge.seen)) == (1, 2)


def test_asset_that_is_switched_again_while_it_is_seen_is_seen_again(tmp_path: Path, purge: Purge) -> None:
    """What the function purged belongs to the first switch; a CDN may have kept the old object again in between."""
    world = hooked(tmp_path, rows=1, grace_seconds=600)
    world.moved()
    purge.meanwhile = [
        lambda: world.save_key(1, "up/1.png"),
        lambda: world.later(60),
        lambda: world.do("delete"),
        lambda: world.do("rename"),
    ]
    call_own_stage(world.run, [1], context=world.context)
    between = world.key(1), world.context.visits.is_open(world.run), len(purge.seen)
    call_own_stage(world.run, [1], context=world.context)

    assert between == ("clients/7/assets/1.png", True, 1)
    assert (world.context.visits.is_open(world.run), len(purge.seen)) == (False, 2)


def test_message_that_comes_twice_shows_nothing_twice(tmp_path: Path, purge: Purge) -> None:
    """What was seen is off the list; nothing is shown while the run rests."""
    world = hooked(tmp_path, grace_seconds=600)
    world.moved()
    assert call_own_stage(world.run, [1, 2], context=world.context) == "2 seen by my_hooks:purge"
    again = call_own_stage(world.run, [1, 2], context=world.context)
    world.context.runs.set_state(world.run, RunState.PAUSED, only_from=RunState.RUNNING)
    paused = call_own_stage(world.run, [3], context=world.context)

    assert (again, paused, len(purge.seen)) == ("nothing to do", "ignored: run paused", 2)


def test_cancelled_run_shows_what_it_has_switched(tmp_path: Path, purge: Purge) -> None:
    """It ends with whatever is not seen by then."""
    world = hooked(tmp_path, grace_seconds=600)
    world.moved()
    world.context.reopening.cancel(world.run)
    world.go()

    assert world.states() == {"kept": 3}
    assert len(purge.seen) == 3


@pytest.mark.parametrize("name", ["my_hooks:nothing", "no_such_module:purge", "os:name"])
def test_function_that_is_not_there_is_refused(name: str, purge: Purge) -> None:
    """With its name; and a name that cannot be one is no setting."""
    with pytest.raises(UsageError, match=f"REKEY_AFTER_SWITCH={name}"):
        own_stage(name)
    with pytest.raises(UsageError, match="REKEY_AFTER_SWITCH"):
        load({}, environ={"REKEY_AFTER_SWITCH": "no function"}, required=())
