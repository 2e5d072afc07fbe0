"""A task claims what it gets done, so that few claims are given back."""

from __future__ import annotations

import threading
from dataclasses import replace
from typing import TYPE_CHECKING

from app.byte_budget import ByteBudget
from app.stages.pace import Pace
from app.states import MoveState
from tests.builders import World

if TYPE_CHECKING:
    from pathlib import Path


def test_claims_shrink_to_what_is_done_and_grow_again() -> None:
    """A far store, and then a near one."""
    pace = Pace()
    seen = [pace.size("rename", chunk=1000)]
    for claimed, given_back in ((1000, 960), (40, 0), (80, 79), (10, 0), (3, 0), (20, 0), (600, 0)):
        pace.learn("rename", claimed=claimed, given_back=given_back)
        seen.append(pace.size("rename", chunk=1000))

    assert seen == [1000, 40, 80, 10, 20, 20, 40, 1000]
    assert pace.size("delete", chunk=1000) == 1000


def test_claim_of_which_nothing_was_done_is_followed_by_smaller_ones_down_to_a_single_move() -> None:
    """A trigger that takes half a second a row: ten of them would be ended by the server each time."""
    pace = Pace()
    seen = []
    for claimed in (200, 10, 5, 2, 1):
        pace.learn("rename", claimed=claimed, given_back=claimed)
        seen.append(pace.size("rename", chunk=1000))

    assert seen == [10, 5, 2, 1, 1]


def test_task_on_a_far_store_claims_no_more_than_it_gets_done(tmp_path: Path) -> None:
    """The rest of its message is sent on without having been claimed."""
    world = World(tmp_path)
    for number in range(1, 61):
        world.add(number, f"up/{number}/x.png", client=number)  # each in a folder of its own: no page shows two
    world.seed()
    world.do("copy")
    world.store.on_call = lambda name, _key: world.later(0.1) if name == "stat" else None
    first = world.do("rename")
    claimed = [move for move in world.moves() if move.state is MoveState.COPIED and move.claims]
    second = world.do("rename")

    assert first.counts["given back"] > 0
    assert second.counts["renamed"] > 0
    assert second.counts["given back"] < first.counts["given back"] / 2
    assert claimed


def test_large_claims_wait_for_room_and_small_ones_do_not(tmp_path: Path) -> None:
    """A hundred tasks that hold a thousand moves each would take a gigabyte."""
    world = World(tmp_path)
    for number in range(1, 62):
        world.add(number)
    world.seed()
    world.do("copy")
    context = replace(world.context, room=ByteBudget(1))
    with context.room.hold(1):
        small = world.do("rename", [60, 61], worker=context)
        waiting = threading.Thread(target=world.do, args=("rename", list(range(1, 60))), kwargs={"worker": context})
        waiting.start()
        waiting.join(0.2)
        held_up = waiting.is_alive()
    waiting.join(20)

    assert (small.counts["renamed"], held_up) == (2, True)
    assert world.states() == {"renamed": 61}
