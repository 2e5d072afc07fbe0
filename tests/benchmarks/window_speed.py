"""How fast moves leave the ledger of a PostgreSQL and come back, and what is left of them: ``python -m tests.benchmarks.window_speed``."""

from __future__ import annotations

import argparse
import sys
import time
from typing import TYPE_CHECKING

from sqlalchemy import text, update

from app.archive import ARCHIVE_PREFIX
from app.database import MICROSECONDS, open_engine, transaction
from app.ledger.archiving import ArchiveLedger
from app.schema import runs
from app.states import RunState
from app.testing import InMemoryStore, ManualClock
from app.window import bring_back, new_session, take_out
from tests.benchmarks.ledger import filled_ledger

if TYPE_CHECKING:
    from sqlalchemy import Engine


def main() -> None:
    """Print rows a second, CPU and bytes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=200_000)
    given = parser.parse_args()
    with filled_ledger(given.rows) as (url, run):
        engine = open_engine(url)
        with transaction(engine) as connection:
            ended = {"state": RunState.FINISHED, "live_hash": None, "finished_at": run.created_at + MICROSECONDS}
            connection.execute(update(runs).where(runs.c.no == run.no).values(ended))
        store, ledger = InMemoryStore(clock=ManualClock()), ArchiveLedger(engine)
        before = _bytes(engine)
        began, cpu, wal = time.monotonic(), time.process_time(), _wal(engine)
        gone = take_out(run, ledger=ledger, store=store, session=new_session())
        seconds, cpu, wal = time.monotonic() - began, time.process_time() - cpu, _wal(engine) - wal
        packed = sum(len(body) for key, body in store.contents().items() if key.startswith(ARCHIVE_PREFIX))
        each = f"{1e6 * cpu / gone:.0f} us of CPU and {wal / gone:.0f} bytes of WAL each"
        line = f"{gone} of {given.rows} moves left: {gone / seconds:.0f}/s, {each}"
        print(f"{line}; {before / given.rows:.0f} bytes a row in the ledger, {packed / gone:.0f} in the bucket")  # noqa: T201 - its output
        began = time.monotonic()
        back = bring_back(run, ledger=ledger, store=store)
        print(f"{back} came back: {back / (time.monotonic() - began):.0f}/s")  # noqa: T201 - its output
        engine.dispose()
    if back != gone:
        sys.exit(f"benchmark: {gone} left and {back} came back")


def _bytes(engine: Engine) -> int:
    with transaction(engine, read_only=True) as connection:
        return int(connection.execute(text("SELECT pg_total_relation_size('rekey_moves')")).scalar_one())


def _wal(engine: Engine) -> int:
    with transaction(engine, read_only=True) as connection:
        return int(connection.execute(text("SELECT pg_current_wal_lsn() - '0/0'")).scalar_one())


if __name__ == "__main__":
    main()
