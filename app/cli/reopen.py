"""``rekey retry`` and ``rekey release``: parked assets, and old objects that were held, go on."""

from __future__ import annotations

import click

from app import resources
from app.cli.hastening import hasten
from app.cli.options import MOST_DELETES, confirm, echo_json, json_flag, settings_flags, yes_flag
from app.cli.status import REQUIRED, chosen, run_flag
from app.errors import UsageError
from app.ledger.records import Run
from app.ledger.reopening import Selection, Sent
from app.row_ids import meant
from app.settings import Settings
from app.states import ParkedReason, RunState


@click.command()
@click.option("--reason", "reasons", multiple=True, type=click.Choice([str(reason) for reason in ParkedReason]), help="Only these reasons.")
@click.option("--client", "clients", multiple=True, metavar="ID", help="Only assets of these clients.")
@click.option("--id", "ids", multiple=True, metavar="ID", help="Only these rows; commas between the columns of a composite key.")
@run_flag
@json_flag
@settings_flags(required=REQUIRED, log_level="error")
def retry(
    *,
    settings: Settings,
    reasons: tuple[str, ...],
    clients: tuple[str, ...],
    ids: tuple[str, ...],
    run_id: str | None,
    as_json: bool,
) -> None:
    """Send parked assets on again, each from the stage where it was parked. A run that has ended goes on with them."""
    try:
        run = _steady(settings, run_id)
        row_ids = [text for given in ids for text in meant(given, columns=len(settings.id_columns))]
        which = Selection(reasons=reasons, clients=clients, row_ids=row_ids)
        if not resources.reopening().parked(run, which):
            raise UsageError(f"run {run.id[:8]} has no parked asset that is meant: `rekey status` counts them by reason")
        sent = resources.reopening().retry(run, which)
        hasten(run)
        _say(run, sent, f"go on{_once_resumed(run)}", as_json=as_json)
    finally:
        resources.close()


@click.command()
@click.option("--max-deletes", type=click.IntRange(1, MOST_DELETES), metavar="N", help="Release at most so many; the others stay held.")
@run_flag
@yes_flag
@json_flag
@settings_flags(required=REQUIRED, log_level="error")
def release(*, settings: Settings, max_deletes: int | None, run_id: str | None, yes: bool, as_json: bool) -> None:
    """Let old objects go that were held (--hold, --max-deletes, a cancelled run): each is deleted under every check of a delete."""
    try:
        run = _steady(settings, run_id)
        held = sum(resources.reopening().releasable(run).values())
        if not held and not run.hold_deletes:
            raise UsageError(f"run {run.id[:8]} holds no old object")
        count = held if max_deletes is None else min(held, max_deletes)
        later = " and holds those to come no more" if run.hold_deletes and max_deletes is None else ""
        confirm(f"Release {count} of {held} held old objects of run {run.id[:8]}{later}? They are deleted for good.", yes=yes)
        resources.steering().allow_deletes(run, max_deletes)
        resources.steering().hold(run, hold=False)
        sent = resources.reopening().release(run, most=max_deletes)
        hasten(run)
        _say(run, sent, f"are released{_once_resumed(run)}", as_json=as_json)
    finally:
        resources.close()


def _steady(settings: Settings, run_id: str | None) -> Run:
    run = chosen(settings, run_id)
    if run.state is RunState.CANCELLED and run.is_live:
        raise UsageError(f"run {run.id[:8]} is being cancelled: wait until `rekey status` shows that it has ended")
    return run


def _once_resumed(run: Run) -> str:
    return " once `rekey resume` lets the paused run go on" if run.state is RunState.PAUSED else ""


def _say(run: Run, sent: Sent, what: str, *, as_json: bool) -> None:
    if as_json:
        echo_json({"run": run.id, "moves": sent.moves, "blocked": sent.blocked})
        return
    click.echo(f"run {run.id[:8]}: {sent.moves} assets {what}")
    if sent.blocked:
        click.echo(f"  {sent.blocked} stay as they are: another asset that is under way gets the same new key")
