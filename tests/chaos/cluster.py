"""Two machines' worth of worker processes, and the faults that befall them."""

from __future__ import annotations

import os
import random
import signal
import time
from contextlib import suppress
from typing import TYPE_CHECKING

import psutil

if TYPE_CHECKING:
    from tests.acceptance.deployment import Deployment, Running

STOP_SECONDS = 30.0
ROLES = ("seed", "copy", "rename", "delete", "beat")


class Cluster:
    """Two supervisors, so that somebody else can take over what a stopped or killed worker held; a dead one is started again."""

    def __init__(self, deployment: Deployment) -> None:
        self._deployment = deployment
        self._started = 0
        self._suspended: list[psutil.Process] = []
        self.supervisors: list[Running] = []

    def start(self) -> None:
        """Start both."""
        self.supervisors = [self._supervisor(), self._supervisor()]

    def _supervisor(self) -> Running:
        self._started += 1
        return self._deployment.start("workers", name=f"workers-{self._started}")

    def revive(self) -> None:
        """Start a supervisor anew where one has died, as a process manager would."""
        for number, supervisor in enumerate(self.supervisors):
            if supervisor.status is not None:
                self.supervisors[number] = self._supervisor()

    def processes(self, role: str) -> list[psutil.Process]:
        """The live processes of a role."""
        found = []
        for supervisor in self.supervisors:
            with suppress(psutil.Error):
                found += [child for child in psutil.Process(supervisor.pid).children() if _role(child) == role]
        return found

    def kill(self, role: str, chance: random.Random) -> int | None:
        """SIGKILL to one process of this role (or to a whole supervisor); its id, None where none is up."""
        if role == "supervisor":
            pid = chance.choice(self.supervisors).pid
        else:
            up = self.processes(role)
            if not up:
                return None
            pid = chance.choice(up).pid
        os.kill(pid, signal.SIGKILL)
        return pid

    def suspend(self, role: str, chance: random.Random) -> psutil.Process:
        """SIGSTOP to one process of this role; the caller lets it go on."""
        process = chance.choice(self.processes(role))
        process.suspend()
        self._suspended.append(process)
        return process

    def stop(self) -> None:
        """SIGTERM to all, SIGKILL to what is left."""
        for process in self._suspended:
            with suppress(psutil.NoSuchProcess):
                process.resume()
        families = [psutil.Process(supervisor.pid).children() for supervisor in self.supervisors if supervisor.status is None]
        for supervisor in self.supervisors:
            supervisor.send_signal(signal.SIGTERM)
        end = time.monotonic() + STOP_SECONDS
        while time.monotonic() < end and any(supervisor.status is None for supervisor in self.supervisors):
            time.sleep(0.1)
        for supervisor in self.supervisors:
            supervisor.kill()
        for child in [child for family in families for child in family]:
            with suppress(psutil.NoSuchProcess):
                child.kill()

    def logs(self) -> str:
        """What all of them have written."""
        return "\n".join(
            path.read_text(encoding="utf-8", errors="replace") for path in sorted(self._deployment.folder.glob("workers-*.log"))
        )


def _role(process: psutil.Process) -> str | None:
    with suppress(psutil.Error):
        words = process.cmdline()
        if "celery" in words:
            return "beat" if "beat" in words else words[words.index("-Q") + 1] if "-Q" in words else None
    return None
