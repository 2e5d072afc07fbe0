"""``rekey enqueue`` (and ``enqueue``): start a run, and watch it if asked to."""

from __future__ import annotations

import click

from app.cli import DONE, FINDINGS
from app.cli.choosing import choice_flags, chosen_steps
from app.cli.options import MOST_DELETES, echo_json, json_flag, settings_flags
from app.cli.words import summary
from app.errors import UsageError
from app.settings import Settings


@click.command()
@click.option("--watch", is_flag=True, help="Show progress until the run ends.")
@click.option("--until", type=click.Choice(["renamed"]), help="With --watch: end when all rows are switched.")
@click.option("--plan", "plan_id", metavar="ID", help="Run exactly what `rekey plan` printed under this id.")
@click.option("--max-drift", type=float, metavar="PERCENT", help="With --plan: how far the table may have changed since. [1]")
@click.option("--hold", is_flag=True, help="Hold all deletes: old objects stay until `rekey release`.")
@click.option(
    "--max-deletes", type=click.IntRange(0, MOST_DELETES), metavar="N", help="Delete at most so many old objects; the others are held."
)
@choice_flags
@json_flag
@settings_flags(log_level="error")
def enqueue(
    *,
    settings: Settings,
    watch: bool,
    until: str | None,
    plan_id: str | None,
    max_drift: float | None,
    hold: bool,
    max_deletes: int | None,
    limit: int | None,
    clients: tuple[str, ...],
    sample: str | None,
    ladder: bool,
    is_auto: bool,
    as_json: bool,
) -> int:
    """Start a run: all rows of the table, or those that are chosen, are given new keys by the workers. Prints the run's id.

    Exit status: 0 the run is accepted; with --watch 0 every row is moved, in place or gone, 3 rows were not moved.
    """
    from app import resources  # noqa: PLC0415 - `rekey enqueue --help` needs no SQLAlchemy
    from app.cli import plan_use, starting, watching  # noqa: PLC0415
    from app.report import is_done, is_switched, snapshot  # noqa: PLC0415

    try:
        if until and not watch:
            raise UsageError("--until goes with --watch: without it the command ends as soon as the run is accepted")
        steps = chosen_steps(limit=limit, clients=clients, sample=sample, ladder=ladder, is_auto=is_auto)
        bound = plan_use.check_max_drift(max_drift, plan_id=plan_id)
        plan = plan_use.find_plan(settings, plan_id) if plan_id is not None else None
        chosen = plan_use.planned_settings(plan) if plan else settings
        run = starting.start(chosen, plan=plan, max_drift=bound, hold=hold, max_deletes=max_deletes, steps=steps, is_auto=is_auto)
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
            click.echo(summary(report))
        good = is_switched(report) if until == "renamed" else is_done(report)
        return DONE if good else FINDINGS
    finally:
        resources.close()
