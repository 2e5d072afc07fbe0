"""``rekey set``: settings of a run under way, and the hold on its deletes."""

from __future__ import annotations

from typing import Any

import click

from app import resources
from app.cli.options import MOST_DELETES, echo_json, json_flag, settings_flags
from app.cli.status import REQUIRED, chosen, run_flag
from app.errors import UsageError
from app.run_settings import KNOBS
from app.settings import Settings, checked

HOLD, MAX_DELETES = "hold", "max_deletes"
LETTERS = len(str(MOST_DELETES))  # Python reads no number of some thousands
NAMES = (*KNOBS, HOLD, MAX_DELETES)
HELP = """Change a run under way. Workers hear of it within about a second, and go by it from their next asset on.

\b
copy_rate, rename_rate, delete_rate  assets a second, all workers together; 0: no bound
batch_size, max_in_flight, canary_reads  as the settings of these names
adapt, store_latency_ms, database_latency_ms, replica_lag_seconds, broker_depth, window, probe_sql
                                     what slows a run down or lets it rest, as the settings of these names
guard_percent, guard_outcomes        how many failures pause it
grace_seconds                        for rows switched from now on; the others keep theirs
hold                                 true: delete nothing more; false: delete again
max_deletes                          old objects that may still be deleted; none: no bound
"""


@click.command(name="set", help=HELP)
@click.argument("pairs", nargs=-1, metavar="NAME=VALUE...")
@run_flag
@json_flag
@settings_flags(required=REQUIRED, log_level="error")
def turn(*, settings: Settings, pairs: tuple[str, ...], run_id: str | None, as_json: bool) -> None:
    """Change a run under way."""
    knobs = parse(pairs)
    try:
        run = chosen(settings, run_id)
        if not run.is_live:
            raise UsageError(f"run {run.id[:8]} is {run.state}: there is nothing to set")
        steering = resources.steering()
        if HOLD in knobs:
            steering.hold(run, hold=knobs.pop(HOLD))
        if MAX_DELETES in knobs:
            steering.allow_deletes(run, knobs.pop(MAX_DELETES))
        set_now = steering.set_knobs(run, knobs)
        now = resources.runs().get(run.id)
        shown = {**set_now, HOLD: now.hold_deletes, MAX_DELETES: now.deletes_left}
        if as_json:
            echo_json({"run": run.id, "set": shown})
        else:
            click.echo(f"run {run.id[:8]}: " + ", ".join(f"{name}={_written(value)}" for name, value in shown.items()))
    finally:
        resources.close()


def parse(pairs: tuple[str, ...]) -> dict[str, Any]:
    """The values that were given, checked as settings of these names are.

    Raises:
        UsageError: A name is none of those that can be set, or a value is out of range.
    """
    if not pairs:
        raise UsageError(f"nothing to set: give NAME=VALUE with a name of {', '.join(NAMES)}")
    found: dict[str, Any] = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        name = name.strip().lower().replace("-", "_").removeprefix("rekey_")
        if not equals or name not in NAMES:
            raise UsageError(f"{pair!r}: give NAME=VALUE with a name of {', '.join(NAMES)}")
        if name == HOLD:
            found[name] = _truth(value)
        elif name == MAX_DELETES:
            found[name] = _count(value)
        else:
            found[name] = _knob(name, value)
    return found


def _knob(name: str, value: str) -> Any:  # noqa: ANN401 - as the setting has it
    try:
        return checked(name, value)
    except UsageError as error:
        raise UsageError(f"{name}={value}: {error}") from None


def _truth(value: str) -> bool:
    if value.lower() not in {"true", "false"}:
        raise UsageError(f"hold={value}: give true or false")
    return value.lower() == "true"


def _count(value: str) -> int | None:
    if value.lower() == "none":
        return None
    if not value.isascii() or not value.isdigit() or len(value) > LETTERS or int(value) > MOST_DELETES:
        raise UsageError(f"max_deletes={value}: give a whole number from 0 to {MOST_DELETES}, or none")
    return int(value)


def _written(value: object) -> str:
    return "none" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
