"""``rekey plan``: what a run would do, what stands in its way, what it takes; nothing is changed."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

import click
from click.core import ParameterSource
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from app import resources
from app.cli import DONE, FINDINGS, plan_making
from app.cli.options import echo_json, json_flag, settings_flags
from app.cli.plan_text import as_lines
from app.errors import UsageError
from app.plan.estimate import parse_prices
from app.plan.looking import SAMPLE_OBJECTS
from app.plan.making import Progress as Report
from app.settings import Settings
from app.settings_table import REQUIRED

MOST_SAMPLED = 1_000_000  # above that --thorough is meant
LINE_SECONDS = 10.0  # between plain lines, where no terminal is


@click.command()
@click.option("--thorough", is_flag=True, help="Look at each object for locks, customer keys and losses, not at a sample: a GET each.")
@click.option(
    "--sample",
    type=click.IntRange(1, MOST_SAMPLED),
    default=SAMPLE_OBJECTS,
    show_default=True,
    metavar="N",
    help="Objects to look at, a GET each without its body; the rest is estimated from them.",
)
@click.option("--no-save", is_flag=True, help="Keep no record, so that no ledger is needed; `enqueue --plan` cannot take it then.")
@click.option("--price-per-1000", "prices", metavar="PRICES", help="Prices of requests, as put=0.005,get=0.0004.")
@click.option("--show", "shown_id", metavar="ID", help="Print a saved plan again instead of making one.")
@json_flag
@settings_flags(required=[name for name in REQUIRED if name != "broker_url"], log_level="error")
def plan(*, settings: Settings, thorough: bool, sample: int, no_save: bool, prices: str | None, shown_id: str | None, as_json: bool) -> int:
    """Read table and bucket, change neither, and say what a run would do: counts, bytes, time, cost, and every problem with examples.

    Exit status: 0 nothing stands in a run's way, 3 something was found.
    """
    try:
        if shown_id is not None:
            _refuse_in_vain(click.get_current_context())
            found = plan_making.saved(settings, shown_id)
        else:
            per_1000 = parse_prices(prices)
            with _progress() as report:
                found = plan_making.make(settings, thorough=thorough, sample=sample, save=not no_save, prices=per_1000, report=report)
        if as_json:
            echo_json(found)
        else:
            click.echo("\n".join(as_lines(found)))
        return FINDINGS if found["found"] else DONE
    finally:
        resources.close()


def _refuse_in_vain(context: click.Context) -> None:
    """Raise UsageError for a flag that says how a plan is made, where none is made."""
    for name, flag in (("thorough", "--thorough"), ("sample", "--sample"), ("no_save", "--no-save"), ("prices", "--price-per-1000")):
        if context.get_parameter_source(name) is ParameterSource.COMMANDLINE:
            raise UsageError(f"--show prints a plan as it was made: leave out {flag}")


@contextmanager
def _progress() -> Iterator[Report]:
    console = Console(stderr=True)
    if not console.is_terminal:
        yield _plain_lines()
        return
    columns = (TextColumn("{task.description:<24}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as bars:
        known: dict[str, TaskID] = {}

        def show(step: str, done: int, total: int) -> None:
            if step not in known:
                known[step] = bars.add_task(step, total=total)
            bars.update(known[step], completed=done, total=max(total, done))

        yield show


def _plain_lines() -> Report:
    shown_at = time.monotonic()

    def show(step: str, done: int, total: int) -> None:
        nonlocal shown_at
        if time.monotonic() - shown_at >= LINE_SECONDS:
            shown_at = time.monotonic()
            sys.stderr.write(f"{step}: {done} of {max(total, done)}\n")

    return show
