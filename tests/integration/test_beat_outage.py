"""Beat and a broker that goes away: at whatever moment it does, ticks are sent again once it is back."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
import redis
from celery import Celery
from kombu.messaging import Producer

from app import celery_app
from app.settings import Settings
from tests.servers import RedisServer
from workers import beat

PREFIX = "test:"


@pytest.fixture
def scheduler(redis_of_its_own: RedisServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> beat.Scheduler:
    """One on a real Redis that has published already."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    app = Celery("test", set_as_current=False)
    app.conf.update(
        celery_app.configuration(Settings.model_validate({"broker_url": redis_of_its_own.url, "queue_prefix": PREFIX})) | {"include": ()}
    )

    def reconcile_moves() -> None:
        """Do nothing."""

    app.task(reconcile_moves, name="reconcile_moves", shared=False)
    app.finalize()
    made = beat.Scheduler(app)
    publish(made)
    return made


def publish(scheduler: beat.Scheduler) -> None:
    """Publish the one entry, as a tick does when it is due."""
    (entry,) = scheduler.schedule.values()
    scheduler.apply_entry(entry, producer=scheduler.producer)


def waiting(server: RedisServer) -> int:
    """Messages in the queue."""
    with redis.Redis.from_url(server.url) as client:
        return int(client.llen(f"{PREFIX}seed"))


@pytest.mark.parametrize("counted", [False, True])
def test_scheduler_publishes_again_after_an_outage(
    *, counted: bool, scheduler: beat.Scheduler, redis_of_its_own: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Lost before beat counts what waits, or between that and its message: there kombu closes the channel for good."""
    count, pending = scheduler._waiting, [redis_of_its_own.kill]

    def lose(producer: Producer) -> int:
        if pending and not counted:
            pending.pop()()
        found = count(producer)
        if pending:
            pending.pop()()
        return found

    monkeypatch.setattr(scheduler, "_waiting", lose)
    publish(scheduler)
    publish(scheduler)
    redis_of_its_own.start()

    publish(scheduler)

    assert waiting(redis_of_its_own) == 1
