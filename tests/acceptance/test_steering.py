"""What an operator does to a run: starts it twice, watches until all rows are switched, pauses it; and what the grace is worth."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.acceptance.deployment import Deployment
    from tests.acceptance.service import Service

ASSETS = 30
GRACE_SECONDS = 30


@dataclass(slots=True)
class Witness:
    """Looks at rows and objects, again and again: when each row named its old key last, and when each old object was missing first."""

    service: Service
    named_old: dict[int, float] = field(default_factory=dict)
    missing: dict[str, float] = field(default_factory=dict)
    _over: threading.Event = field(default_factory=threading.Event)
    _thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin."""
        self._thread = threading.Thread(target=self._look, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End after the look under way."""
        self._over.set()
        assert self._thread is not None
        self._thread.join(30)

    def _look(self) -> None:
        old = self.service.table.keys()
        while not self._over.wait(0.2):
            begun = time.monotonic()
            rows = self.service.table.keys()
            self.named_old |= {number: begun for number, key in rows.items() if key == old[number]}
            keys = self.service.bucket.keys()
            seen = time.monotonic()
            for key in set(old.values()) - keys - self.missing.keys():
                self.missing[key] = seen


@pytest.mark.timeout(400)
def test_old_objects_stay_for_the_grace_and_a_late_write_to_one_is_kept(working: Deployment) -> None:
    """``--until renamed`` ends when all rows are switched; what the service then still writes to an old key shows at the new one."""
    service, named = working.service()
    assets = service.fill(ASSETS)
    settings = {**named, "REKEY_GRACE_SECONDS": str(GRACE_SECONDS)}
    witness = Witness(service)
    witness.start()

    switched = working.rekey("enqueue", "--watch", "--until", "renamed", "--json", seconds=200, **settings)
    late, others = assets[0], assets[1:]
    written = replace(late.content, body=b"a slow upload")
    service.bucket.put(late.old_key, written)
    status = working.status(**named)
    shown = time.monotonic()
    while service.bucket.get(late.new_key) != written:
        assert time.monotonic() - shown < GRACE_SECONDS, "the late write does not show"
        time.sleep(0.1)
    ended = working.rekey("status", "--watch", "--json", seconds=200, **named)
    witness.stop()

    assert switched.status == 0, switched.err
    assert (switched.report["renamed"], switched.report["open"], switched.report["state"]) == (ASSETS, ASSETS, "running")
    assert "grace" in status["stall"]
    assert status["deletes_due_at"] is not None
    assert (ended.report["deleted"], ended.report["state"]) == (ASSETS, "finished")
    assert service.differences([*others, replace(late, content=written)]) == []
    assert [key for key in witness.missing if witness.missing[key] < witness.named_old[_number(key)] + GRACE_SECONDS] == []


def _number(key: str) -> int:
    return int(key.removeprefix("file-").removesuffix(".bin"))


@pytest.mark.timeout(400)
def test_second_enqueue_is_refused_while_a_run_lives(working: Deployment) -> None:
    """With exit status 2 and the other run's id; also while that is paused. After its end another may start."""
    service, named = working.service()
    service.fill(3)
    first = working.rekey("enqueue", "--json", REKEY_GRACE_SECONDS="60", **named)

    running = working.rekey("enqueue", **named)
    paused = working.rekey("pause", **named)
    resting = working.rekey("enqueue", "--watch", "--json", **named)

    run = first.report["run"]
    assert first.status == 0
    assert (running.status, running.out) == (2, "")
    assert run[:8] in running.complaint
    assert "running" in running.complaint
    assert paused.status == 0
    assert resting.status == 2
    assert run[:8] in resting.complaint
    assert "paused" in resting.complaint


@pytest.mark.timeout(400)
def test_pause_holds_the_deletes_until_the_run_is_resumed(working: Deployment) -> None:
    """The grace runs on, but nothing is deleted; resumed, the run ends as if nothing had been."""
    service, named = working.service()
    assets = service.fill(ASSETS)
    settings = {**named, "REKEY_GRACE_SECONDS": str(GRACE_SECONDS)}
    switched = working.rekey("enqueue", "--watch", "--until", "renamed", "--json", seconds=200, **settings)

    paused = working.rekey("pause", "--json", **named)
    again = working.rekey("pause", "--json", **named)
    before = service.bucket.versions()
    time.sleep(GRACE_SECONDS + 7)  # the whole grace and a task's time
    status = working.status(**named)
    held = service.bucket.versions()
    resumed = working.rekey("resume", "--json", **named)
    ended = working.rekey("status", "--watch", "--json", seconds=200, **named)
    late = working.rekey("resume", **named)

    assert switched.status == 0, switched.err
    assert (paused.status, paused.report["state"]) == (0, "paused")
    assert (again.status, again.report["state"]) == (0, "paused")
    assert status["state"] == "paused"
    assert "rekey resume" in status["stall"]
    assert {asset.old_key for asset in assets} <= before.keys(), "the pause came too late to hold anything"
    assert held == before
    assert (resumed.status, resumed.report["state"]) == (0, "running")
    assert (ended.report["deleted"], ended.report["state"]) == (ASSETS, "finished")
    assert service.differences(assets) == []
    assert late.status == 2
    assert "finished" in late.complaint
