"""An interrupt that comes while a folder or a child is made leaves neither behind."""

from __future__ import annotations

import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest

from app.embedded import stack
from app.embedded.deferring import deferred
from app.embedded.server import Program, Server


def _interrupted(call: Any) -> Any:  # noqa: ANN401 - any callable
    """*call*, at whose end Ctrl-C comes, before anybody has its result."""

    def then(*args: Any, **options: Any) -> Any:  # noqa: ANN401 - passed on
        result = call(*args, **options)
        signal.raise_signal(signal.SIGINT)
        return result

    return then


def test_interrupt_comes_at_the_end_of_the_block() -> None:
    """Not within it, and not never."""
    reached: list[str] = []

    def work() -> None:
        with deferred():
            signal.raise_signal(signal.SIGINT)
            reached.append("the end of the block")
        reached.append("what follows it")

    with pytest.raises(KeyboardInterrupt):
        work()

    assert reached == ["the end of the block"]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_signal_that_is_ignored_stays_ignored() -> None:
    """A program under nohup is not interrupted by a hang-up that came within the block."""
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with deferred():
            signal.raise_signal(signal.SIGHUP)
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


def test_child_does_not_outlive_an_interrupt_that_comes_while_it_is_started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It would write on in a folder that is being removed."""
    started: list[subprocess.Popen[bytes]] = []
    real = subprocess.Popen

    def start(*args: Any, **options: Any) -> subprocess.Popen[bytes]:  # noqa: ANN401 - passed on
        started.append(real(*args, **options))
        return started[-1]

    monkeypatch.setattr(subprocess, "Popen", _interrupted(start))
    sleeper = (sys.executable, "-c", "import time; time.sleep(600)")
    server = Server(Program(name="sleeper", argv=sleeper, folder=tmp_path, is_ready=lambda: True))
    try:
        with pytest.raises(KeyboardInterrupt):
            server.start()
        assert [child.poll() for child in started] == [-signal.SIGKILL]
    finally:
        for child in started:
            child.kill()
            child.wait()


def test_folder_does_not_outlive_an_interrupt_that_comes_while_it_is_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is noted for removal before anything can come between."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(tempfile, "mkdtemp", _interrupted(tempfile.mkdtemp))
    program = Path(sys.executable)
    with pytest.raises(KeyboardInterrupt), stack.Stack(broker_program=program, store_program=program):
        pass

    assert list(tmp_path.iterdir()) == []
