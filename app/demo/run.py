"""The demonstration from beginning to end: servers, service, workers, a run under live traffic, and the recount."""

from __future__ import annotations

import os
import signal
import tempfile
import threading
import time
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from app import resources, schema
from app.cli import starting
from app.demo import interrupts
from app.demo.recount import Recount, compare, examples_of_parked, recount
from app.demo.service import TABLE, Bucket, Table, asking
from app.demo.stock import CONNECTIONS, Wish, choose, fill
from app.demo.traffic import Book, Reader, Writer
from app.demo.workers import Workers
from app.embedded.stack import Stack
from app.errors import DatabaseUnavailableError, DemonstrationError
from app.report import snapshot
from app.settings import Settings, load

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from app.demo.files import Dealt
    from app.demo.screen import Screen
    from app.ledger.records import Run

POLL_SECONDS = 0.25
STILL_SECONDS = 240.0  # without any progress; the screen says much earlier why nothing moves
STOPS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
SETTINGS = {
    "REKEY_TABLE": TABLE,
    "REKEY_NAME_COLUMN": "file_name",
    "REKEY_COPY": "worker",
    "REKEY_GRACE_SECONDS": "1",
    "REKEY_SETTLE_SECONDS": "1",
    "REKEY_LOOK_SECONDS": "1",
    "REKEY_RECONCILE_SECONDS": "0.5",
    "REKEY_COPY_CONCURRENCY": "8",
    "REKEY_RENAME_CONCURRENCY": "4",
    "REKEY_DELETE_CONCURRENCY": "8",
    "REKEY_SEED_CONCURRENCY": "1",
    "REKEY_LOG_LEVEL": "warning",
}
# How long after a write that overlapped the switch the version before may still be read: until the look at the end of the grace (1), then
# SETTLE and a second until the copy (S1, S2), each begun by the reconciler's next tick (0.5): 4, and the rest is for a busy machine. It is
# said how long it was, and the recount bears no delay.
LATE_SECONDS = 30


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    """How it went."""

    report: dict[str, Any]
    recount: Recount
    reads: int
    failed_reads: list[str]
    late_reads: int
    latest_seconds: float
    writes: Mapping[str, int]
    failed_writes: list[str]
    examples: Mapping[str, str]  # of parked rows, by reason

    @property
    def is_sound(self) -> bool:
        """Whether no read and no write failed, no write was lost, and the recount agrees with the report."""
        return not (self.failed_reads or self.failed_writes or self.recount.lost_writes or self.wrong)

    @property
    def wrong(self) -> list[str]:
        """What the recount found besides lost writes."""
        return self.recount.wrong + compare(self.recount, self.report)


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """Where everything is: the servers' settings, the workers, and the screen to tell of it."""

    environment: Mapping[str, str] = field(repr=False)
    settings: Settings
    workers: Workers
    screen: Screen

    @property
    def database(self) -> str:
        """The SQLite file."""
        return self.environment["REKEY_DATABASE_URL"].removeprefix("sqlite:///")


def demonstrate(wish: Wish, screen: Screen) -> Ending:
    """Do it all; nothing is left running or lying around, however it ends.

    Raises:
        RekeyError: A part did not work; the error says which.
    """
    tempfile.gettempdir()  # tries folders by writing a file to each: now, when nothing tempts the user to Ctrl-C
    dealt = choose(wish)
    _tell_of(dealt, screen)
    for name in [name for name in os.environ if name.startswith("CELERY_")]:
        del os.environ[name]  # of the user's own deployment; Celery would heed them before what it is told
    with ExitStack() as exits:
        main = threading.current_thread() is threading.main_thread()
        if main:
            exits.push(_restoring({number: signal.getsignal(number) for number in STOPS}))
        kept = Path(tempfile.mkdtemp(prefix="asset-rekey-")) if wish.keep else None
        exits.callback(screen.say, f"stopped; kept: {kept}" if kept else "stopped; nothing is left running or lying around")
        stack = Stack(kept)
        if main:
            interrupts.watch([signal.SIGINT], lambda: stack.folder, keep=wish.keep)
        environment = {**exits.enter_context(stack).settings, **SETTINGS}
        folder = Path(environment["REKEY_DATABASE_URL"].removeprefix("sqlite:///")).parent
        if main:
            interrupts.watch([number for number in STOPS if number != signal.SIGINT], lambda: folder, keep=wish.keep)
        screen.say(f"broker, object store and SQLite are up in {folder}")
        settings = load(environ=environment, folder=folder)
        workers = Workers(environment, folder, secrets=settings.secrets)
        resources.configure(settings)
        exits.callback(resources.close)
        exits.callback(workers.stop)
        exits.callback(screen.say, "stopping workers and servers")
        if main:
            # The first act of the way out: no second Ctrl-C interrupts the rest, all of which is bounded in time.
            exits.callback(_set_handlers, dict.fromkeys(STOPS, signal.SIG_IGN))
        schema.create_ledger(resources.engine())
        workers.start()
        return _with_traffic(wish, dealt, Site(environment=environment, settings=settings, workers=workers, screen=screen))


def _tell_of(dealt: Dealt, screen: Screen) -> None:
    kinds = len({file.content_type for _, file in dealt.assets})
    clients = len({client for client, _ in dealt.assets})
    screen.say(f"{len(dealt.assets)} files ({dealt.total_bytes / 1e6:.1f} MB, {kinds} content types) for {clients} clients")
    for note in dealt.notes:
        screen.say(f"  {note}")


def _restoring(handlers: Mapping[signal.Signals, Any]) -> Callable[[type[BaseException] | None, object, object], None]:
    """An exit that gives the signals back, unless one of them is why we leave: a second Ctrl-C would only cut the process's last words."""

    def leave(kind: type[BaseException] | None, _error: object, _trace: object) -> None:
        if kind is None or issubclass(kind, Exception):
            _set_handlers(handlers)

    return leave


def _set_handlers(handlers: Mapping[signal.Signals, Any]) -> None:
    for number, handler in handlers.items():
        signal.signal(number, handler)


def _with_traffic(wish: Wish, dealt: Dealt, site: Site) -> Ending:
    with ExitStack() as exits:
        table = exits.enter_context(closing(Table(site.database)))
        bucket = exits.enter_context(closing(Bucket(site.environment, connections=CONNECTIONS)))
        stock = fill(dealt, table, bucket, with_problems=wish.with_problems, check=site.workers.check)
        for line in stock.told:
            site.screen.say(line)
        starting.probed(site.settings)  # now, so that the run begins as soon as reader and writer do
        _wait_for_workers(site)
        book = Book(assets=stock.assets)
        grace = site.settings.grace_seconds
        reader = Reader(book, table=Table(site.database), bucket=Bucket(site.environment), grace_seconds=grace, late_seconds=LATE_SECONDS)
        writer = Writer(book, table=Table(site.database), bucket=Bucket(site.environment), grace_seconds=grace)
        for loop in (reader, writer):
            exits.callback(loop.stop)
            loop.start()
        report = _move(site, reader, writer)
        writer.stop()
        reader.stop()
        site.screen.say("recounting bucket and table")
        with asking("the recount failed"):
            counted = recount(table, bucket, book.assets, foreign=stock.foreign)
            examples = examples_of_parked(table)
    return Ending(
        report=report,
        recount=counted,
        reads=reader.count,
        failed_reads=reader.failed,
        late_reads=reader.late,
        latest_seconds=reader.latest_seconds,
        writes=dict(writer.done),
        failed_writes=writer.failed,
        examples=examples,
    )


def _wait_for_workers(site: Site) -> None:
    """They come up while the bucket is filled; how long the run takes is to say nothing of that."""
    end = time.monotonic() + STILL_SECONDS
    while not site.workers.consume(site.settings):
        site.workers.check()
        if time.monotonic() > end:
            raise DemonstrationError(f"the workers do not come up (for {STILL_SECONDS:.0f} s); {site.workers.tail()}")
        time.sleep(POLL_SECONDS)


def _move(site: Site, reader: Reader, writer: Writer) -> dict[str, Any]:
    """Start the run and wait until it has ended."""
    run = starting.start(site.settings)
    last: tuple[object, ...] = ()
    moved_at = time.monotonic()
    while True:
        site.workers.check()
        report = _report(run)
        if report is not None:
            site.screen.show(report, f"{reader.count} reads, {len(reader.failed)} failed; {writer.count} writes")
            if report["ended"]:
                return report
            now = tuple(report[name] for name in ("state", "rows", "open", "copied", "renamed", "deleted"))
            if now != last:
                last, moved_at = now, time.monotonic()
        if time.monotonic() - moved_at > STILL_SECONDS:
            why = report["stall"] if report and report["stall"] else "nothing moves"
            raise DemonstrationError(f"{why} (for {STILL_SECONDS:.0f} s); {site.workers.tail()}")
        time.sleep(POLL_SECONDS)


def _report(run: Run) -> dict[str, Any] | None:
    try:
        now = resources.runs().find(run.id)
        return snapshot(now, runs=resources.runs(), queues=resources.queues()) if now else None
    except DatabaseUnavailableError:
        return None  # asked again soon; STILL_SECONDS bounds it
