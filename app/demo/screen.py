"""What the demonstration shows while it goes on: bars in a terminal, plain lines elsewhere; always on standard error."""

from __future__ import annotations

import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Self

from rich.console import Console, Group
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from rich.text import Text

from app.cli.words import STAGES, line

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import TracebackType

LINE_SECONDS = 3.0  # between plain lines


class Screen:
    """Shows phases as lines, and a run as bars (or lines)."""

    def __init__(self) -> None:
        self._console = Console(stderr=True)
        self._progress = Progress(TextColumn("{task.description:<8}"), BarColumn(), MofNCompleteColumn(), console=self._console)
        self._bars = {stage: self._progress.add_task(stage, total=None) for stage in STAGES}
        self._live = Live(console=self._console, refresh_per_second=4) if self._console.is_terminal else None
        self._shown_at = time.monotonic()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._live is not None:
            self._live.stop()

    def say(self, text: str) -> None:
        """Add a line, if there is still a terminal to add it to: the way out must not end for want of one."""
        with suppress(OSError):
            self._console.print(text, markup=False, highlight=False, soft_wrap=True)

    def show(self, report: Mapping[str, Any], traffic: str) -> None:
        """Show how the run stands, and what reader and writer have done."""
        stall = report["stall"] if report["rows"] else "the first rows are being planned"
        report = {**report, "held_back_by": None}  # more workers do not help a machine that has all of them
        if self._live is not None:
            self._live.start()
            total = report["rows"] - report["in_place"] - report["parked"] - report["superseded"]
            for stage, bar in self._bars.items():
                self._progress.update(bar, completed=report[stage], total=max(total, report[stage]))
            self._live.update(Group(self._progress, Text(line(dict(report))), Text(traffic), Text(stall or "", style="yellow")))
        elif time.monotonic() - self._shown_at >= LINE_SECONDS:
            self._shown_at = time.monotonic()
            self.say(" | ".join(filter(None, (line(dict(report)), traffic, stall))))
