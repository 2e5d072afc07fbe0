"""``rekey report``: what became of each asset, a line each."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from app import resources
from app.cli import DONE
from app.cli.options import echo_json, json_flag, settings_flags
from app.cli.status import REQUIRED, chosen, run_flag
from app.errors import UsageError
from app.planning import rules_of
from app.settings import NOT_GIVEN, Settings
from app.settings_table import KEYS, env_name
from app.states import OPEN_STATES, MoveState, RunKind

if TYPE_CHECKING:
    from app.ledger.records import Run
    from app.minio_store import MinioStore
    from app.reporting.lines import Lines
    from app.reporting.outputs import Writer

_OF_THE_STORE = ("s3_endpoint", "s3_access_key", "s3_secret_key")
_TYPES = {
    "csv": "text/csv; charset=utf-8",
    "jsonl": "application/jsonl",
    "nginx": "text/plain; charset=utf-8",
    "html": "text/html; charset=utf-8",
    "keys": "text/plain; charset=utf-8",
    "manifest": "text/csv; charset=utf-8",
}
_OUTCOMES = {"open": OPEN_STATES, **{str(state): frozenset({state}) for state in MoveState}}


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What the operator asks for."""

    form: str | None
    redirects: str | None
    thaw: str | None
    prefix: str | None
    target_prefix: str | None
    html: bool
    outcome: str | None
    output: Path | None
    name: str | None
    packed: bool
    as_json: bool

    @property
    def has_place(self) -> bool:
        """Whether the report goes elsewhere than to standard output."""
        return self.output is not None or self.name is not None

    @property
    def content_type(self) -> str:
        """What the object in the bucket is said to be."""
        return "application/gzip" if self.packed else _TYPES["html" if self.html else self.redirects or self.thaw or self.form or "csv"]

    @property
    def states(self) -> frozenset[MoveState] | None:
        """The states of the moves to list; None: all.

        Raises:
            UsageError: A name is none of an outcome.
        """
        if self.outcome is None:
            return None
        names = [name.strip() for name in self.outcome.split(",")]
        for name in names:
            if name not in _OUTCOMES:
                raise UsageError(f"--outcome: {name!r} is none: give some of {', '.join(_OUTCOMES)}, commas between")
        return frozenset().union(*(_OUTCOMES[name] for name in names))

    def check(self) -> None:
        """Refuse what cannot be meant.

        Raises:
            UsageError: Two places, or bytes on a terminal.
        """
        if self.output is not None and self.name is not None:
            raise UsageError("--output and --to-bucket: give one of them")
        if self.packed and not self.has_place and sys.stdout.isatty():
            raise UsageError("--gzip: a terminal shows no compressed bytes: add --output FILE, or a pipe")
        kinds = [name for name, given in (("--html", self.html), ("--redirects", self.redirects), ("--thaw", self.thaw)) if given]
        if len(kinds) > 1:
            raise UsageError(f"{' and '.join(kinds)}: give one of them")
        if kinds and (self.form or self.outcome):
            kind = kinds[0]
            raise UsageError(f"{kind} has a form and a choice of its own: give it without --format and --outcome")
        for flag, prefix in (("--prefix", self.prefix), ("--target-prefix", self.target_prefix)):
            if prefix is not None and not self.redirects:
                raise UsageError(f"{flag} belongs to --redirects: give both, or none")
        if self.as_json and not self.has_place and (self.packed or self.form or self.outcome or kinds):
            raise UsageError("--json takes standard output for its object: add --output FILE or --to-bucket NAME for the report itself")


@click.command()
@run_flag
@click.option("--format", "form", type=click.Choice(["csv", "jsonl"]), help="A line an asset, as CSV or JSON Lines. [csv]")
@click.option("--redirects", type=click.Choice(["nginx", "csv"]), help="Old path -> new path of the switched assets instead.")
@click.option("--thaw", type=click.Choice(["keys", "manifest"]), help="What to restore from an archive instead: keys, or bucket,key lines.")
@click.option("--html", is_flag=True, help="One page for people instead: summary, rates, parked, slowest clients, settings.")
@click.option("--prefix", metavar="PATH", help="What the paths of --redirects begin with, such as /media/. [/]")
@click.option("--target-prefix", metavar="PATH", help="The same of the target bucket's, where it has another path or host. [--prefix]")
@click.option("--outcome", metavar="NAMES", help="Only assets that ended so; commas between: parked,kept. `open`: not ended yet.")
@click.option("--output", metavar="FILE", type=click.Path(path_type=Path), help="Write a file, which gets its name when it is whole.")
@click.option("--gzip", "packed", is_flag=True, help="Compress it.")
@click.option("--to-bucket", "name", metavar="FILE", help="Write an object .rekey/reports/RUN/FILE; one that is there is not replaced.")
@json_flag
@settings_flags(required=REQUIRED, log_level="error")
def report(*, settings: Settings, run_id: str | None, **wanted: Any) -> int:  # noqa: ANN401 - the flags of Request
    """List what became of each asset of a run: keys, ETags, sizes, versions, times, outcome and reason; or where its old links lead.

    To standard output unless --output or --to-bucket says otherwise. --json prints one object: who ran it, when, with which settings, the
    counts, and what was written where.
    """
    request = Request(**wanted)
    request.check()
    try:
        run = chosen(settings, run_id)
        written = None if request.as_json and not request.has_place else _write(run, request)
        if request.as_json:
            echo_json(_about(run) | {"written": written})
        elif request.has_place and written:
            what = f"page about {written['assets']} assets" if request.html else f"{written['assets']} lines"
            click.echo(f"run {run.id[:8]}: {what} written to {written['to']}")
        for reason, count in written["left_out"].items() if written else ():
            click.echo(f"left out: {count}, {_why(reason)}", err=True)
        return DONE
    finally:
        resources.close()


def _why(reason: str) -> str:
    from app.reporting import redirects, thaw  # noqa: PLC0415

    return (redirects.LEFT_OUT | thaw.LEFT_OUT)[reason]


def _about(run: Run) -> dict[str, Any]:
    from app.ledger.reading import Held, ReportLedger  # noqa: PLC0415 - imported by need: see app.cli
    from app.report import snapshot  # noqa: PLC0415
    from app.reporting.head import head_of  # noqa: PLC0415

    ledger = ReportLedger(resources.engine())
    held = ledger.held(run) if run.capabilities.versioning else Held()
    return snapshot(run, runs=resources.runs(), queues=resources.queues()) | head_of(run, ledger=ledger) | {"held": asdict(held)}


def _write(run: Run, request: Request) -> dict[str, Any]:
    from app.reporting.outputs import gzipped  # noqa: PLC0415

    assets = size = 0
    left_out: Counter[str] = Counter()
    content = _content(run, request, left_out)
    with _place(run, request) as (writer, where), gzipped(writer) if request.packed else nullcontext(writer) as inner:
        for chunk, count in content:
            inner.write(chunk)
            assets, size = assets + count, size + len(chunk)
    return {"to": where, "assets": assets, "bytes": size, "left_out": dict(left_out)}


def _content(run: Run, request: Request, left_out: Counter[str]) -> Lines:
    from app.ledger.reading import ReportLedger  # noqa: PLC0415
    from app.reporting.lines import COLUMNS, FORMATS  # noqa: PLC0415
    from app.reporting.page import html_lines  # noqa: PLC0415
    from app.reporting.redirects import redirect_lines  # noqa: PLC0415
    from app.reporting.thaw import thaw_lines  # noqa: PLC0415

    ledger = ReportLedger(resources.engine(), store=lambda: _bucket(run))
    if request.html:
        return html_lines(ledger, run, now=resources.runs().now())
    if request.thaw:
        return thaw_lines(ledger, run, form=request.thaw, left_out=left_out, bucket_of=_bucket_of(run))
    if request.redirects:
        return redirect_lines(ledger, run, form=request.redirects, prefix_of=_prefix_of(run, request), left_out=left_out)
    pages = ledger.pages(run, tuple(COLUMNS.values()), states=request.states)
    return FORMATS[request.form or "csv"](pages, run_id=run.id, versioned=run.capabilities.versioning)


def _prefix_of(run: Run, request: Request) -> Callable[[str], str]:
    """What the path of a key begins with: of two buckets each may have a path, or a host, of its own."""
    from app.reporting.redirects import check_prefix  # noqa: PLC0415

    target = run.settings.get("target_bucket")
    if request.target_prefix is not None and not target:
        raise UsageError("--target-prefix: the run moved nothing into another bucket (REKEY_TARGET_BUCKET)")
    leads_from_target = run.kind is RunKind.ROLLBACK and request.target_prefix is not None
    nginx = request.redirects == "nginx"
    prefix = check_prefix(request.prefix or "/", flag="--prefix", local=nginx and not leads_from_target)
    if request.target_prefix is None:
        return lambda _key: prefix
    other, bucket_of = check_prefix(request.target_prefix, flag="--target-prefix", local=nginx and leads_from_target), _bucket_of(run)
    return lambda key: other if bucket_of(key) == target else prefix


def _bucket_of(run: Run) -> Callable[[str], str]:
    """Which bucket an asset's object lies in."""
    if not run.settings.get("target_bucket"):
        return lambda _key: run.bucket
    return rules_of(resources.recorded_settings(run.settings), run.capabilities).placing.bucket_of


@contextmanager
def _place(run: Run, request: Request) -> Iterator[tuple[Writer, str]]:
    from app.reporting import outputs, upload  # noqa: PLC0415

    if request.output is not None:
        with outputs.to_file(request.output) as file:
            yield file, str(request.output)
    elif request.name is not None:
        _check_store("--to-bucket needs")
        key = upload.report_key(run.id, request.name)
        store = resources.store(run.bucket, run.capabilities, pool_size=1)
        try:
            with outputs.to_bucket(upload.Upload(store, key, content_type=request.content_type)) as sent:
                yield sent, key
        finally:
            store.close()
    else:
        with outputs.to_stdout() as out:
            yield out, "standard output"


def _bucket(run: Run) -> MinioStore:
    """The bucket, for moves that have left the ledger for it; open until the command ends."""
    _check_store(f"moves of run {run.id[:8]} have left the ledger for the bucket, and reading them needs")
    return resources.store(run.bucket, run.capabilities, pool_size=1, patient=True)


def _check_store(what: str) -> None:
    settings = resources.settings()
    needed = [name for name in _OF_THE_STORE if settings.s3_credentials == "keys" or name not in KEYS]
    missing = [env_name(name) for name in needed if getattr(settings, name) in {"", NOT_GIVEN}]
    if missing:
        raise UsageError(f"{what} {', '.join(missing)}: set it{', or write to a file with --output' if what.startswith('--') else ''}")
