"""When the demonstration takes its workers for up."""

from __future__ import annotations

from pathlib import Path

import redis

from app import pulse
from app.demo.workers import Workers
from app.pipeline import STAGES
from app.settings import load


def test_workers_consume_when_each_stage_has_been_seen_to(redis_url: str, tmp_path: Path) -> None:
    """One that has not come up yet is waited for; so is a broker that does not answer."""
    settings = load({"s3_bucket": "assets", "broker_url": redis_url}, environ={}, required=())
    workers = Workers({}, tmp_path, secrets=())
    with redis.Redis.from_url(redis_url) as client:
        for stage in STAGES:
            assert not workers.consume(settings)
            client.set(f"{settings.queue_prefix}pulse.{stage.queue}", "", ex=pulse.KEPT_SECONDS)

        assert workers.consume(settings)
    nobody = load({"s3_bucket": "assets", "broker_url": "redis://127.0.0.1:1/0"}, environ={}, required=())
    assert not workers.consume(nobody)
