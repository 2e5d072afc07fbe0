"""Flower's memory under many tasks, with the product's own settings for it: ``python -m tests.benchmarks.flower_memory``.

A Redis of its own, Flower as the product starts it, and the events that workers send: each task is received, started and succeeded, on four
workers. The figures are its resident memory once it has shown the last of so many tasks. Exit status 1 where it has grown after
``SETTLED`` tasks by more than ``ROOM_MIB``.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import requests
from kombu import Connection, Exchange, Producer

from app.pipeline import STAGES
from tests.integration.processes import PREFIX, Redis, environment, free_port, redis_server, running, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

MARKS = (0, 20_000, 50_000, 100_000, 200_000)
SETTLED, ROOM_MIB = 50_000, 10
PACE = 2_000  # tasks before it is waited for: what it has not read yet is no matter of how many it keeps
LOGIN = ("admin", "flower-word")
RESULT = "'done 200: 200 copied, none parked, none left'"


def main(args: Sequence[str]) -> int:
    """Print the memory at each mark."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.flower_memory", description=__doc__)
    parser.add_argument("--max-tasks", type=int, help="another bound than the product's; Flower's own default is 100000")
    given = parser.parse_args(args)
    more = {"FLOWER_MAX_TASKS": str(given.max_tasks)} if given.max_tasks else {}
    with tempfile.TemporaryDirectory() as folder, redis_server() as redis:
        port = free_port()
        settings = {"FLOWER_PORT": str(port), "FLOWER_BASIC_AUTH": ":".join(LOGIN)} | more
        environ = environment(redis.url, Path(folder), **settings)
        with running("celery", "-A", "app", "flower", environ=environ, folder=Path(folder), name="flower") as flower:
            flower.wait_for("Visit me at")
            wait_until(lambda: redis.client.pubsub_numpat() or redis.client.pubsub_channels())  # it listens
            found = dict(_measure(redis, f"http://127.0.0.1:{port}", flower.pid))
    grown = found[MARKS[-1]] - found[SETTLED]
    print(f"grown by {grown:.1f} MiB after {SETTLED:,} tasks; {ROOM_MIB} are allowed")  # noqa: T201 - its output
    return int(grown > ROOM_MIB)


def _measure(redis: Redis, url: str, pid: int) -> Iterator[tuple[int, float]]:
    """Memory at each mark, in MiB."""
    sent, begin = 0, time.monotonic()
    options = {"global_keyprefix": PREFIX, "priority_steps": [0]}
    with Connection(redis.url, transport_options=options) as connection:
        producer = Producer(connection.channel(), Exchange("celeryev", type="fanout"), serializer="json")
        for mark in MARKS:
            while sent < mark:
                _send(producer, range(sent, sent + PACE))
                sent += PACE
                _wait_for(url, sent - 1)
            memory = _resident_mib(pid)
            print(f"{mark:>9,} tasks  {memory:7.1f} MiB  {time.monotonic() - begin:5.0f} s", flush=True)  # noqa: T201
            yield mark, memory
    kept = requests.get(f"{url}/api/tasks", timeout=120, auth=LOGIN).json()
    print(f"{len(kept):,} tasks are kept")  # noqa: T201


def _send(producer: Producer, numbers: range) -> None:
    batch = [event for number in numbers for event in _events(number)]
    for start in range(0, len(batch), 300):
        producer.publish(batch[start : start + 300], routing_key="task.multi")


def _events(number: int) -> Iterator[dict[str, Any]]:
    stage = STAGES[number % len(STAGES)]
    own = {"hostname": f"{stage.name}@flood", "pid": 1, "utcoffset": 0, "uuid": _uuid(number), "clock": number, "timestamp": time.time()}
    text = f"run 7f3a{number // 50_000:04} \u00b7 200 moves from {number * 200 + 1}"
    yield own | {"type": "task-received", "name": stage.task, "args": text, "kwargs": "{}", "retries": 0, "eta": None, "expires": None}
    yield own | {"type": "task-started"}
    yield own | {"type": "task-succeeded", "result": RESULT, "runtime": 0.2}


def _uuid(number: int) -> str:
    return f"00000000-0000-0000-0000-{number:012d}"


def _wait_for(url: str, number: int) -> None:
    place = f"{url}/api/task/info/{_uuid(number)}"
    wait_until(lambda: requests.get(place, timeout=60, auth=LOGIN).ok, seconds=120)


def _resident_mib(pid: int) -> float:
    return int(Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
