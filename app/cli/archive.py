"""``rekey archive``: moves of a run that is over leave the ledger for the bucket, or come back from there."""

from __future__ import annotations

import click

from app import resources
from app.cli.options import echo_json, json_flag, settings_flags
from app.cli.status import chosen, run_flag
from app.errors import UsageError
from app.ledger.archiving import ArchiveLedger
from app.ledger.records import Run
from app.settings import Settings
from app.states import RunKind
from app.window import bring_back, new_session, take_out

REQUIRED = ("database_url", "s3_endpoint", "s3_access_key", "s3_secret_key", "s3_bucket", "table")


@click.command()
@run_flag
@click.option("--back", is_flag=True, help="Bring back what has left, for `rekey rollback`. The objects stay.")
@json_flag
@settings_flags(required=REQUIRED, log_level="error")
def archive(*, settings: Settings, run_id: str | None, back: bool, as_json: bool) -> None:
    """Let the finished moves of a run that has ended leave the ledger for the bucket, below .rekey/ledger/, so that it stays small.

    Status, report and verify go on telling them. What is parked, or whose old object was kept, stays in the ledger. Safe to break off and
    to repeat. REKEY_LEDGER_DAYS lets workers do it by themselves.
    """
    try:
        run = chosen(settings, run_id)
        ledger = ArchiveLedger(resources.engine())
        if not back:
            _check(run, ledger)
        store = resources.store(run.bucket, run.capabilities, pool_size=1, patient=True)
        try:
            if back:
                moves = bring_back(run, ledger=ledger, store=store)
            else:
                moves = take_out(run, ledger=ledger, store=store, session=new_session())
        finally:
            store.close()
        if as_json:
            echo_json({"run": run.id, "back" if back else "left": moves})
        else:
            click.echo(f"run {run.id[:8]}: {moves} moves {'are back in' if back else 'have left'} the ledger")
    finally:
        resources.close()


def _check(run: Run, ledger: ArchiveLedger) -> None:
    if run.is_live:
        raise UsageError(f"run {run.id[:8]} is {run.state}: its moves stay in the ledger until it has ended")
    if run.kind is RunKind.ROLLBACK or ledger.was_taken_back(run):
        raise UsageError(f"run {run.id[:8]} is a rollback or was taken back: its moves stay in the ledger")
