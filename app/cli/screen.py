"""The one screen of a run that is watched in a terminal; legible at 80 columns."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from typing import Any

from rich.console import Group, RenderableType
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from app.cli.words import DONE
from app.stage_report import held_back_by
from app.step_report import where

RATE_SECONDS = 10.0  # over which the rates of now are taken
BAR_CELLS = 18
MINUTE = 60  # seconds, and minutes of an hour
LONGEST = 240  # characters of an error that are shown: three lines


class Rates:
    """What each stage has done a second of late, from reports as they come."""

    def __init__(self) -> None:
        """Nothing was seen yet."""
        self._seen: deque[tuple[float, Mapping[str, int]]] = deque()

    def add(self, report: Mapping[str, Any], *, now: float) -> dict[str, float]:
        """Take a report of *now* (seconds by any steady clock) into account; the rates by stage, empty with the first one."""
        self._seen.append((now, {stage: report[done] for stage, done in DONE.items()}))
        while now - self._seen[0][0] > RATE_SECONDS and now - self._seen[1][0] >= RATE_SECONDS:
            self._seen.popleft()
        before, then = self._seen[0]
        if now <= before:
            return {}
        return {stage: max(0.0, (report[done] - then[stage]) / (now - before)) for stage, done in DONE.items()}


def screen(report: Mapping[str, Any], *, estimate: int, per_second: Mapping[str, float]) -> RenderableType:
    """All that there is to see of a run; *estimate*: its rows as they were counted at its start."""
    back = None if report["ended"] else held_back_by(report, per_second=per_second)
    head = [_head(report, estimate), *([Text(where(report["step"]))] if report.get("step") else [])]
    parts: list[RenderableType] = [*head, Text(), _stages(report, estimate, per_second), Text()]
    if report["canary_reads"]:
        failed = report["canary_failed"]
        parts.append(Text(f"canary reads {report['canary_reads']:,}, failed {failed:,}", style="red" if failed else ""))
    if report["stall"]:
        parts.append(Text(f"stands still: {report['stall'][:LONGEST]}", style="yellow"))
    if back:
        parts.append(Text(f"held back by: {back}"))
    for name in ("parked", "kept"):
        if report[name]:
            reasons = ", ".join(f"{reason} {number:,}" for reason, number in report[f"{name}_reasons"].items())
            parts.append(Text(f"{name} {report[name]:,}: {reasons}", style="yellow" if name == "parked" else ""))
    others = [
        f"{report[name]:,} {name.replace('_', ' ')}"
        for name in ("in_place", "superseded", "cancelled", "waiting", "unseen")
        if report[name]
    ]
    if others:
        parts.append(Text(", ".join(others)))
    parts += [Text(f"error: {error[:LONGEST]}", style="red") for error in report["last_errors"] if error != report["stall"]]
    return Group(*parts)


def _head(report: Mapping[str, Any], estimate: int) -> Text:
    rows = max(report["rows"], estimate)
    done = report["rows"] - report["open"]
    share = f"{100 * done // rows} %" if rows else ""
    eta = "" if report["eta_seconds"] is None or not report["open"] else f"  about {clock(report['eta_seconds'])} left"
    return Text(
        f"run {report['run'][:8]}  {report['kind']}  {report['state']}  {clock(report['seconds'])}  {done:,} of {rows:,} rows {share}{eta}"
    )


def _stages(report: Mapping[str, Any], estimate: int, per_second: Mapping[str, float]) -> Table:
    movable = max(report["rows"], estimate) - report["in_place"]
    total = max(1, movable - report["parked"])
    table = Table(box=None, padding=(0, 2, 0, 0), show_edge=False)
    table.add_column("")
    table.add_column("")
    for name in ("done", "a second", "in hand", "queued", "oldest"):
        table.add_column(name, justify="right")
    for stage, figures in report["stages"].items():
        done = report[DONE[stage]]
        oldest = figures["oldest_seconds"]
        table.add_row(
            DONE[stage],
            ProgressBar(total=max(total, done), completed=done, width=BAR_CELLS),
            f"{done:,}",
            f"{per_second[stage]:,.0f}" if stage in per_second else "-",
            f"{figures['in_hand']:,}",
            f"{figures['queued']:,}" + (f" +{figures['later']:,} in grace" if figures["later"] else ""),
            "-" if oldest is None else clock(oldest),
        )
    return table


def clock(seconds: float) -> str:
    """A duration for people: ``7 s``, ``3:07``, ``1:02:03``."""
    whole = int(seconds)
    if whole < MINUTE:
        return f"{whole} s"
    minutes, rest = divmod(whole, MINUTE)
    hours, minutes = divmod(minutes, MINUTE)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
