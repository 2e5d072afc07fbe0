"""Runs: created once, steered by flags that workers read, finished by the reconciler."""

from __future__ import annotations

import hashlib
import json
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import BigInteger, Connection, Engine, bindparam, exc, insert, select, update

from app.clock import Clock
from app.database import MICROSECONDS, database_now, read_now, transaction
from app.errors import UsageError
from app.ladder import Step
from app.ledger.archiving import refuse_archived
from app.ledger.ladders import add_ladder, end_ladder
from app.ledger.records import Run
from app.reflection import plain_name
from app.schema import meta, moves, runs, throttles
from app.states import OPEN_STATES, RunKind, RunState


def live_hash(bucket: str, table_name: str) -> bytes:
    """What forbids a second live run on the same bucket and table (H32)."""
    return hashlib.sha256(json.dumps([bucket, table_name]).encode()).digest()


@dataclass(frozen=True, slots=True, kw_only=True)
class Clocks:
    """Two clocks read together."""

    now: int  # the database's, UTC microseconds
    boot_us: int  # this machine's since its boot, just before
    apart_us: int  # how long the reading took


def _lock_origin(connection: Connection, origin_no: int) -> None:
    """See that all moves of a run that is taken back are in the ledger, and let none leave before there is its rollback."""
    found = connection.execute(select(runs.c.id).where(runs.c.no == origin_no).with_for_update()).scalar_one_or_none()
    if found is not None:
        refuse_archived(connection, found)


ID_DIGITS = 32  # of a whole run id
_WITH_RATES = select(runs, throttles.c.rates).outerjoin(throttles, throttles.c.run_no == runs.c.no)
_BY_ID = _WITH_RATES.where(runs.c.id == bindparam("run_id"))
_TAKE_TICK = (
    update(runs)
    .where(
        runs.c.no == bindparam("run"),
        (runs.c.tick_at <= bindparam("before", type_=BigInteger)) | (runs.c.tick_at > bindparam("beyond", type_=BigInteger)),
    )
    .values(tick_at=bindparam("now", type_=BigInteger), tick_boot=bindparam("boot", type_=BigInteger), tick_host=bindparam("host"))
)


class RunLedger:
    """The rows of rekey_runs."""

    def __init__(self, engine: Engine) -> None:
        """Keep the engine; nothing is asked yet."""
        self.engine = engine
        self._seen: dict[int, Clocks] = {}  # at the last tick of a run
        self._spared: dict[int, float] = {}

    def create(
        self,
        *,
        bucket: str,
        table_name: str,
        settings: Mapping[str, Any],
        capabilities: Mapping[str, Any],
        rows: int,
        user: str,
        version: str,
        kind: RunKind = RunKind.MOVE,
        steps: Sequence[Step] = (),
        is_auto: bool = False,
        **more: Any,  # noqa: ANN401 - other columns
    ) -> Run:
        """Start a run, over all rows or in *steps*.

        Raises:
            UsageError: A live run is on the same bucket and table, or moves of the run that is taken back have left the ledger.
        """
        table_name = plain_name(self.engine, table_name)
        values = {
            "id": uuid.uuid4().hex,
            "bucket": bucket,
            "table_name": table_name,
            "kind": kind,
            "state": RunState.RUNNING,
            "selection": json.dumps(more.pop("selection", {}), sort_keys=True),
            "knobs": "{}",
            "live_hash": live_hash(bucket, table_name),
            "settings": json.dumps(settings, sort_keys=True),
            "capabilities": json.dumps(capabilities, sort_keys=True),
            "rows_estimate": rows,
            "created_by": user,
            "version": version,
            **more,
        }
        try:
            with transaction(self.engine) as connection:
                if "origin_no" in more:
                    _lock_origin(connection, more["origin_no"])
                connection.execute(insert(runs).values(**values, created_at=database_now()))
                if steps:
                    run_no = connection.execute(select(runs.c.no).where(runs.c.id == values["id"])).scalar_one()
                    add_ladder(connection, run_no, steps, is_auto=is_auto)
        except exc.IntegrityError as error:
            other = self.live(bucket, table_name)
            if other is None:
                raise
            named = f"run {other.id[:8]}"
            if other.state is RunState.CANCELLED:
                text = f"{named} is being cancelled on this bucket and table: wait until `rekey status` shows that it has ended"
            else:
                text = f"{named} is {other.state} on this bucket and table: watch it with `rekey status`, or end it first"
            raise UsageError(text) from error
        return self.get(str(values["id"]))

    def get(self, run_id: str) -> Run:
        """The run with this id, or the only one whose id begins so.

        Raises:
            UsageError: No run, or several.
        """
        exactly = self.find(run_id) if len(run_id) == ID_DIGITS else None
        if exactly is not None:
            return exactly
        with transaction(self.engine, read_only=True) as connection:
            found = [
                Run.from_row(dict(row))
                for row in connection.execute(select(runs).where(runs.c.id.startswith(run_id, autoescape=True)).limit(2)).mappings()
            ]
        if len(found) != 1 or not run_id:
            raise UsageError(
                f"{'several runs begin' if len(found) > 1 else 'no run begins'} with {run_id!r}: `rekey status` shows the newest"
            )
        return found[0]

    def find(self, run_id: str) -> Run | None:
        """The run with exactly this id, if the ledger knows it (a message may be from another time: S6)."""
        with transaction(self.engine, read_only=True) as connection:
            return self.find_in(connection, run_id)

    def find_in(self, connection: Connection, run_id: str) -> Run | None:
        """The same, within a transaction."""
        row = connection.execute(_BY_ID, {"run_id": run_id}).mappings().one_or_none()
        return Run.from_row(dict(row)) if row else None

    def live(self, bucket: str, table_name: str) -> Run | None:
        """The live run on this bucket and table."""
        mine = live_hash(bucket, plain_name(self.engine, table_name))
        with transaction(self.engine, read_only=True) as connection:
            row = connection.execute(select(runs).where(runs.c.live_hash == mine)).mappings().one_or_none()
        return Run.from_row(dict(row)) if row else None

    def newest(self, bucket: str, table_name: str, *, kind: RunKind | None = None) -> Run | None:
        """The newest run on this bucket and table, of *kind* if that is given."""
        where = [
            runs.c.bucket == bucket,
            runs.c.table_name == plain_name(self.engine, table_name),
            *([runs.c.kind == kind] if kind else []),
        ]
        with transaction(self.engine, read_only=True) as connection:
            row = connection.execute(select(runs).where(*where).order_by(runs.c.no.desc()).limit(1)).mappings().one_or_none()
        return Run.from_row(dict(row)) if row else None

    def all_live(self) -> list[Run]:
        """Every run in this ledger that has not ended."""
        with transaction(self.engine, read_only=True) as connection:
            rows = connection.execute(_WITH_RATES.where(runs.c.live_hash.is_not(None)).order_by(runs.c.no)).mappings()
            return [Run.from_row(dict(row)) for row in rows]

    def live_or_ended_since(self, at: int) -> list[Run]:
        """Every run that has not ended, or only after *at* (UTC microseconds), by number."""
        here = runs.c.live_hash.is_not(None) | (runs.c.finished_at > at)
        with transaction(self.engine, read_only=True) as connection:
            return [Run.from_row(dict(row)) for row in connection.execute(_WITH_RATES.where(here).order_by(runs.c.no)).mappings()]

    def set_state(self, run: Run, state: RunState, *, only_from: RunState) -> bool:
        """Change the run's state where it still is *only_from*; a run that is finished frees its bucket and table."""
        ended = {"live_hash": None, "finished_at": database_now()} if state is RunState.FINISHED else {}
        with transaction(self.engine) as connection:
            done = connection.execute(update(runs).where(runs.c.no == run.no, runs.c.state == only_from).values(state=state, **ended))
            return done.rowcount == 1

    def end(self, run: Run) -> bool:
        """End a running or cancelled run whose last open move has ended: finished or cancelled for good, and its bucket and table free.

        Under a lock on the run, as every reopening of it: else a move that an operator sends on again just now would be left in a run
        that is over.

        Returns:
            Whether it ended now.
        """
        here = (runs.c.no == run.no, runs.c.state == run.state, runs.c.live_hash.is_not(None))
        with transaction(self.engine) as connection:
            if connection.execute(select(runs.c.no).where(*here).with_for_update()).first() is None:
                return False
            left = select(moves.c.id).where(moves.c.run_no == run.no, moves.c.state.in_(sorted(OPEN_STATES)))
            if connection.execute(left.limit(1)).first() is not None:
                return False
            state = RunState.CANCELLED if run.state is RunState.CANCELLED else RunState.FINISHED
            connection.execute(update(runs).where(*here).values(state=state, live_hash=None, finished_at=database_now()))
            end_ladder(connection, run.no)
            return True

    def take_tick(self, run: Run, *, every_seconds: float, clocks: Clocks, host: str) -> bool:
        """Let one reconciler in each *every_seconds* pass (ticks may come twice); notes both clocks for the next tick (H16)."""
        every_us = int(every_seconds * MICROSECONDS)
        boot_us = clocks.boot_us if clocks.apart_us < MICROSECONDS else 0
        given = {"run": run.no, "now": clocks.now, "before": clocks.now - every_us, "beyond": clocks.now + every_us}
        with transaction(self.engine) as connection:
            return connection.execute(_TAKE_TICK, given | {"boot": boot_us, "host": host}).rowcount == 1

    def read_clocks(self, clock: Clock) -> Clocks:
        """The database's clock and this machine's, read together."""
        before = clock.boot()
        now = self.now()
        return Clocks(now=now, boot_us=int(before * MICROSECONDS), apart_us=int((clock.boot() - before) * MICROSECONDS))

    def jump(self, run: Run, clocks: Clocks, *, host: str) -> float:
        """By how many seconds the database's clock has jumped since this process, or else this machine, saw it last (H16)."""
        seen = self._seen.get(run.no)
        self._seen[run.no] = clocks
        if seen is None and run.tick_host == host and run.tick_at and 0 < run.tick_boot <= clocks.boot_us:
            seen = Clocks(now=run.tick_at, boot_us=run.tick_boot, apart_us=0)
        if seen is None:
            return 0.0
        jumped = (clocks.now - seen.now) - (clocks.boot_us - seen.boot_us)
        # The database's clock was read some time between two readings of ours: a slow answer is no jump.
        certain = jumped - clocks.apart_us if jumped > clocks.apart_us else min(jumped + seen.apart_us, 0)
        return certain / MICROSECONDS

    def spare(self, run: Run, *, until: float) -> None:
        """Let this process take no lease for lost before its boot clock says *until*."""
        self._spared[run.no] = until

    def is_spared(self, run: Run, *, boot: float) -> bool:
        """Whether leases are not to be taken for lost at boot-clock time *boot*."""
        return boot < self._spared.get(run.no, 0.0)

    def hold_deletes(self, run: Run, *, seconds: float) -> None:
        """Send no delete of this run for so long from now; one that is held for longer stays so."""
        until = database_now() + int(seconds * MICROSECONDS)
        later = (runs.c.no == run.no, runs.c.deletes_held_until < until)
        with transaction(self.engine) as connection:
            connection.execute(update(runs).where(*later).values(deletes_held_until=until))

    def take_suspects(self, run: Run, *, token: str, seconds: float) -> bool:
        """Take the right to run suspects of this run, one at a time (H28)."""
        now = database_now()
        with transaction(self.engine) as connection:
            done = connection.execute(
                update(runs)
                .where(runs.c.no == run.no, (runs.c.suspect_until < now) | (runs.c.suspect_token == token))
                .values(suspect_token=token, suspect_until=now + int(seconds * MICROSECONDS))
            )
            return done.rowcount == 1

    def leave_suspects(self, run: Run, *, token: str) -> None:
        """Give that right back."""
        with transaction(self.engine) as connection:
            connection.execute(
                update(runs).where(runs.c.no == run.no, runs.c.suspect_token == token).values(suspect_token=None, suspect_until=0)
            )

    def set_unseen(self, run: Run, unseen: int) -> None:
        """Note how many rows no pass has examined."""
        with transaction(self.engine) as connection:
            connection.execute(update(runs).where(runs.c.no == run.no).values(unseen=unseen))

    def now(self) -> int:
        """UTC microseconds by the database's clock."""
        with transaction(self.engine, read_only=True) as connection:
            return read_now(connection)

    def remembered(self, name: str) -> str | None:
        """A value kept under *name* beside the ledger."""
        with transaction(self.engine, read_only=True) as connection:
            return connection.execute(select(meta.c.value).where(meta.c.name == name)).scalar_one_or_none()

    def remember(self, name: str, value: str) -> None:
        """Keep a value under *name*; of several at once the last stands."""
        try:
            self._keep(name, value)
        except exc.IntegrityError:  # another process has kept the first one meanwhile
            self._keep(name, value)

    def replace(self, name: str, was: str | None, value: str) -> bool:
        """Keep *value* under *name* if what is kept there is still *was* (None: nothing); gives whether it was."""
        with transaction(self.engine) as connection:
            if was is not None:
                here = (meta.c.name == name, meta.c.value == was)
                return connection.execute(update(meta).where(*here).values(value=value)).rowcount == 1
            try:
                connection.execute(insert(meta).values(name=name, value=value))
            except exc.IntegrityError:
                return False
            return True

    def _keep(self, name: str, value: str) -> None:
        with transaction(self.engine) as connection:
            if connection.execute(update(meta).where(meta.c.name == name).values(value=value)).rowcount == 0:
                connection.execute(insert(meta).values(name=name, value=value))
