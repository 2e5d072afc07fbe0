"""What a task hears of its run while it works: soon enough, and nothing that is older than what it read itself."""

from __future__ import annotations

from app.stages.watch import RunWatch
from app.states import RunState
from tests.builders import World


def test_task_that_read_a_newer_state_is_not_told_the_old_one(world: World) -> None:
    """It would give its moves back at once, be sent again, and so on until the old answer has aged."""
    watch = RunWatch(world.context.steering, clock=world.context.clock)
    running = world.run
    assert watch.still(running)

    world.context.runs.set_state(running, RunState.PAUSED, only_from=RunState.RUNNING)
    paused = world.context.runs.get(running.id)

    assert watch.still(paused)
    assert not watch.still(running)


def test_task_hears_of_what_is_set_but_a_long_copy_goes_on(world: World) -> None:
    """It gives the rest of its batch back, and whoever takes that goes by the new rate."""
    watch = RunWatch(world.context.steering, clock=world.context.clock)
    before = world.run
    assert watch.still(before)

    world.context.steering.set_knobs(before, {"copy_rate": 5})
    heard_at_once = not watch.still(before)
    world.later(1)

    assert not heard_at_once  # asked once a second at most
    assert not watch.still(before)
    assert watch.goes_on(before)
    assert watch.still(world.run)
