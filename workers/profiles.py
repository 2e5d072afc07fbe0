"""Queue, pool, concurrency and prefetch of each stage: the only place with these numbers.

Plain ``celery -A app worker -Q copy`` takes them from here (workers/lifecycle.py), as does ``python -m workers``.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from app.pipeline import QUEUED, STAGES

if TYPE_CHECKING:
    from app.settings import Settings

# A task waits for the network nearly all its time: threads, since a hundred of them take 91 MiB where a hundred processes take gigabytes.
POOL = "threads"
# Messages taken ahead wait in a worker that may die; one a thread keeps each thread busy, since the next is fetched while it works.
PREFETCH_MULTIPLIER = 1
# Pools for which a stage's concurrency makes no sense: a hundred processes are too many, and solo runs one task whatever it is told.
HEAVY_POOLS = frozenset({"prefork", "processes", "solo"})

QUEUES = tuple(dict.fromkeys(stage.queue for stage in QUEUED))


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """How one worker is to run."""

    queues: tuple[str, ...]
    pool: str
    concurrency: int
    prefetch_multiplier: int

    @property
    def name(self) -> str:
        """The first half of the worker's node name."""
        return "+".join(self.queues)


def started(settings: Settings) -> tuple[str, ...]:
    """The queues that ``python -m workers`` starts a worker for: that of the operator's own stage only where there is one."""
    return tuple(dict.fromkeys(stage.queue for stage in (QUEUED if settings.after_switch else STAGES)))


def by_queue(settings: Settings) -> Mapping[str, Profile]:
    """The profile of each queue's own worker; a queue that two stages share has the larger one's concurrency."""
    wanted: dict[str, int] = {}
    for stage in QUEUED:
        wanted[stage.queue] = max(wanted.get(stage.queue, 1), getattr(settings, stage.concurrency_setting))
    return {
        queue: Profile(queues=(queue,), pool=POOL, concurrency=concurrency, prefetch_multiplier=PREFETCH_MULTIPLIER)
        for queue, concurrency in wanted.items()
    }


def shared(queues: Collection[str], settings: Settings) -> Profile:
    """The profile of a worker of several queues (all, where *queues* is empty).

    It takes the largest concurrency among them, not the sum: one pool cannot hold each stage to its own number, and the sum would let the
    database see them all at once from a single stage. Where the numbers matter, start one worker a stage.
    """
    each = by_queue(settings)
    chosen = tuple(queue for queue in each if queue in queues) or tuple(each)
    concurrency = max(each[queue].concurrency for queue in chosen)
    return Profile(queues=chosen, pool=POOL, concurrency=concurrency, prefetch_multiplier=PREFETCH_MULTIPLIER)
