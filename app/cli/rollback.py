"""``rekey rollback``: take a run back, wholly or in part, by a run of its own (H18)."""

from __future__ import annotations

import dataclasses
from typing import Any

import click

from app import resources
from app.cli import DONE, FINDINGS
from app.cli.options import confirm, echo_json, json_flag, settings_flags, yes_flag
from app.cli.status import NEWEST, run_flag
from app.cli.words import summary
from app.database import transaction
from app.errors import UsageError
from app.ledger.records import Run
from app.ledger.rollbacks import Undoable
from app.reflection import plain_name
from app.settings import Settings
from app.states import MoveState, RunKind, RunState

PAGE_MOVES = 1000


@click.command()
@run_flag
@click.option("--client", "clients", multiple=True, metavar="ID", help="Only assets of these clients.")
@click.option("--only-where", metavar="SQL", help="Only rows that this SQL condition selects now.")
@click.option("--dry-run", is_flag=True, help="Say what would be done, and do nothing.")
@click.option("--watch", is_flag=True, help="Show progress until the rollback ends.")
@yes_flag
@json_flag
@settings_flags(log_level="error")
def rollback(
    *,
    settings: Settings,
    run_id: str | None,
    clients: tuple[str, ...],
    only_where: str | None,
    dry_run: bool,
    watch: bool,
    yes: bool,
    as_json: bool,
) -> int:
    """Let rows name their old keys again. Held old objects are named again as they are; deleted ones are copied back first.

    Exit status: 0 the rollback is accepted; with --watch 0 every row that was meant is back, or gone, 3 rows were not taken back.
    """
    from app.cli import starting, watching  # noqa: PLC0415 - only a rollback needs them
    from app.report import is_done, snapshot  # noqa: PLC0415

    try:
        if dry_run and watch:
            raise UsageError("--watch does not go with --dry-run: nothing is started that could be watched")
        origin = _origin(settings, run_id)
        found = _count(settings, origin, clients, only_where)
        if not found.total:
            other = resources.rollbacks().newest_switched(origin) if run_id in {None, NEWEST} else None
            instead = f"; the newest run with switched rows is {other[:8]}: `rekey rollback --run {other[:8]}`" if other else ""
            raise UsageError(f"run {origin.id[:8]} has nothing to take back: {_nothing(found)}{instead}")
        click.echo(_plan(origin, found), err=True)
        if dry_run:
            if as_json:
                echo_json({"origin": origin.id, **dataclasses.asdict(found)})
            return DONE
        confirm(f"Take run {origin.id[:8]} back?", yes=yes)
        if origin.is_live:
            starting.fit_for_rollback(settings, where=only_where)
            _end_first(origin)
        run = starting.start_rollback(settings, origin, rows=found.total, clients=clients, where=only_where)
        if not watch:
            if as_json:
                echo_json(snapshot(run, runs=resources.runs(), queues=resources.queues()))
            else:
                click.echo(f"run {run.id[:8]} takes {found.total} rows back; follow it with `rekey status --watch`")
            return DONE
        report = watching.watch(run)
        if as_json:
            echo_json(report)
        else:
            click.echo(summary(report))
        return DONE if is_done(report) else FINDINGS
    finally:
        resources.close()


def _origin(settings: Settings, run_id: str | None) -> Run:
    from app.cli.starting import refuse_unfit_table  # noqa: PLC0415 - as above

    resources.configure(settings, statement_seconds=resources.COMMAND_SECONDS)
    resources.deployment()
    runs = resources.runs()
    run = runs.newest(settings.s3_bucket, settings.table, kind=RunKind.MOVE) if run_id in {None, NEWEST} else runs.get(str(run_id))
    if run is None:
        raise UsageError(f"no run yet on bucket {settings.s3_bucket!r} and table {settings.table!r}: there is nothing to take back")
    if run.kind is RunKind.ROLLBACK:
        raise UsageError(f"run {run.id[:8]} is a rollback itself: `rekey enqueue` moves the rows forward again")
    if (run.bucket, run.table_name) != (settings.s3_bucket, plain_name(resources.engine(), settings.table)):
        raise UsageError(f"run {run.id[:8]} is of bucket {run.bucket!r} and table {run.table_name!r}: give the settings of that")
    target = run.settings.get("target_bucket")  # an older program's run has none
    if target != settings.target_bucket:
        raise UsageError(f"run {run.id[:8]} had REKEY_TARGET_BUCKET {target or 'not set'!r}: give it as it was")
    if run.is_live and run.state is not RunState.PAUSED:
        raise UsageError(f"run {run.id[:8]} is {run.state}: pause or cancel it first (`rekey pause`), or wait for its end")
    live = runs.live(run.bucket, run.table_name)
    if live is not None and live.no != run.no:
        raise UsageError(f"run {live.id[:8]} is {live.state} on this bucket and table: it has to end first")
    refuse_unfit_table(resources.engine(), resources.settings_of(run))  # its columns are those of the rollback
    return run


def _count(settings: Settings, origin: Run, clients: tuple[str, ...], where: str | None) -> Undoable:
    ledger = resources.rollbacks()
    found = ledger.undoable(origin, clients=clients)
    if where is None:
        return found
    from app.cli.starting import assets_where  # noqa: PLC0415 - only a rollback of some rows needs it

    assets = assets_where(settings, where)
    counted: dict[str, Any] = {"by_switch": 0, "by_copy": 0, "bytes_to_copy": 0}
    for page in ledger.pages(origin, limit=PAGE_MOVES, clients=clients):
        with transaction(resources.engine(), read_only=True) as connection:
            chosen = assets.selected(connection, [move.row_id for move in page])
        for move in page:
            if move.row_id in chosen:
                deleted = move.state is MoveState.DELETED
                counted["by_copy" if deleted else "by_switch"] += 1
                counted["bytes_to_copy"] += move.copy.size if deleted and move.copy else 0
    # Whether the others are meant is asked of no row, since nothing is done to them.
    return Undoable(**counted, rolled_back=found.rolled_back)


def _nothing(found: Undoable) -> str:
    return "it was rolled back already" if found.rolled_back else "no row of it was switched, or none that is meant"


def _plan(origin: Run, found: Undoable) -> str:
    lines = [f"Rollback of run {origin.id[:8]}: {found.total} rows"]
    if found.by_switch:
        lines.append(f"  {found.by_switch} by switching the row: the old object is held (copied anew where the new one has changed)")
    if found.by_copy:
        lines.append(
            f"  {found.by_copy} by copying back what is at the new key now, {found.bytes_to_copy} bytes: the old object is deleted"
        )
        lines.append("    what cannot be undone: their old objects' time, version and any content that was overwritten since")
    if found.not_switched:
        lines.append(f"  {found.not_switched} were not switched, or needed no move: they stay as they are")
    if found.rolled_back:
        lines.append(f"  {found.rolled_back} were rolled back already")
    lines.append("  rows that name another key by now, or are gone, are left alone; new objects go after a grace of their own")
    if origin.is_live:
        lines.append(f"  run {origin.id[:8]} is paused: it is cancelled first")
    return "\n".join(lines)


def _end_first(origin: Run) -> None:
    from app.cli import watching  # noqa: PLC0415 - as above

    if resources.reopening().cancel(origin):
        watching.watch(resources.runs().get(origin.id))
