"""Two machines' worth of worker processes, and the faults that befall them."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

import psutil

from tests.chaos.plan import MACHINES
from tests.integration.processes import role_of

if TYPE_CHECKING:
    from tests.acceptance.deployment import Deployment, Running

STOP_SECONDS = 30.0
ROLES = ("seed", "copy", "rename", "delete", "beat")


@dataclass(slots=True, kw_only=True)
class Kill:
    """A process that was killed, and when its supervisor had another one up."""

    role: str
    supervisor: int
    others: frozenset[int]  # of the same role and supervisor, at that moment
    at: float
    replaced_after: float | None = None


class Cluster:
    """Two supervisors, so that somebody else can take over what a stopped or killed worker held; a dead one is started again."""

    def __init__(self, deployment: Deployment) -> None:
        self._deployment = deployment
        self._started = 0
        self._suspended: list[psutil.Process] = []
        self.supervisors: list[Running] = []
        self.kills: list[Kill] = []

    def start(self) -> None:
        """Start both."""
        self.supervisors = [self._supervisor() for _ in range(MACHINES)]

    def _supervisor(self) -> Running:
        self._started += 1
        return self._deployment.start("workers", name=f"workers-{self._started}")

    def revive(self) -> None:
        """Start a supervisor anew where one has died, as a process manager would."""
        for number, supervisor in enumerate(self.supervisors):
            if supervisor.status is not None:
                self.supervisors[number] = self._supervisor()

    def processes(self, role: str, *, machine: int | None = None) -> list[psutil.Process]:
        """The live processes of a role (on a machine)."""
        supervisors = self.supervisors if machine is None else [self.supervisors[machine]]
        return [child for supervisor in supervisors for child in _children(supervisor.pid) if role_of(child.pid) == role]

    def kill(self, role: str, machine: int) -> bool:
        """SIGKILL to the process of this role on a machine, or to its whole supervisor; False where it is not up just now."""
        supervisor = self.supervisors[machine]
        if role == "supervisor":
            os.kill(supervisor.pid, signal.SIGKILL)
            return True
        up = self.processes(role, machine=machine)
        if not up:
            return False
        self.kills.append(Kill(role=role, supervisor=supervisor.pid, others=frozenset(each.pid for each in up), at=time.monotonic()))
        up[0].kill()
        return True

    def note_replaced(self) -> list[Kill]:
        """See which killed processes have a successor by now; give those that have none though their supervisor lives."""
        waiting = []
        for kill in [kill for kill in self.kills if kill.replaced_after is None]:
            alive = any(supervisor.pid == kill.supervisor and supervisor.status is None for supervisor in self.supervisors)
            if alive and any(role_of(child.pid) == kill.role and child.pid not in kill.others for child in _children(kill.supervisor)):
                kill.replaced_after = time.monotonic() - kill.at
            elif alive:
                waiting.append(kill)
        return waiting

    def suspend(self, role: str, machine: int) -> psutil.Process | None:
        """SIGSTOP to the process of this role on a machine; the caller lets it go on. None where it is not up just now."""
        with suppress(psutil.NoSuchProcess):
            up = [psutil.Process(self.supervisors[machine].pid)] if role == "supervisor" else self.processes(role, machine=machine)
            for process in up[:1]:
                process.suspend()
                self._suspended.append(process)
                return process
        return None

    @contextmanager
    def held(self, roles: Collection[str]) -> Iterator[None]:
        """All processes of these roles stand still for the length of the block."""
        processes = [process for role in roles for process in self.processes(role)]
        self._suspended += processes
        for process in processes:
            with suppress(psutil.NoSuchProcess):
                process.suspend()
        try:
            yield
        finally:
            resume(processes)

    def stop(self) -> None:
        """SIGTERM to all, SIGKILL to what is left."""
        resume(self._suspended)
        families = [_children(supervisor.pid) for supervisor in self.supervisors if supervisor.status is None]
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
        return "\n".join(self.each_log().values())

    def each_log(self) -> dict[str, str]:
        """The same by file: one a supervisor, with its workers."""
        files = sorted(self._deployment.folder.glob("workers-*.log"))
        return {path.name: path.read_text(encoding="utf-8", errors="replace") for path in files}


def resume(processes: Iterable[psutil.Process]) -> None:
    """SIGCONT; to one that goes on already it does nothing."""
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            process.resume()


def _children(pid: int) -> list[psutil.Process]:
    with suppress(psutil.Error):
        return [child for child in psutil.Process(pid).children() if child.status() != psutil.STATUS_ZOMBIE]
    return []
