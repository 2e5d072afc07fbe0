"""``rekey status``: how the newest run, or a named one, stands."""

from __future__ import annotations

from typing import Any

import click

from app import resources
from app.cli import DONE
from app.cli.options import echo_json, json_flag, settings_flags
from app.cli.words import summary
from app.errors import UsageError
from app.ledger.records import Run
from app.report import snapshot
from app.settings import Settings

NEWEST = "last"
run_flag = click.option(
    "--run",
    "run_id",
    metavar="ID",
    help=f"The run, or the beginning of its id; else, or for `{NEWEST}`, the newest on this bucket and table.",
)
REQUIRED = ("database_url", "s3_bucket", "table")


@click.command()
@run_flag
@click.option("--watch", is_flag=True, help="Go on until the run ends.")
@json_flag
@settings_flags(required=REQUIRED, log_level="error")
def status(*, settings: Settings, run_id: str | None, watch: bool, as_json: bool) -> int:
    """Show how a run stands: copied, renamed, deleted, parked by reason, rate, time left, and why it stands still if it does.

    Exit status: 0 whatever became of the rows, parked ones too; `parked` in --json counts those, and `rekey enqueue --watch` ends with 3.
    """
    try:
        run = chosen(settings, run_id)
        report = _watched(run) if watch else snapshot(run, runs=resources.runs(), queues=resources.queues())
        if as_json:
            echo_json(report)
        else:
            click.echo(summary(report))
            if report["stall"]:
                click.echo(f"  stands still: {report['stall']}")
            if report["held_back_by"]:
                click.echo(f"  held back by: {report['held_back_by']}")
        return DONE
    finally:
        resources.close()


def _watched(run: Run) -> dict[str, Any]:
    from app.cli import watching  # noqa: PLC0415 - rich is for those who look

    return watching.watch(run)


def chosen(settings: Settings, run_id: str | None) -> Run:
    """The run that the operator means.

    Raises:
        UsageError: There is none.
    """
    resources.configure(settings, statement_seconds=resources.COMMAND_SECONDS)
    resources.deployment()
    if run_id is not None and run_id != NEWEST:
        return resources.runs().get(run_id)
    run = resources.runs().newest(settings.s3_bucket, settings.table)
    if run is None:
        raise UsageError(f"no run yet on bucket {settings.s3_bucket!r} and table {settings.table!r}: `rekey enqueue` starts one")
    return run
