"""How many rows a second ``rekey plan`` takes and how much memory, on SQLite and PostgreSQL.

``python -m tests.benchmarks.plan_rate --rows 1000000`` matches with a dense listing that is made up (no server's time in it);
``--minio`` with the listing of a MinIO that holds the objects (of 16 bytes; some 20,000 are enough).
"""

from __future__ import annotations

import argparse
import io
import json
import resource
import sqlite3
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import psycopg

from app.database import open_engine
from app.minio_store import MinioStore
from app.object_store import ListedPage, ObjectInfo, ObjectStore, ReadObject
from app.plan.bucket import HEADS_AT_ONCE
from app.plan.making import Planner, make_plan
from app.run_settings import table_names
from app.settings import Settings
from app.testing import InMemoryStore
from tests.benchmarks.ground import ACCESS, CLIENTS, SECRET, TABLE, WRITERS, Ground, old_key, servers

FLOOR = 10_000  # rows a second
MOST_MIB = 300
BUCKET = "plan-rate"
STATEMENT_SECONDS = 600


class MadeUpListing(InMemoryStore):
    """A bucket that holds exactly the old keys of so many rows, without holding them in memory."""

    def __init__(self, rows: int) -> None:
        super().__init__()
        self.rows = rows

    def list_page(self, *, prefix: str, start_after: str, delimiter: str = "/", limit: int = 1000) -> ListedPage:  # noqa: ARG002 - the port's
        """The page, made up now."""
        first = int(start_after[6:14]) + 1 if start_after else 0
        last = min(first + limit, self.rows)
        objects = [ObjectInfo(key=old_key(number), etag="0" * 32, size=4096, last_modified=1) for number in range(first, last)]
        return ListedPage(objects=objects, truncated=last < self.rows, last=objects[-1].key if objects else None)

    def read(self, key: str, *, max_bytes: int, admit: Callable[[int], None] = lambda _bytes: None) -> ReadObject:
        """Any of its objects."""
        self.app_put(key, b"")
        return super().read(key, max_bytes=max_bytes, admit=admit)


def main(args: Sequence[str]) -> int:
    """Measure each database; exit 1 below the floor or above the memory."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.plan_rate", description=__doc__)
    parser.add_argument("--rows", type=int, default=200_000, help="rows of the table (200000)")
    parser.add_argument("--database", choices=["sqlite", "postgresql"], action="append", help="only this one")
    parser.add_argument("--minio", action="store_true", help="a real listing")
    options = parser.parse_args(args)
    found = []
    with tempfile.TemporaryDirectory(prefix="rekey-bench-") as text:
        folder = Path(text)
        folder.chmod(0o755)
        needs_servers = options.minio or options.database != ["sqlite"]
        with servers(folder) if needs_servers else _nothing() as ground:
            if options.minio:
                _fill_bucket(ground, options.rows)
            for kind in options.database or ["sqlite", "postgresql"]:
                url = _fill_sqlite(folder, options.rows) if kind == "sqlite" else _fill_postgresql(ground, options.rows)
                store = _minio(ground) if options.minio else MadeUpListing(options.rows)
                found.append({"database": kind, "store": "minio" if options.minio else "made up", **measure(url, store, options.rows)})
                print(json.dumps(found[-1]), flush=True)  # noqa: T201 - the program's output
    return 0 if all(one["rows_per_second"] >= FLOOR and one["peak_mib"] <= MOST_MIB for one in found) else 1


def measure(url: str, store: ObjectStore, rows: int) -> dict[str, Any]:
    """One plan."""
    settings = Settings(s3_bucket=BUCKET, table=TABLE, key_column="asset_name")
    engine = open_engine(url, pool_size=3, statement_seconds=STATEMENT_SECONDS)
    planner = Planner(
        engine=engine,
        names=table_names(settings),
        store=store,
        settings=settings,
        capabilities=InMemoryStore.like_minio().capabilities,
    )
    begun, cpu = time.monotonic(), time.process_time()
    made = make_plan(planner, lambda _step, _done, _total: None)
    seconds, cpu = time.monotonic() - begun, time.process_time() - cpu
    engine.dispose()
    if made.content["to_move"] != rows:
        sys.exit(f"benchmark: the plan is wrong: {made.content}")
    return {
        "rows": rows,
        "seconds": round(seconds, 1),
        "rows_per_second": round(rows / seconds),
        "cpu_us_a_row": round(cpu / rows * 1e6, 1),
        "peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
        "requests": made.content["looked"],
    }


def _rows(count: int) -> Iterator[tuple[int, str, str]]:
    return ((number + 1, str(number % CLIENTS), old_key(number)) for number in range(count))


def _fill_sqlite(folder: Path, count: int) -> str:
    with closing(sqlite3.connect(folder / "plan.db")) as connection, connection:
        connection.execute(f"CREATE TABLE {TABLE} (id INTEGER PRIMARY KEY, client_id TEXT NOT NULL, asset_name TEXT NOT NULL)")
        connection.executemany(f"INSERT INTO {TABLE} VALUES (?, ?, ?)", _rows(count))
        connection.execute(f"CREATE INDEX {TABLE}_name ON {TABLE} (asset_name)")
    return f"sqlite:///{folder}/plan.db"


def _fill_postgresql(ground: Ground | None, count: int) -> str:
    dsn = _there(ground).dsn
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute(f"CREATE TABLE {TABLE} (id bigint PRIMARY KEY, client_id text NOT NULL, asset_name text NOT NULL)")
        with connection.cursor() as cursor, cursor.copy(f"COPY {TABLE} FROM STDIN") as copy:
            for row in _rows(count):
                copy.write_row(row)
        connection.execute(f"CREATE INDEX {TABLE}_name ON {TABLE} (asset_name)")
        connection.execute(f"VACUUM ANALYZE {TABLE}")
    return dsn


def _fill_bucket(ground: Ground | None, count: int) -> None:
    client = _there(ground).client()
    client.make_bucket(BUCKET)
    with ThreadPoolExecutor(WRITERS) as writers:
        list(writers.map(lambda number: client.put_object(BUCKET, old_key(number), io.BytesIO(b"x" * 16), 16), range(count)))


def _minio(ground: Ground | None) -> MinioStore:
    endpoint = f"http://{_there(ground).minio}"
    return MinioStore(endpoint=endpoint, access_key=ACCESS, secret_key=SECRET, bucket=BUCKET, pool_size=HEADS_AT_ONCE)


def _there(ground: Ground | None) -> Ground:
    if ground is None:
        sys.exit("benchmark: no servers")
    return ground


@contextmanager
def _nothing() -> Iterator[None]:
    yield None


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
