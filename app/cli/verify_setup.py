"""What ``rekey verify`` works with: the subject from settings and ledger, the workspace's place, and the progress on the screen."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from sqlalchemy import inspect

from app import resources, schema
from app.assets import Assets
from app.cli.starting import known_capabilities
from app.cli.status import chosen
from app.clock import BootClock
from app.database import refuse_replica, transaction
from app.ledger.records import Run
from app.object_store import Capabilities, ObjectStore
from app.planning import rules_of
from app.run_settings import table_names
from app.settings import Settings
from app.states import RunKind
from app.two_buckets import seen_folds
from app.verification.subject import Subject

LINE_SECONDS = 10.0  # between plain lines, where no terminal is


def chosen_run(settings: Settings, run_id: str | None) -> tuple[Run | None, bool]:
    """The run that the operator means, if any, and whether there is a ledger at all (a restored database may have none).

    Raises:
        UsageError: There is no such run, or the database is a replica.
    """
    resources.configure(settings)
    with transaction(resources.engine(), read_only=True) as connection:
        refuse_replica(connection)
        has_ledger = inspect(connection).has_table(schema.meta.name)
    if run_id is None:
        return None, has_ledger
    return chosen(settings, run_id), True


@contextmanager
def subject_of(settings: Settings, run: Run | None, progress: Steps, *, has_ledger: bool) -> Iterator[Subject]:
    """Open what is verified; a run's own settings say what its table, bucket and template are."""
    own = resources.settings_of(run) if run is not None else settings
    store = resources.store_of(own, None, pool_size=16)
    try:
        store.capabilities = _capabilities(own, run, store, has_ledger=has_ledger)
        rules = rules_of(own, store.capabilities)
        names = dataclasses.replace(table_names(own), where=None)  # what no row names, no row of the whole table names
        yield Subject(
            engine=resources.engine(),
            assets=Assets(resources.engine(), names, rules.equivalence),
            store=store,
            moves=resources.moves(),
            runs=resources.runs(),
            rules=rules,
            run=run,
            has_ledger=has_ledger,
            settle_seconds=own.settle_seconds,
            policy=own.fidelity_policy,
            whole_table=own.where is None and run is not None and run.kind is RunKind.MOVE and not run.selection,
            clock=BootClock(),
            progress=progress,
        )
    finally:
        store.close()


def _capabilities(settings: Settings, run: Run | None, store: ObjectStore, *, has_ledger: bool) -> Capabilities:
    """What the store takes for one key: as probed for a run, or by the last probe of this endpoint, or found out by reading alone."""
    if has_ledger:
        known = run or resources.runs().newest(settings.s3_bucket, settings.table)
        if known is not None:
            return known.capabilities
        probed = known_capabilities(settings)
        if probed is not None:
            return probed
    unproved = {name: False for name in Capabilities.__slots__ if name != "fidelity"}  # a verification writes nothing, so it cannot probe
    return Capabilities(**unproved | dataclasses.asdict(seen_folds(store)))


def identity_of(settings: Settings, run: Run | None, *, repair: bool) -> dict[str, Any]:
    """What makes one verification another than the next."""
    own = resources.settings_of(run) if run is not None else settings
    names = ("s3_endpoint", "s3_bucket", "target_bucket", "table", "id_column", "key_column", "client_column", "template")
    return {name: getattr(own, name) for name in names} | {"run": run.id if run else None, "repair": repair, "format": 1}


def usual_place(identity: dict[str, Any]) -> Path:
    """Where the workspace of a verification lies unless told otherwise: in a folder of this user's own, found again by --resume."""
    name = hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:16]
    folder = os.environ.get("XDG_STATE_HOME") or os.path.expanduser("~/.local/state")  # noqa: PTH111 - pathlib's fails for a user without a home
    return Path(folder, "asset-rekey", f"verify-{name}.db")


class Steps:
    """Progress: a bar on a terminal, a line now and then elsewhere."""

    def __init__(self) -> None:
        console = Console(stderr=True)
        columns = (TextColumn("{task.description:<20}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        self._bars = Progress(*columns, console=console) if console.is_terminal else None
        self._bar: TaskID | None = None
        self._name, self._done, self._said = "", 0, time.monotonic()

    def __enter__(self) -> Self:
        if self._bars:
            self._bars.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._bars:
            self._bars.stop()

    def phase(self, name: str, total: int | None = None) -> None:
        """A new phase begins."""
        self._name, self._done = name, 0
        if self._bars:
            self._bar = self._bars.add_task(name, total=total)
        else:
            sys.stderr.write(f"{name}\n")

    def advance(self, count: int) -> None:
        """So many more are done."""
        self._done += count
        if self._bars and self._bar is not None:
            self._bars.advance(self._bar, count)
        elif time.monotonic() - self._said > LINE_SECONDS:
            self._said = time.monotonic()
            sys.stderr.write(f"{self._name}: {self._done}\n")
