"""``rekey enqueue`` (and ``enqueue``): start a run, and watch it if asked to."""

from __future__ import annotations

import click

from app.cli import DONE, FINDINGS
from app.cli.options import echo_json, json_flag, settings_flags
from app.settings import Settings


@click.command()
@click.option("--watch", is_flag=True, help="Show progress until the run ends; the exit status is then 3 if rows were not moved.")
@click.option("--until", type=click.Choice(["renamed"]), help="With --watch: end when all rows are switched.")
@click.option("--hold", is_flag=True, help="Hold all deletes: old objects stay until `rekey release`.")
@click.option("--max-deletes", type=click.IntRange(min=0), metavar="N", help="Delete at most so many old objects; the others are held.")
@json_flag
@settings_flags(log_level="error")
def enqueue(*, settings: Settings, watch: bool, until: str | None, hold: bool, max_deletes: int | None, as_json: bool) -> int:
    """Start a run: all rows of the table are given new keys by the workers. Prints the run's id."""
    from app import resources  # noqa: PLC0415 - `rekey enqueue --help` needs no SQLAlchemy
    from app.cli import starting, watching  # noqa: PLC0415
    from app.report import is_done, snapshot  # noqa: PLC0415

    try:
        run = starting.start(settings, hold=hold, max_deletes=max_deletes)
        if not watch:
            if as_json:
                echo_json(snapshot(run, runs=resources.runs(), queues=resources.queues()))
            else:
                click.echo(f"run {run.id[:8]} accepted: {run.rows_estimate} rows; follow it with `rekey status --watch`")
            return DONE
        click.echo(f"run {run.id[:8]}: {run.rows_estimate} rows; Ctrl-C ends the watching, not the run", err=True)
        report = watching.watch(run, until=until)
        if as_json:
            echo_json(report)
        else:
            click.echo(watching.summary(report))
        switched = until == "renamed" and not report["parked"] and not report["unseen"]
        return DONE if is_done(report) or switched else FINDINGS
    finally:
        resources.close()
