"""Flags that many commands share, made from the declared settings: name, help and default stand in one place."""

from __future__ import annotations

import functools
import json
import sys
from typing import TYPE_CHECKING, Any

import click

from app import install, logs
from app.errors import UsageError
from app.settings import declared, load
from app.settings_table import REQUIRED

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

    from app.settings_table import Setting

Command = Any  # a function that click calls with what its flags say

MOST_DELETES = 10**15  # that a bound on deletes says: a database's number ends somewhere

json_flag = click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
yes_flag = click.option("--yes", is_flag=True, help="Do not ask.")


def settings_flags(*, required: Collection[str] = REQUIRED, log_level: str | None = None) -> Callable[[Command], Command]:
    """Add --config and a flag for each setting that is no secret, and hand the command its ``settings``.

    Args:
        required: What the command cannot do without.
        log_level: The least level logged unless the operator says otherwise; for commands whose output is the screen.
    """

    def decorate(function: Command) -> Command:
        @functools.wraps(function)
        def run(*args: Any, config: str | None, **given: Any) -> Any:  # noqa: ANN401 - as the command itself
            flags = {setting.name: given.pop(_variable(setting)) for setting in declared() if setting.flag}
            install.check()
            settings = load(flags, config=config, required=required)
            quiet = log_level is not None and "log_level" not in settings.model_fields_set
            logs.setup(settings.log_format, level=log_level if quiet and log_level else settings.log_level, secrets=settings.secrets)
            return function(*args, settings=settings, **given)

        command: Command = run
        for setting in reversed(declared()):
            if setting.flag:
                command = _flag(setting)(command)
        return click.option("--config", metavar="FILE", help="Settings file instead of rekey.toml.")(command)

    return decorate


def confirm(question: str, *, yes: bool) -> None:
    """Ask before something that cannot be taken back.

    Raises:
        UsageError: Nobody is there to answer.
        click.Abort: The answer is no.
    """
    if yes:
        return
    if not sys.stdin.isatty():
        raise UsageError(f"{question} There is no terminal to answer on: give --yes")
    click.confirm(question, abort=True, err=True)


def echo_json(value: Mapping[str, Any]) -> None:
    """Print one JSON object on one line, as ``--json`` promises."""
    click.echo(json.dumps(value, default=str))


def _flag(setting: Setting) -> Callable[[Command], Command]:
    default = str(setting.default).lower() if isinstance(setting.default, bool) else setting.default
    help_text = setting.help if default in {None, (), ""} else f"{setting.help} [{default}]"
    # No click type: a wrong value is refused by app.settings, in the same words wherever it comes from.
    metavar = "|".join(setting.choices) or ("N" if setting.number else "TEXT")
    return click.option(str(setting.flag), _variable(setting), default=None, metavar=metavar, help=help_text)


def _variable(setting: Setting) -> str:
    return f"setting_{setting.name}"
