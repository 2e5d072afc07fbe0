"""Beat's scheduler: bounded, and not to be stopped by a clock that is set back."""

from __future__ import annotations

import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from celery import Celery
from kombu import Connection

from app import celery_app
from app.settings import Settings
from workers import beat, health

TICK = 5


class FakeClock:
    """A boot clock and a wall clock to turn by hand."""

    def __init__(self) -> None:
        self.seconds = 1000.0
        self.wall = datetime(2026, 10, 25, 2, 30, tzinfo=UTC)

    def boot(self) -> float:
        """Seconds since the boot."""
        return self.seconds

    def go_on(self, seconds: float) -> None:
        """Let time pass."""
        self.seconds += seconds
        self.wall += timedelta(seconds=seconds)


@pytest.fixture
def clock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeClock:
    """The clocks; heartbeat files go to a folder of the test's own."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return FakeClock()


def make_scheduler(clock: FakeClock) -> beat.Scheduler:
    """A scheduler on a broker in memory that lives by *clock*."""
    app = Celery("test", set_as_current=False)
    values = Settings.model_validate({"broker_url": "redis://127.0.0.1:1/0", "reconcile_seconds": TICK})
    app.conf.update(celery_app.configuration(values) | {"include": (), "broker_url": "memory://"})
    app.now = lambda: clock.wall

    def reconcile_moves() -> None:
        """Do nothing."""

    app.task(reconcile_moves, name="reconcile_moves", shared=False)
    app.finalize()
    with app.connection_for_write() as connection:
        connection.SimpleQueue("seed").clear()
    scheduler = beat.Scheduler(app)
    scheduler._clock = clock
    return scheduler


def sent(scheduler: beat.Scheduler, clock: FakeClock, *, seconds: int) -> int:
    """How many ticks are sent while *seconds* pass; each is taken off the broker at once."""
    count = 0
    for _ in range(seconds):
        clock.go_on(1)
        scheduler.tick()
        count += waiting()
        with Connection("memory://") as connection:
            connection.SimpleQueue("seed").clear()
    return count


def waiting() -> int:
    """Messages in the seed queue."""
    with Connection("memory://") as connection:
        return int(connection.SimpleQueue("seed").qsize())


def test_scheduler_ticks_at_its_interval(clock: FakeClock) -> None:
    """One tick each RECONCILE_SECONDS."""
    scheduler = make_scheduler(clock)

    assert sent(scheduler, clock, seconds=10 * TICK) in {9, 10}


@pytest.mark.parametrize("hours", [-2, 2])
def test_scheduler_ticks_on_when_the_wall_clock_is_set(hours: int, clock: FakeClock) -> None:
    """Celery's own would be silent for two hours after it was set back by two (H16)."""
    scheduler = make_scheduler(clock)
    sent(scheduler, clock, seconds=10 * TICK)

    clock.wall += timedelta(hours=hours)

    assert sent(scheduler, clock, seconds=10 * TICK) in {9, 10, 11}


def test_scheduler_sends_no_more_than_a_bound_while_nobody_consumes(clock: FakeClock) -> None:
    """A day without a seed worker leaves ten messages on the broker, not seventeen thousand (H26)."""
    scheduler = make_scheduler(clock)

    for _ in range(40 * TICK):
        clock.go_on(1)
        scheduler.tick()

    assert waiting() == beat.MAX_WAITING


def test_scheduler_is_seen_to_work_while_it_can_publish(clock: FakeClock, monkeypatch: pytest.MonkeyPatch) -> None:
    """The heartbeat follows the publishing: beat that cannot reach its broker turns red."""
    scheduler = make_scheduler(clock)
    sent(scheduler, clock, seconds=2 * TICK)
    assert health.findings("beat") == []

    beats: list[Any] = []
    monkeypatch.setattr(health.Heartbeat, "beat", beats.append)
    monkeypatch.setattr(beat.beat.Scheduler, "apply_async", _fail)
    sent(scheduler, clock, seconds=2 * TICK)

    assert beats == []


def _fail(*_: object, **__: object) -> None:
    raise ConnectionError


def test_scheduler_takes_its_heartbeat_with_it(clock: FakeClock) -> None:
    """Stopped on purpose it is no finding."""
    scheduler = make_scheduler(clock)
    sent(scheduler, clock, seconds=2 * TICK)

    scheduler.close()

    assert health.findings() == ["no worker runs here"]
