"""How each stage's worker runs, and which numbers a plain ``celery worker`` takes."""

from __future__ import annotations

import pytest

from app.pipeline import QUEUED
from app.settings import Settings
from workers import profiles


def make_settings(**given: object) -> Settings:
    """Settings with what a test changes."""
    return Settings.model_validate({"broker_url": "redis://127.0.0.1:1/0"} | given)


def test_each_stage_has_the_profile_of_its_own_setting() -> None:
    """The article's pools by default: 100 copiers, 10 renamers, 100 deleters; one seed."""
    found = profiles.by_queue(make_settings())

    assert {queue: profile.concurrency for queue, profile in found.items()} == {
        "seed": 1,
        "copy": 100,
        "rename": 10,
        "delete": 100,
        "own": 4,
    }
    assert {(profile.pool, profile.prefetch_multiplier) for profile in found.values()} == {("threads", 1)}
    assert set(found) == {stage.queue for stage in QUEUED}


@pytest.mark.parametrize("name", ["seed", "copy", "rename", "delete"])
def test_profile_follows_the_setting(name: str) -> None:
    """REKEY_COPY_CONCURRENCY is the copy worker's, and so on."""
    assert profiles.by_queue(make_settings(**{f"{name}_concurrency": 7}))[name].concurrency == 7


@pytest.mark.parametrize(
    ("queues", "concurrency", "name"),
    [
        (["rename"], 10, "rename"),
        (["rename", "seed"], 10, "seed+rename"),
        (["delete", "rename"], 50, "rename+delete"),
        ([], 100, "seed+copy+rename+delete+own"),
    ],
)
def test_worker_of_several_queues_takes_the_largest_concurrency(queues: list[str], concurrency: int, name: str) -> None:
    """Not the sum: a single stage could then have all of it."""
    found = profiles.shared(queues, make_settings(delete_concurrency=50))

    assert found.concurrency == concurrency
    assert found.name == name


def test_worker_of_the_operators_own_stage_is_started_only_where_there_is_one() -> None:
    """`python -m workers` takes no more memory for what nobody uses."""
    assert profiles.started(make_settings()) == ("seed", "copy", "rename", "delete")
    assert profiles.started(make_settings(after_switch="my_hooks:purge")) == ("seed", "copy", "rename", "delete", "own")
