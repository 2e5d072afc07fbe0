"""Watching a run until it ends: one screen in a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.live import Live

from app import resources
from app.cli.screen import DONE, Rates, screen
from app.errors import DatabaseUnavailableError
from app.ledger.records import Run
from app.report import snapshot
from app.states import RELEASABLE, RunKind

POLL_SECONDS = 0.5
LINE_SECONDS = 10.0  # between plain lines, where no terminal is
STAGES = ("copied", "renamed", "deleted")

Show = Callable[[dict[str, Any]], None]


def watch(run: Run, *, until: str | None = None) -> dict[str, Any]:
    """Show *run* until it ends (or until all rows are switched) and give the last report. An outage of the database is waited out."""
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
        return snapshot(now, runs=resources.runs(), queues=resources.queues()) if now else None
    except DatabaseUnavailableError as error:
        sys.stderr.write(f"{error}; trying again\n")
        return None


def all_switched(run: Run, report: dict[str, Any]) -> bool:
    """Whether no row is left to be switched, as far as the passes have seen."""
    now = resources.runs().find(run.id)
    return now is not None and now.seed_done and report["open"] == report["open_switched"]


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
        text = line(report, rates.add(report, now=time.monotonic())) + (f" | {report['stall']}" if report["stall"] else "")
        if text != shown and (time.monotonic() - shown_at >= LINE_SECONDS or report["ended"]):
            shown_at, shown = time.monotonic(), text
            sys.stderr.write(text + "\n")

    return show


def line(report: Mapping[str, Any], per_second: Mapping[str, float] | None = None) -> str:
    """One line: where the run stands, how fast each stage is of late, its time left, what was parked and why."""
    parts = [f"{_kind(report)} {report['run'][:8]} {report['state']}"]
    lately = {stage: f" +{rate:.0f}/s" for stage, rate in (per_second or {}).items() if rate >= 1}
    parts += [f"{report[done]} {done}{lately.get(stage, '')}" for stage, done in DONE.items()]
    parts += [
        f"{report[name]} {name.replace('_', ' ')}" for name in ("in_place", "kept", "superseded", "waiting", "unseen") if report[name]
    ]
    parts.append(f"{report['open']} open of {report['rows']}")
    parts.append(f"{report['per_second']:.0f}/s in all")
    if report["eta_seconds"] is not None and report["open"]:
        parts.append(f"about {report['eta_seconds']} s left")
    if report["parked"]:
        parts.append(f"{report['parked']} parked: " + _counted(report["parked_reasons"]))
    if report["not_kept"]:
        parts.append(f"{report['not_kept']} moved without: " + _counted(report["not_kept_attributes"]))
    return " | ".join(parts)


def _kind(report: Mapping[str, Any]) -> str:
    return "rollback" if report.get("kind") == RunKind.ROLLBACK else "run"


def summary(report: Mapping[str, Any]) -> str:
    """The article's summary at the end: copied, renamed, deleted, and all else that the run has to say."""
    name = f"{_kind(report).capitalize()} {report['run'][:8]}"
    lines = [f"{name} {report['state']} after {report['seconds']:.1f} s, {report['per_second']:.0f} assets/s"]
    lines += [f"  {name:<9} {report[name]:>9}" for name in STAGES]
    names = ("in_place", "kept", "superseded", "cancelled", "rolled_back", "open", "unseen")
    lines += [f"  {name.replace('_', ' '):<9} {report[name]:>9}" for name in names if report[name]]
    lines += [f"  {'parked':<9} {report['parked']:>9}"] if report["parked"] else []
    lines += [f"    {reason:<20} {n}" for reason, n in report["parked_reasons"].items()]
    without = _counted(report["not_kept_attributes"])
    lost = f"  {report['not_kept']} moved without something that they had: {without} (`rekey report` names them)"
    lines += [lost] if report["not_kept"] else []
    held = sum(report["kept_reasons"].get(reason, 0) for reason in RELEASABLE)
    lines += [f"  {held} old objects are held: `rekey release` lets them go"] if held else []
    return "\n".join(lines)


def _counted(counts: dict[str, int]) -> str:
    return ", ".join(f"{name} {count}" for name, count in counts.items())
