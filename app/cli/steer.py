"""``rekey pause`` and ``rekey resume``: flags in the ledger that every worker reads before each batch."""

from __future__ import annotations

import click

from app import resources
from app.cli.options import echo_json, json_flag, settings_flags
from app.cli.status import REQUIRED, chosen, run_flag
from app.errors import UsageError
from app.settings import Settings
from app.states import RunState


@click.command()
@run_flag
@json_flag
@settings_flags(required=REQUIRED, log_level="error")
def pause(*, settings: Settings, run_id: str | None, as_json: bool) -> None:
    """Pause a run: workers end what they have in hand (about 5 s) and take nothing more. The grace of switched rows runs on."""
    _change(settings, run_id, RunState.PAUSED, only_from=RunState.RUNNING, as_json=as_json)


@click.command()
@run_flag
@json_flag
@settings_flags(required=REQUIRED, log_level="error")
def resume(*, settings: Settings, run_id: str | None, as_json: bool) -> None:
    """Let a paused run go on."""
    _change(settings, run_id, RunState.RUNNING, only_from=RunState.PAUSED, as_json=as_json)


def _change(settings: Settings, run_id: str | None, state: RunState, *, only_from: RunState, as_json: bool) -> None:
    try:
        run = chosen(settings, run_id)
        if not resources.runs().set_state(run, state, only_from=only_from):
            now = resources.runs().get(run.id)
            if now.state is not state:
                raise UsageError(f"run {run.id[:8]} is {now.state}: only a {only_from} run can become {state}")
        if state is RunState.RUNNING:
            resources.queues().forget_hints(run)  # their messages were dropped during the pause
        if as_json:
            echo_json({"run": run.id, "state": str(state)})
        else:
            click.echo(f"run {run.id[:8]} is {state}")
    finally:
        resources.close()
