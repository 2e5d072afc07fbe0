"""Heartbeat files: who is seen to work, who is not, and whose file is left over."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from app.clock import BootClock
from workers import health


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
