"""Watching a run until it ends: one screen in a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.live import Live

from app import resources
from app.cli.screen import Rates, screen
from app.cli.words import line
from app.errors import DatabaseUnavailableError, UsageError
from app.ledger.records import Run
from app.report import snapshot

POLL_SECONDS = 0.5
LINE_SECONDS = 10.0  # between plain lines, where no terminal is

Show = Callable[[dict[str, Any]], None]


def watch(run: Run, *, until: str | None = None) -> dict[str, Any]:
    """Show *run* until it ends (or until all rows are switched) and give the last report. An outage of the database is waited out.

    Raises:
        UsageError: The ledger does not know the run any more.
    """
    with _display(run) as show:
        while True:
            report = _report(run)
            if report is not None:
                show(report)
                if report["ended"] or (until == "renamed" and all_switched(run, report)):
                    return report
            time.sleep(POLL_SECONDS)


def _report(run: Run) -> dict[str, Any] | None:
    try:
        now = resources.runs().find(run.id)
        if now is None:  # a ledger that was restored, or made anew
            raise UsageError(f"run {run.id[:8]} is not in this ledger any more: `rekey status` shows the newest that is")
        return snapshot(now, runs=resources.runs(), queues=resources.queues())
    except DatabaseUnavailableError as error:
        sys.stderr.write(f"{error}; trying again\n")
        return None


def all_switched(run: Run, report: dict[str, Any]) -> bool:
    """Whether no row is left to be switched, as far as the passes have seen."""
    now = resources.runs().find(run.id)
    last = report.get("step") is None or report["step"]["next"] is None
    return now is not None and now.seed_done and last and report["open"] == report["open_switched"]


@contextmanager
def _display(run: Run) -> Iterator[Show]:
    console = Console(stderr=True)
    if not console.is_terminal:
        yield _plain_lines()
        return
    rates = Rates()
    with Live(console=console, refresh_per_second=4) as live:

        def show(report: dict[str, Any]) -> None:
            live.update(screen(report, estimate=run.rows_estimate, per_second=rates.add(report, now=time.monotonic())))

        yield show


def _plain_lines() -> Show:
    shown_at, shown, rates = 0.0, "", Rates()

    def show(report: dict[str, Any]) -> None:
        nonlocal shown_at, shown
        text = line(report, rates.add(report, now=time.monotonic())) + (f" | stands still: {report['stall']}" if report["stall"] else "")
        if text != shown and (time.monotonic() - shown_at >= LINE_SECONDS or report["ended"]):
            shown_at, shown = time.monotonic(), text
            sys.stderr.write(text + "\n")

    return show
