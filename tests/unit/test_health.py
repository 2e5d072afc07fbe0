"""Heartbeat files: who is seen to work, who is not, and whose file is left over."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import pytest

from app.clock import BootClock
from app.pulse import KEPT_SECONDS
from workers import health
from workers.lifecycle import PULSE_BEATS, HeartbeatStep


@pytest.fixture(autouse=True)
def heartbeats(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder for heartbeat files."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return health.folder()


def test_a_worker_that_beats_is_no_finding() -> None:
    """A fresh heartbeat says that its queues are consumed, and nothing about others."""
    health.Heartbeat("seed+copy").beat()

    assert health.findings() == []
    assert health.findings("copy") == []
    assert health.findings("rename") == ["no rename runs here"]


def test_no_worker_at_all_is_a_finding() -> None:
    """A worker that has not come up yet does not consume."""
    assert health.findings() == ["no worker runs here"]


@pytest.mark.parametrize("seconds", [health.STALE_SECONDS + 1, -3600])
def test_a_worker_that_stopped_beating_is_a_finding(seconds: float, heartbeats: Path) -> None:
    """Too old, or from before the machine was started anew."""
    (heartbeats / f"copy@{os.getpid()}").write_text(f"{BootClock().boot() - seconds:.1f}", encoding="ascii")

    assert len(health.findings("copy")) == 1
    assert health.findings()[0].startswith(f"copy ({os.getpid()}): not seen to work for")


def test_one_silent_worker_is_found_among_others(heartbeats: Path) -> None:
    """Without a name all workers of the machine must work."""
    health.Heartbeat("copy").beat()
    (heartbeats / f"rename@{os.getpid()}").write_text("garbage", encoding="ascii")

    assert health.findings() == [f"rename ({os.getpid()}): not seen to work for ever"]


def test_a_killed_worker_leaves_no_finding_behind(heartbeats: Path) -> None:
    """The file of a process that is gone is neither asked nor kept."""
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    left = heartbeats / f"copy@{gone.pid}"
    left.write_text("0", encoding="ascii")
    health.Heartbeat("copy").beat()

    assert health.findings() == []
    health.sweep()
    assert not left.exists()
    assert health.findings("copy") == []


def test_a_worker_that_ends_takes_its_heartbeat_with_it(heartbeats: Path) -> None:
    """Ending twice is no error."""
    heartbeat = health.Heartbeat("copy")
    heartbeat.beat()

    heartbeat.end()
    heartbeat.end()

    assert list(heartbeats.iterdir()) == []


def test_the_folder_is_for_its_owner_only(heartbeats: Path) -> None:
    """Nobody else can write a heartbeat for us."""
    assert heartbeats.stat().st_mode & 0o777 == 0o700


def test_somebody_elses_folder_is_refused(monkeypatch: pytest.MonkeyPatch, heartbeats: Path) -> None:
    """A folder that another user made under our name is not used."""
    monkeypatch.setattr(os, "getuid", lambda: heartbeats.stat().st_uid + 1)
    (heartbeats.parent / f"rekey-{heartbeats.stat().st_uid + 1}").mkdir()

    with pytest.raises(PermissionError, match="belongs to another user"):
        health.folder()


class _Channel:
    """A consumer's channel, whose own connection waits for the answer to a BRPOP."""

    active_queues = frozenset({"copy"})

    def __init__(self) -> None:
        self.set_keys: list[tuple[str, int]] = []

    @property
    def client(self) -> object:
        """Not to be used: the next answer on it is the BRPOP's."""
        raise AssertionError("a command between a BRPOP and its answer")

    @contextmanager
    def conn_or_acquire(self) -> Iterator[_Channel]:
        """Another connection."""
        yield self

    def set(self, key: str, _value: str, *, ex: int) -> None:
        """SET."""
        self.set_keys.append((key, ex))


def test_broker_is_told_each_fifth_time_and_never_over_the_consumer_s_own_connection(heartbeats: Path) -> None:
    """The file is written each time."""
    channel = _Channel()
    step = HeartbeatStep.__new__(HeartbeatStep)
    step._queues, step._beats, step._patience_seconds, step._heartbeat = ("copy",), 0, 60.0, health.Heartbeat("copy")

    for _ in range(PULSE_BEATS + 1):
        step._beat(SimpleNamespace(task_consumer=SimpleNamespace(channel=channel)))

    assert channel.set_keys == [("pulse.copy", KEPT_SECONDS)] * 2
    assert health.findings("copy") == []
