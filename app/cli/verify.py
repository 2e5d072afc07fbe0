"""``rekey verify``: rows, objects and ledger counted again; ``--repair``: a table restored from an older back-up healed by the journal."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from app.cli import DONE, FINDINGS
from app.cli.options import echo_json, json_flag, settings_flags, yes_flag
from app.errors import MissingKeysError, PermanentError, RekeyError, TransientError, UsageError
from app.row_ids import shown
from app.visible import visible

if TYPE_CHECKING:
    from collections.abc import Iterable

    from app.ledger.records import Run
    from app.settings import Settings
    from app.verification.workspace import Workspace

REQUIRED = ("database_url", "s3_endpoint", "s3_access_key", "s3_secret_key", "s3_bucket", "table")
_File = click.Path(path_type=Path, dir_okay=False)


class _NotWrittenError(RekeyError):
    """All was read, and the findings could not be written."""


@click.command()
@click.option("--run", "run_id", metavar="ID", help="Check the ledger of this run too (the beginning of its id, or: last).")
@click.option("--headers", is_flag=True, help="Ask for each object's headers too: one HEAD an object.")
@click.option("--repair", is_flag=True, help="Switch rows that name deleted keys to where the journal says their bytes are.")
@click.option("--output", type=_File, metavar="FILE", help="Write every finding there, as JSON Lines.")
@click.option("--resume", is_flag=True, help="Go on with the verification that was interrupted.")
@click.option(
    "--state",
    type=_File,
    metavar="FILE",
    help="Where to keep what was read, for --resume. [a file below $XDG_STATE_HOME or ~/.local/state]",
)
@yes_flag
@json_flag
@settings_flags(required=REQUIRED, log_level="error")
def verify(
    *,
    settings: Settings,
    run_id: str | None,
    headers: bool,
    repair: bool,
    output: Path | None,
    resume: bool,
    state: Path | None,
    yes: bool,
    as_json: bool,
) -> int:
    """Count again, independently of any run: rows without their object, objects without a row, and what a run's ledger says of both.

    Nothing is written to table, bucket or ledger, and no object is ever deleted: objects without a row are listed. With --repair, rows
    are switched, after showing which. Exit status: 0 all is well, 3 something was found.
    """
    from app import resources  # noqa: PLC0415 - `rekey verify --help` needs none of this
    from app.cli import verify_setup as setup  # noqa: PLC0415
    from app.verification.workspace import Workspace  # noqa: PLC0415

    if repair and (run_id or headers):
        raise UsageError("--repair goes by the journal: leave out --run and --headers")
    for flag, file in (("--output", output), ("--state", state)):
        if file is not None and not file.absolute().parent.is_dir():
            raise UsageError(f"{flag} {file}: there is no such folder")
    if output is not None:
        from app.reporting.outputs import try_file  # noqa: PLC0415

        try_file(output)  # what is written at the end is tried before hours of reading
    work: Workspace | None = None
    over = False
    try:
        run, has_ledger = setup.chosen_run(settings, run_id)
        identity = setup.identity_of(settings, run, repair=repair)
        place = state or setup.usual_place(identity)
        if output is not None and output.resolve() == place.resolve():
            raise UsageError(f"--output {output} and --state name one file: give each its own")
        work = Workspace(place, identity, resume=resume)
        if repair:
            status = _repair(settings, work, has_ledger=has_ledger, output=output, yes=yes, as_json=as_json)
        else:
            status = _verify(settings, run, work, has_ledger=has_ledger, headers=headers, output=output, as_json=as_json)
        over = True
    except (TransientError, _NotWrittenError, KeyboardInterrupt) as error:
        _say_what_is_kept(error, work)
        raise
    except RekeyError:
        over = True
        raise
    finally:
        if work is not None:
            work.close(remove=over)
        resources.close()
    return status


def _say_what_is_kept(error: BaseException, work: Workspace | None) -> None:
    """Say that the same command can go on, if anything was read: of an error by raising one that does."""
    if work is None:
        return
    kept = "what was read so far is kept: the same command with --resume goes on"
    if isinstance(error, KeyboardInterrupt):
        click.echo(f"rekey: interrupted; {kept}", err=True)
        return
    kind = UsageError if isinstance(error, MissingKeysError) else RekeyError
    raise kind(f"{error}; {kept}") from error


def _verify(
    settings: Settings, run: Run | None, work: Workspace, *, has_ledger: bool, headers: bool, output: Path | None, as_json: bool
) -> int:
    from app.cli import verify_setup as setup  # noqa: PLC0415
    from app.verification.verify import verify as verify_all  # noqa: PLC0415

    with setup.Steps() as steps, setup.subject_of(settings, run, steps, has_ledger=has_ledger) as subject:
        report = verify_all(subject, work, headers=headers)
    report |= {"bucket": subject.rules.bucket, "table": run.table_name if run else settings.table}
    report["output"] = write_findings(output, (finding.as_object() for finding in work.findings()))
    if as_json:
        echo_json(report)
    else:
        click.echo("\n".join(_lines(report)))
    return FINDINGS if report["faults"] else DONE


def _repair(settings: Settings, work: Workspace, *, has_ledger: bool, output: Path | None, yes: bool, as_json: bool) -> int:
    from app.cli import verify_setup as setup  # noqa: PLC0415
    from app.database import transaction  # noqa: PLC0415
    from app.verification import healing, repair, repair_report  # noqa: PLC0415

    where = {"bucket": settings.s3_bucket, "table": settings.table}
    with setup.Steps() as steps, setup.subject_of(settings, None, steps, has_ledger=has_ledger) as subject:
        with transaction(subject.engine, read_only=True) as connection:
            repair.refuse_while_running(subject, connection, **where)
        repair.find(subject, work, **where)
    report: dict[str, Any] = where | repair_report.summary(work)
    report["output"] = write_findings(output, repair_report.all_sick(work))
    healable = report["found"].get("healable", 0)
    if not as_json:
        click.echo("\n".join(repair_report.lines(report)))
    agreed = bool(healable) and (yes or _ask(healable))
    if agreed:
        with setup.Steps() as steps, setup.subject_of(settings, None, steps, has_ledger=has_ledger) as subject:
            report |= healing.heal(subject, work, **where).as_object()
    report["healed"] = report.get("healed", 0)
    if as_json:
        echo_json(report)
    elif healable:
        click.echo(f"{report['healed']} rows switched" if agreed else "nothing was changed: --yes switches them")
        for each in report.get("refused", ()):
            click.echo(f"  not switched: row {visible(shown(each['row_id']))}: {visible(each['detail'])}")
    # What could not be read may be about rows that name deleted keys, too.
    return DONE if report["healed"] == sum(report["found"].values()) and not report["journal_unreadable"] else FINDINGS


def _ask(rows: int) -> bool:
    return sys.stdin.isatty() and click.confirm(f"Switch {rows} rows to these keys?", default=False, err=True)


def write_findings(output: Path | None, objects: Iterable[object]) -> str | None:
    """Write findings as JSON Lines to the file that was named; none without one.

    Raises:
        RekeyError: It cannot be written.
    """
    if output is None:
        return None
    from app.reporting.outputs import to_file  # noqa: PLC0415

    try:
        with to_file(output) as file:
            for each in objects:
                file.write(f"{json.dumps(each)}\n".encode())
    except (UsageError, PermanentError) as error:
        raise _NotWrittenError(f"--output {error}") from error
    return str(output)


def _lines(report: dict[str, Any]) -> list[str]:
    """The report for a person."""
    from app.verification.findings import FAULTS, NOTES, Kind  # noqa: PLC0415

    named = f", run {report['run'][:8]}" if report["run"] else ""
    schemes = report["schemes"]
    lines = [
        f"table {report['table']}, bucket {report['bucket']}{named}: {report['rows']} rows, {report['objects']} objects",
        f"  {schemes['new']} rows name keys of the new scheme, {schemes['old'] + schemes['other_client']} others, {schemes['no_key']} none",
    ]
    for state, counted in report["recount"].items():
        lines.append(f"  {state:<12} {counted['ledger']:>9} in the ledger, {counted['agree']:>9} agree with table and bucket")
    for title, kinds, found in (("FAULT", FAULTS, report["faults"]), ("note", NOTES, report["notes"])):
        for kind, words in kinds.items():
            if str(kind) in found:
                lines.append(f"{title:<6} {found[str(kind)]:>9} {words} ({kind})")
                lines += [f"         {_example(each)}" for each in report["examples"].get(str(kind), ())]
                if kind is Kind.MISSING:
                    lines.append("         `rekey verify --repair` looks for these in the journal of the deletes")
    if not report["faults"]:
        lines.append("no faults")
    return lines


def _example(finding: dict[str, Any]) -> str:
    row = f"row {visible(shown(finding['row_id']))} " if "row_id" in finding else ""
    return f"{row}{visible(repr(finding.get('key', '')))}" + (f": {visible(finding['detail'])}" if "detail" in finding else "")
