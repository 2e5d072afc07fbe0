"""A ledger as a run of many assets leaves it, made by the database itself: PostgreSQL, for the benchmarks of report and status."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import asdict
from typing import TYPE_CHECKING

from sqlalchemy import text

from app.database import MICROSECONDS, open_engine, transaction
from app.ledger.runs import RunLedger
from app.schema import create_ledger
from app.testing import InMemoryStore, ManualClock
from tests.servers import postgres_server

if TYPE_CHECKING:
    from collections.abc import Iterator

    from app.ledger.records import Run

BUCKET, TABLE = "assets", "assets"
STARTED = 1_790_000_000  # UTC seconds
A_SECOND = 600  # assets moved a second, as the times have it
# How the 98 % that are neither kept for a row that names them nor parked stand: as a state for each number from 2 to 99.
MIXES = {
    "over": "CASE n % 100 WHEN 2 THEN 'renamed' ELSE 'deleted' END",
    "within grace": "'renamed'",
    "half": "CASE WHEN n % 100 < 51 THEN 'renamed' ELSE 'deleted' END",
    "held": "'kept'",
}
# 1 % each kept and parked, and the others as the mix says.
_FILL = """
INSERT INTO rekey_moves (
    run_no, id, row_id, client, generation, old_key, new_key, old_hash, new_hash, live_hash, state, stage, parked_from, reason, detail,
    waiting, source_etag, source_size, source_store_time, copy_etag, copy_size, copy_store_time, copy_recorded, claimed_store_time, claims,
    attempts, changes, deaths, suspect, lease_until, lease_kept, not_before, due_at, hints, grace_seconds, switched_at, grace_from,
    switch_store_time, looks, sighted, intent_at, updated_at)
SELECT :run_no, n, '[' || n || ']', (n % 500)::text, 1, 'uploads/2026/file-' || n || '.png',
    'clients/' || n % 500 || '/assets/file-' || n || '.png', sha256(('old' || n)::bytea), sha256(('new' || n)::bytea),
    CASE WHEN state = 'renamed' THEN sha256(('new' || n)::bytea) END,
    state,
    CASE WHEN state = 'renamed' THEN 'delete' END,
    CASE WHEN n % 100 = 1 THEN 'planned' END,
    CASE WHEN n % 100 = 0 THEN 'named' WHEN n % 100 = 1 THEN 'denied' WHEN state = 'kept' THEN 'held' END,
    CASE WHEN n % 100 = 1 THEN 'HEAD uploads/2026/file-' || n || '.png: AccessDenied' END,
    false, md5(n::text), 4096 + n % 1000, t, md5(n::text), 4096 + n % 1000, t + 1, true, t, 1,
    0, 0, 0, false, 0, false, 0, CASE WHEN state = 'renamed' THEN us + 3600000000 ELSE us END, 0, 3600, us, us,
    t + 1, 1, false, us + 2000000, us + 3000000
FROM (SELECT n, :started + n / :a_second AS t, (:started + n / :a_second) * 1000000 + n % 1000000 AS us,
          CASE n % 100 WHEN 0 THEN 'kept' WHEN 1 THEN 'parked' ELSE {mix} END AS state
      FROM generate_series(CAST(:first AS bigint), :last) AS n) AS numbers
"""
_STEP = 50_000  # rows a statement


@contextmanager
def filled_ledger(rows: int, *, mix: str = "over") -> Iterator[tuple[str, Run]]:
    """URL of a PostgreSQL of its own with a run of *rows* moves, which stand as MIXES has it."""
    with postgres_server() as server:
        url = server.make_database()
        engine = open_engine(url, statement_seconds=600)
        create_ledger(engine)
        runs = RunLedger(engine)
        settings = {"grace_seconds": 3600, "reconcile_seconds": 5}
        capabilities = asdict(InMemoryStore(clock=ManualClock()).capabilities)
        run = runs.create(
            bucket=BUCKET, table_name=TABLE, settings=settings, capabilities=capabilities, rows=rows, user="bench@here", version="0"
        )
        for first in range(1, rows + 1, _STEP):
            with transaction(engine) as connection:
                given = {"run_no": run.no, "first": first, "last": min(first + _STEP - 1, rows), "started": STARTED, "a_second": A_SECOND}
                connection.execute(text(_FILL.replace("{mix}", MIXES[mix])), given)
        with transaction(engine) as connection:
            ended = {"next": rows + 1, "created": STARTED * MICROSECONDS, "no": run.no}
            connection.execute(
                text("UPDATE rekey_runs SET next_move = :next, seed_done = true, created_at = :created WHERE no = :no"), ended
            )
        with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.execute(text("SET statement_timeout = 0"))
            connection.execute(text("VACUUM ANALYZE rekey_moves"))
        engine.dispose()
        yield url, runs.get(run.id)
