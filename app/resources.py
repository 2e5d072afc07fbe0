"""This process's settings, database engine and object stores: opened on first use, closed by workers.lifecycle.

Nothing is opened at import, and nothing is shared over a fork: a child that finds its parent's engine opens its own (case 37).
"""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from sqlalchemy import Engine

from app import schema
from app.assets import Assets
from app.byte_budget import ByteBudget
from app.clock import BootClock
from app.database import SERVER_TIMEOUT_SECONDS, open_engine, refuse_replica, transaction
from app.errors import RekeyError
from app.ledger.canaries import CanaryLedger
from app.ledger.ladders import LadderLedger
from app.ledger.moves import MoveLedger
from app.ledger.plans import PlanLedger
from app.ledger.queues import QueueLedger
from app.ledger.records import Run
from app.ledger.reopening import ReopenLedger
from app.ledger.rollbacks import RollbackLedger
from app.ledger.runs import RunLedger
from app.ledger.steering import SteerLedger
from app.ledger.throttles import ThrottleLedger
from app.object_store import Capabilities
from app.pipeline import FIRST_STAGES, SEED
from app.planning import rules_of
from app.run_settings import table_names, with_recorded
from app.settings import Settings, load
from app.stages.context import Context
from app.stages.crowd import Crowd
from app.stages.in_flight import InFlight
from app.stages.outages import Outages
from app.stages.pages_ahead import PagesAhead
from app.stages.tally import NOTE_SECONDS, Tally, after
from app.stages.watch import RunWatch
from app.stopping import stopping
from app.stores import open_bucket, open_store

if TYPE_CHECKING:
    from app.minio_store import MinioStore
    from app.stores import Store

MAX_CONNECTIONS = 10  # database connections a process: a task is on the store most of its time, and PostgreSQL has 100 for everybody
MOST_HELD = 3000  # moves that tasks hold beyond a few each: a thousand of them, looked at and decided, take some 6 MiB
COMMAND_SECONDS = 600  # that a statement of an operator's command may take: a run of 10^8 assets is counted in minutes
MAX_CONTEXTS = 4  # live runs that one worker keeps open


@dataclass(slots=True, kw_only=True)
class _Served:
    """One run that this process works on."""

    context: Context
    store: Store
    knobs: Mapping[str, Any]  # that the context's settings were made with


@dataclass(slots=True)
class _Opened:
    pid: int
    engine: Engine | None = None
    moves: MoveLedger | None = None
    deployment: str | None = None
    contexts: OrderedDict[str, _Served] = field(default_factory=OrderedDict)


_lock = threading.RLock()
_settings: Settings | None = None
_concurrency = MAX_CONNECTIONS
_statement_seconds = SERVER_TIMEOUT_SECONDS
_opened = _Opened(pid=os.getpid())


def configure(settings: Settings | None = None, *, concurrency: int | None = None, statement_seconds: int | None = None) -> None:
    """Give this process its settings (else they are loaded on first use), the number of its tasks, and how long a statement may take."""
    global _settings, _concurrency, _statement_seconds  # noqa: PLW0603 - the process's own state, behind functions
    with _lock:
        _settings = settings or _settings
        _concurrency = concurrency or _concurrency
        _statement_seconds = statement_seconds or _statement_seconds


def settings() -> Settings:
    """The settings of this process.

    Raises:
        UsageError: They are missing or cannot be right.
    """
    global _settings  # noqa: PLW0603 - see configure
    with _lock:
        if _settings is None:
            _settings = load()
        return _settings


def engine() -> Engine:
    """The database engine of this process, its pool sized from the concurrency."""
    with _lock:
        opened = _mine()
        if opened.engine is None:
            url, pool_size = settings().database_url.get_secret_value(), min(_concurrency + 1, MAX_CONNECTIONS)
            opened.engine = open_engine(url, pool_size=pool_size, statement_seconds=_statement_seconds)
        return opened.engine


def runs() -> RunLedger:
    """The runs of this ledger."""
    return RunLedger(engine())


def moves() -> MoveLedger:
    """The moves of this ledger; one object a process, since it knows the leases held."""
    with _lock:
        opened = _mine()
        if opened.moves is None:
            opened.moves = MoveLedger(engine(), hint_seconds=settings().hint_seconds, first_stages=FIRST_STAGES)
        return opened.moves


def queues() -> QueueLedger:
    """Due moves and counts of this ledger."""
    return QueueLedger(engine(), hint_seconds=settings().hint_seconds)


def steering() -> SteerLedger:
    """What an operator wishes of the runs of this ledger."""
    return SteerLedger(engine())


def canaries() -> CanaryLedger:
    """What canary reads of the runs of this ledger have seen."""
    return CanaryLedger(engine())


def ladders() -> LadderLedger:
    """The steps of the runs of this ledger."""
    return LadderLedger(engine())


def throttles() -> ThrottleLedger:
    """What holds the runs of this ledger back."""
    return ThrottleLedger(engine())


def reopening() -> ReopenLedger:
    """Moves of this ledger that an operator sends on again, or ends."""
    return ReopenLedger(engine(), first_stages=FIRST_STAGES)


def rollbacks() -> RollbackLedger:
    """Moves that are taken back."""
    return RollbackLedger(engine(), hint_seconds=settings().hint_seconds, first_stage=SEED.next or "")


def deployment() -> str:
    """The mark of this ledger, which every message carries."""
    with _lock:
        opened = _mine()
        if opened.deployment is None:
            with transaction(engine(), read_only=True) as connection:
                refuse_replica(connection)
                opened.deployment = schema.deployment(connection)
        return opened.deployment


def store(bucket: str, capabilities: Capabilities | None, *, pool_size: int | None = None, patient: bool = False) -> MinioStore:
    """A new connection pool to *bucket* on this process's endpoint; the caller closes it. *patient*: as a command, which has no ledger."""
    return open_bucket(settings(), bucket, capabilities, pool_size=pool_size or _concurrency, patient=patient)


def store_of(values: Settings, capabilities: Capabilities | None, *, pool_size: int | None = None, patient: bool = False) -> Store:
    """A new store of all objects that *values* are about, in one bucket or in two; the caller closes it."""
    return open_store(settings(), values, capabilities, pool_size=pool_size or _concurrency, patient=patient)


def context(run: Run) -> Context:
    """What the stages need for *run*; kept for the next task of the same run.

    Raises:
        UsageError: The run's table is not there (any more).
    """
    with _lock:
        opened = _mine()
        if run.id in opened.contexts:
            opened.contexts.move_to_end(run.id)
            known = opened.contexts[run.id]
            if run.knobs != known.knobs:
                known.context, known.knobs = replace(known.context, settings=settings_of(run)), run.knobs
            return known.context
        made = _context(run)
        opened.contexts[run.id] = made
        while len(opened.contexts) > MAX_CONTEXTS:
            opened.contexts.popitem(last=False)  # its store's connections close when the last task lets go of it
        return made.context


def _context(run: Run) -> _Served:
    own = settings_of(run)
    rules = rules_of(own, run.capabilities, kind=run.kind)
    assets = Assets(engine(), table_names(own), rules.equivalence)
    opened_store = store_of(own, run.capabilities)
    made = Context(
        store=opened_store,
        assets=assets,
        moves=moves(),
        runs=runs(),
        plans=PlanLedger(engine(), hint_seconds=own.hint_seconds, first_stage=SEED.next or ""),
        queues=queues(),
        rules=replace(rules, longest_key=assets.longest_key),
        settings=own,
        clock=BootClock(),
        budget=_budget,
        stopping=stopping.is_set,
        steering=steering(),
        reopening=reopening(),
        rollbacks=rollbacks(),
        watch=RunWatch(steering(), clock=BootClock()),
        wait=stopping.wait,
        room=_room,
        crowd=_crowd,
        tally=_tally,
        outages=_outages,
        in_flight=InFlight(),
        pages=PagesAhead(BootClock()),
    )
    return _Served(context=made, store=opened_store, knobs=run.knobs)


def waiting_tasks() -> int:
    """How many of this process's tasks wait for a place among those at work."""
    return _crowd.waiting


_budget = ByteBudget()
_room = ByteBudget(MOST_HELD)
_crowd = Crowd()
_tally = Tally(seconds=NOTE_SECONDS, later=after)
_outages = Outages()


def settings_of(run: Run) -> Settings:
    """This process's settings with those of a run in their place, and what `rekey set` has changed since."""
    return recorded_settings(run.settings).model_copy(update=dict(run.knobs))


def recorded_settings(recorded: Mapping[str, Any]) -> Settings:
    """This process's settings with those on the record of a run or a plan in their place."""
    return with_recorded(settings(), recorded)


def release_leases() -> None:
    """Give back all leases of this process: the last act of a worker that must exit at once. Never raises."""
    held = _opened.moves
    if held is None or _opened.pid != os.getpid():
        return
    try:
        held.give_up_all(due_in=settings().request_timeout_seconds)
    except RekeyError:
        return  # the leases end by themselves


def close() -> None:
    """Close what this process has opened; it opens anew when it is asked again."""
    global _opened
    _tally.flush()
    with _lock:
        old, _opened = _opened, _Opened(pid=os.getpid())
    if old.pid != os.getpid():
        return
    for served in old.contexts.values():
        served.store.close()
    if old.engine is not None:
        old.engine.dispose()


def _mine() -> _Opened:
    global _opened  # noqa: PLW0603 - see configure
    if _opened.pid != os.getpid():
        if _opened.engine is not None:
            _opened.engine.dispose(close=False)  # the parent's connections stay the parent's
        _opened = _Opened(pid=os.getpid())
    return _opened
