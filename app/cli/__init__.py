"""The command ``rekey``: its sub-commands, and what every one of them does with errors.

A sub-command is imported when it is called: Celery, SQLAlchemy and minio take 0.4 s together, and ``rekey --help`` needs none of them.
What a sub-command returns is the exit status: None and 0 done, 3 findings; errors end it with 1, wrong usage with 2, Ctrl-C with 130.
"""

from __future__ import annotations

import errno
import os
import sys
import traceback
from difflib import get_close_matches
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, NamedTuple, TypeGuard

import click

from app.errors import MissingKeysError, RekeyError, UsageError
from app.redaction import redact

if TYPE_CHECKING:
    from collections.abc import Sequence

DONE, ERROR, USAGE, FINDINGS, INTERRUPTED = 0, 1, 2, 3, 130
_NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO}


class Entry(NamedTuple):
    """Where a sub-command is, as ``module:attribute``, and its line in ``rekey --help``."""

    target: str
    help: str


COMMANDS = {
    "demo": Entry("app.cli.demo:demo", "Show it at work on this machine: private servers, real files, live traffic."),
    "dev": Entry("app.cli.dev:dev", "Keep private servers for hand work: up and down."),
    "doctor": Entry("app.cli.doctor:doctor", "Try database, broker and object store, and say what to mend."),
    "init": Entry("app.cli.init:init", "Make the ledger's tables, or print their SQL for a DBA."),
    "plan": Entry("app.cli.plan:plan", "Say what a run would do, what stands in its way, what it takes; change nothing."),
    "enqueue": Entry("app.cli.enqueue:enqueue", "Start a run over the table, and watch it with --watch."),
    "status": Entry("app.cli.status:status", "Say how far a run is, and why it stands still if it does."),
    "verify": Entry("app.cli.verify:verify", "Count rows, objects and ledger again; heal a restored table with --repair."),
    "report": Entry("app.cli.report:report", "List what became of each asset: CSV, JSON Lines, redirects, a page."),
    "archive": Entry("app.cli.archive:archive", "Let the finished moves of a run that is over leave the ledger for the bucket."),
    "metrics": Entry("app.cli.metrics:metrics", "Serve metrics for Prometheus, or print them once."),
    "pause": Entry("app.cli.steer:pause", "Let a run rest; what is under way ends."),
    "resume": Entry("app.cli.steer:resume", "Let a paused run go on."),
    "cancel": Entry("app.cli.steer:cancel", "End a run for good; what is not switched stays as it was."),
    "set": Entry("app.cli.turn:turn", "Change grace, rates, batch size, bounds of a run under way."),
    "retry": Entry("app.cli.reopen:retry", "Send parked assets on again."),
    "rollback": Entry("app.cli.rollback:rollback", "Let rows name their old keys again, wholly or in part."),
    "release": Entry("app.cli.reopen:release", "Delete the old objects that were held."),
}


class LazyGroup(click.Group):
    """A group that knows its sub-commands by name and imports one when it is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        """All names, in the order of the table."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002 - click's signature
        """The sub-command itself, imported now."""
        if cmd_name not in COMMANDS:
            return None
        module, _, attribute = COMMANDS[cmd_name].target.partition(":")
        command: click.Command = getattr(import_module(module), attribute)
        return command

    def resolve_command(self, ctx: click.Context, args: list[str]) -> tuple[str | None, click.Command | None, list[str]]:
        """The sub-command that *args* begin with; an unknown one is refused with the nearest name."""
        if args[0] not in COMMANDS and not args[0].startswith("-"):
            alike = get_close_matches(args[0], COMMANDS, n=1)
            ctx.fail(f"no command {args[0]!r}: " + (f"did you mean {alike[0]}?" if alike else "`rekey --help` lists them"))
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002 - click's signature
        """The list in ``rekey --help``, without importing what it lists."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, entry.help) for name, entry in COMMANDS.items()])


def product_version() -> str:
    """The version that is installed."""
    try:
        return version("asset-rekey")
    except PackageNotFoundError:
        return "unknown (not installed)"


def _show_version(ctx: click.Context, _parameter: click.Parameter, wanted: bool) -> None:  # noqa: FBT001 - click's signature
    if wanted:
        click.echo(f"rekey {product_version()}")
        ctx.exit()


@click.group(cls=LazyGroup, invoke_without_command=True, context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--version", is_flag=True, expose_value=False, is_eager=True, callback=_show_version, help="Show the version and exit.")
@click.pass_context
def root(ctx: click.Context) -> None:
    """Give the objects of a live bucket new keys, driven by the rows of a table.

    Settings come from flags, REKEY_... variables and rekey.toml, in this order; docs/settings.md lists them.
    Exit status: 0 done, 1 error, 2 usage, 3 findings (rows that were not moved in enqueue --watch, rollback --watch and demo; what plan,
    doctor and verify found), 130 Ctrl-C.
    """
    if ctx.invoked_subcommand is None:
        click.echo(ctx.get_help(), err=True)
        ctx.exit(USAGE)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run ``rekey`` and give the exit status; an error is one line, never a traceback (REKEY_DEBUG=1 shows it)."""
    try:
        result = root.main(args=None if arguments is None else list(arguments), prog_name="rekey", standalone_mode=False)
        sys.stdout.flush()
    except Exception as error:  # noqa: BLE001 - the last place that can still say it in one line
        no_text = _no_text(error, sys.argv[1:] if arguments is None else arguments)
        return _report(error if no_text is None else no_text)
    except KeyboardInterrupt:
        return INTERRUPTED
    return result if isinstance(result, int) else DONE


def enqueue_main() -> int:
    """Run ``enqueue``, which is ``rekey enqueue``."""
    return main(["enqueue", *sys.argv[1:]])


def _report(error: Exception) -> int:
    if isinstance(error, click.Abort):
        return _aborted(error)
    if _is_of_stdout(error):
        # What is left in the buffer must not raise once more at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return ERROR if isinstance(error, BrokenPipeError) else _say(f"standard output could not be written: {error.strerror}", ERROR)
    if os.environ.get("REKEY_DEBUG") == "1":
        sys.stderr.write(redact("".join(traceback.format_exception(error))))
    if isinstance(error, click.ClickException):
        context = getattr(error, "ctx", None)
        return _say(error.format_message(), error.exit_code, command=context.command_path if context else "rekey")
    if isinstance(error, UsageError | MissingKeysError):
        return _say(str(error), USAGE)
    if isinstance(error, RekeyError):
        return _say(str(error), ERROR)
    return _say(_denied(error) or f"unexpected {type(error).__name__}: {error} (REKEY_DEBUG=1 shows where)", ERROR)


def _no_text(error: Exception, arguments: Sequence[str]) -> UsageError | None:
    """What to say of bytes in an argument that are no UTF-8: Python passes them on, to whatever first has to write them as a text."""
    if not isinstance(error, UnicodeEncodeError):
        return None
    bad = error.object[error.start : error.end]
    given = next((argument for argument in arguments if bad in argument), None)
    return None if given is None else UsageError(f"the argument {given[:100]!r} holds bytes that are no UTF-8 text")


def _is_of_stdout(error: Exception) -> TypeGuard[OSError]:
    """Whether the reader has gone (`rekey status | head`), or there is no room: an error of a file would name it, or is translated."""
    return isinstance(error, BrokenPipeError) or (isinstance(error, OSError) and error.errno in _NO_ROOM and error.filename is None)


def _aborted(error: click.Abort) -> int:
    if error.__cause__ is None and isinstance(error.__context__, KeyboardInterrupt):  # at a question, whose line is not ended yet
        sys.stderr.write("\n")
        return INTERRUPTED
    interrupted = isinstance(error.__cause__, KeyboardInterrupt | EOFError)
    return INTERRUPTED if interrupted else _say("nothing was done", ERROR)


def _denied(error: Exception) -> str | None:
    """What to say where the database's user lacks a right."""
    if "sqlalchemy" not in sys.modules:
        return None
    from app.database import brief, is_denied  # noqa: PLC0415 - see LazyGroup

    return f"the database refuses: {brief(error)}; `rekey doctor` names the rights that its user lacks" if is_denied(error) else None


def _say(message: str, status: int, *, command: str = "rekey") -> int:
    sys.stderr.write(f"{command}: {redact(' '.join(message.split()))}\n")
    return status
