"""CPU and memory of processes and all their children, from the operating system's own accounts (/proc)."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

TICK = os.sysconf("SC_CLK_TCK")
_PROC = Path("/proc")


@dataclass(frozen=True, slots=True)
class Process:
    """One line of the operating system's accounts."""

    pid: int
    parent: int
    ticks: int  # its own, and those of its children that have ended and were waited for


def processes() -> dict[int, Process]:
    """All processes there are."""
    found = {}
    for entry in _PROC.iterdir():
        if entry.name.isdigit():
            try:
                text = (entry / "stat").read_text()
            except OSError:
                continue  # it has just ended
            fields = text.rpartition(")")[2].split()  # a program's name may hold blanks and brackets
            found[int(entry.name)] = Process(int(entry.name), int(fields[1]), sum(map(int, fields[11:15])))
    return found


def tree(root: int) -> list[Process]:
    """The process *root* and all that descend from it."""
    every = processes()
    children: dict[int, list[Process]] = {}
    for process in every.values():
        children.setdefault(process.parent, []).append(process)
    found, ahead = [], [every[root]] if root in every else []
    while ahead:
        process = ahead.pop()
        found.append(process)
        ahead += children.get(process.pid, [])
    return found


def cpu_seconds(root: int) -> float:
    """User and system time that *root* and its descendants have taken so far, ended ones included; only grows while their parents live."""
    return sum(process.ticks for process in tree(root)) / TICK


def peak_mib(pid: int) -> float:
    """The most memory that the process ever had resident."""
    for line in (_PROC / str(pid) / "status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 1024
    return 0.0
