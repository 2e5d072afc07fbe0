"""What a worker has done when its ledger goes away is recorded once that is back: nothing else shows later that a copy is ours (H12)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from app.errors import DatabaseUnavailableError
from app.stages import runner
from app.states import MoveState
from tests.builders import World

if TYPE_CHECKING:
    from pathlib import Path

    from app.ledger.records import Lease, Outcome


class Away:
    """A ledger that takes no outcomes for so many calls."""

    def __init__(self, world: World, calls: int) -> None:
        self.calls = calls
        self._record = world.context.moves.record

    def record(self, lease: Lease, outcomes: list[Outcome], **more: Any) -> set[tuple[int, int]]:  # noqa: ANN401 - as the ledger's own
        """Fail, or write."""
        if self.calls > 0:
            self.calls -= 1
            raise DatabaseUnavailableError("the database is shutting down")
        return self._record(lease, outcomes, **more)


def test_copies_are_recorded_after_an_outage_of_the_ledger(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And moved on, though the application overwrites a source meanwhile: without a record, that copy would be a stranger's."""
    world = World(tmp_path)
    key = world.add(1)
    world.add(2)
    world.seed()
    monkeypatch.setattr(runner, "GIVE_BACK_SECONDS", 0.01)
    monkeypatch.setattr(world.context.moves, "record", Away(world, calls=3).record)

    with pytest.raises(DatabaseUnavailableError):
        world.do("copy")

    assert [(move.state, move.copy_recorded) for move in world.moves()] == [(MoveState.COPIED, True)] * 2
    assert [world.column(number, "lease_token") for number in (1, 2)] == [None, None]
    world.store.app_put(key, b"v2")
    world.go()
    assert world.states() == {"deleted": 2}
    assert (world.get(1), world.get(2)) == (b"v2", b"v1")


def test_worker_gives_up_when_the_ledger_stays_away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It tries to record long after its lease is over, since nobody else can have taken over meanwhile, but not for ever."""
    world = World(tmp_path)
    world.add(1)
    world.seed()
    away = Away(world, calls=10**9)
    monkeypatch.setattr(runner.time, "sleep", world.later)
    monkeypatch.setattr(world.context.moves, "record", away.record)
    started = world.clock.boot()

    with pytest.raises(DatabaseUnavailableError):
        world.do("copy")

    assert world.clock.boot() - started == pytest.approx(runner.LONGEST_OUTAGE_SECONDS, abs=2)
    assert world.move(1).state is MoveState.PLANNED
