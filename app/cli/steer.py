"""``rekey pause``, ``rekey resume`` and ``rekey cancel``: flags in the ledger that every worker reads before each batch."""

from __future__ import annotations

import click

from app import resources
from app.cli.hastening import hasten
from app.cli.options import confirm, echo_json, json_flag, settings_flags, yes_flag
from app.cli.status import REQUIRED, chosen, run_flag
from app.errors import UsageError
from app.settings import Settings
from app.states import RunState
from app.step_report import step_figures, where


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
    """Let a paused run go on; one that waits after a step of its ladder begins the next."""
    _change(settings, run_id, RunState.RUNNING, only_from=RunState.PAUSED, as_json=as_json)


@click.command()
@run_flag
@yes_flag
@json_flag
@settings_flags(required=REQUIRED, log_level="error")
def cancel(*, settings: Settings, run_id: str | None, yes: bool, as_json: bool) -> None:
    """End a run for good: planned assets stay as they are, unswitched copies are removed, switched assets keep their old object too."""
    from app.report import snapshot  # noqa: PLC0415 - `rekey pause` needs no report

    try:
        run = chosen(settings, run_id)
        if run.state in {RunState.CANCELLED, RunState.FINISHED}:
            raise UsageError(f"run {run.id[:8]} is {run.state}: only a running or paused run can be cancelled")
        now = snapshot(run, runs=resources.runs(), queues=resources.queues())
        open_switched = now["open_switched"]
        confirm(
            f"Cancel run {run.id[:8]}? {now['deleted']} of {now['rows']} assets are moved; {open_switched} are switched and keep "
            f"their old object, {now['open'] - open_switched} that were planned or copied stay at their old key.",
            yes=yes,
        )
        if not resources.reopening().cancel(run):
            raise UsageError(f"run {run.id[:8]} is {resources.runs().get(run.id).state} by now: it cannot be cancelled")
        hasten(run)
        if as_json:
            echo_json({"run": run.id, "state": str(RunState.CANCELLED)})
        else:
            click.echo(f"run {run.id[:8]} is cancelled; `rekey status --watch` shows when the last of its moves has ended")
    finally:
        resources.close()


def _change(settings: Settings, run_id: str | None, state: RunState, *, only_from: RunState, as_json: bool) -> None:
    try:
        run = chosen(settings, run_id)
        if state is RunState.RUNNING:
            resources.ladders().resume(run, failed=resources.canaries().find(run).failed)
        resources.throttles().hand_over(run)  # before and after: the reconciler lets no run go on, or rest, that an operator decides of
        if not resources.runs().set_state(run, state, only_from=only_from):
            now = resources.runs().get(run.id)
            if now.state is not state:
                raise UsageError(f"run {run.id[:8]} is {now.state}: only a {only_from} run can become {state}")
        resources.canaries().go_on(run)
        resources.throttles().hand_over(run)
        if state is RunState.RUNNING:
            resources.queues().forget_hints(run)  # their messages were dropped during the pause
            hasten(run)
        if as_json:
            echo_json({"run": run.id, "state": str(state)})
        else:
            ladder = resources.ladders().find(run)
            step = f", {where(figures)}" if (figures := step_figures(ladder)) else ""
            click.echo(f"run {run.id[:8]} is {state}{step}")
    finally:
        resources.close()
