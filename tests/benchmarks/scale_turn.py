"""The two parts of a turn of ``tests.benchmarks.scale``: a seed that runs alone, and a run with all workers; and what they cost."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import psycopg
import redis
import urllib3

from tests.benchmarks import cpu
from tests.benchmarks import scale_counts as counts
from tests.benchmarks.contenders import ROOT, by_stage, environment, workers
from tests.benchmarks.ground import TABLE, Ground, make_rows

OWN = ("client", "database", "broker")
BUCKET = "scale"
PREFIX = "rekey:"
POLL_SECONDS = 1.0
SHARES = 10  # of a run, whose costs are told one by one
PATIENCE_SECONDS = 6 * 3600.0
# A seed that runs alone is to be held back by nothing.
UNBOUNDED = {"REKEY_MAX_IN_FLIGHT": "10000000"}
# From the commit of the first page: what is before it is the start of a process. Each page's rows have one time.
_PAGES = (
    "SELECT max(updated_at) - min(updated_at), count(*) FILTER (WHERE updated_at > (SELECT min(updated_at) FROM rekey_moves)), count(*)"
)
_PAGES += " FROM rekey_moves"


@dataclass(frozen=True, slots=True, kw_only=True)
class Seeded:
    """A seed that ran alone, and what it left on the broker and in the ledger."""

    rate: float  # rows a second
    cpu_us: float  # of the worker, a row
    database_us: float
    peak_mib: float
    queued_bytes: float  # Redis memory a row that waits for its copy
    messages: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """One run."""

    rows: int
    seconds: float
    cpu: Mapping[str, float]  # seconds: client, server, database, broker
    client_parts: Mapping[str, float]
    peaks: Mapping[str, float]  # MiB of each worker
    seeded: Seeded
    ledger_bytes: Mapping[str, int]  # by table and index
    wal_bytes: int
    transactions: int
    commands: Mapping[str, int]  # of Redis
    redis_peak: int
    redis_bytes_in: int
    shares: list[dict[str, float]]  # ms an asset in each tenth of the run
    statements: list[dict[str, Any]]

    @property
    def own_ms(self) -> float:
        """CPU an asset of all but the store."""
        return 1000 * sum(self.cpu[part] for part in OWN) / self.rows

    def figures(self) -> dict[str, Any]:
        """For the reader."""
        each = {part: round(1000 * seconds / self.rows, 3) for part, seconds in {**self.cpu, **self.client_parts}.items()}
        return {
            "rows": self.rows,
            "seconds": round(self.seconds, 1),
            "assets_per_second": round(self.rows / self.seconds),
            "own_ms_an_asset": round(self.own_ms, 3),
            "ms_an_asset": each,
            "peak_mib": {name: round(peak) for name, peak in self.peaks.items()},
            "seed_alone": {name: round(getattr(self.seeded, name), 1) for name in Seeded.__slots__},
            "ledger_bytes_an_asset": {name: round(size / self.rows, 1) for name, size in self.ledger_bytes.items()},
            "wal_bytes_an_asset": round(self.wal_bytes / self.rows),
            "transactions_an_asset": round(self.transactions / self.rows, 4),
            "redis_commands_an_asset": {
                name: round(count / self.rows, 4) for name, count in self.commands.items() if count >= self.rows / 2000
            },
            "redis_bytes_in_an_asset": round(self.redis_bytes_in / self.rows, 1),
            "redis_peak_mib": round(self.redis_peak / 2**20, 1),
            "shares_ms": self.shares,
            "statements": self.statements,
        }


def seed_alone(ground: Ground, rows: int, *, folder: Path, more: Mapping[str, str]) -> Seeded:
    """All rows planned by a seed worker with nothing beside it; the ledger is dropped afterwards, and the broker emptied."""
    environ = environment(ground, BUCKET, more | UNBOUNDED)
    _prepare(ground, rows, environ)
    broker = _broker(ground)
    with (folder / "seed.log").open("wb") as log, _seed_worker(environ, log) as pid:
        _enqueue(environ)
        at_first = int(broker.info("memory")["used_memory"])
        spent, database = cpu.cpu_seconds(pid), ground.cpu()["database"]
        with psycopg.connect(ground.dsn, autocommit=True) as connection:
            _until(connection, "SELECT seed_done FROM rekey_runs", every=0.05)
            took = connection.execute(_PAGES).fetchone()
        spent, database = cpu.cpu_seconds(pid) - spent, ground.cpu()["database"] - database
        peak = cpu.peak_mib(pid)
    if took is None or took[2] < rows:
        sys.exit(f"benchmark: the seed planned {took and took[2]} of {rows} rows")
    messages, size = int(broker.llen(f"{PREFIX}copy")), int(broker.info("memory")["used_memory"]) - at_first
    return Seeded(
        rate=took[1] / (took[0] / 1e6) if took[0] else 0.0,
        cpu_us=1e6 * spent / rows,
        database_us=1e6 * database / rows,
        peak_mib=peak,
        queued_bytes=size / rows,
        messages=messages,
    )


def run_all(ground: Ground, rows: int, *, folder: Path, more: Mapping[str, str], seeded: Seeded, statements: int) -> Turn:
    """All workers, from ``rekey enqueue`` to the end of the run, with the settings of a user."""
    environ = environment(ground, BUCKET, more)
    _prepare(ground, rows, environ)
    broker = _broker(ground)
    with (
        (folder / "run.log").open("wb") as log,
        workers(environ, log) as supervisor,
        psycopg.connect(ground.dsn, autocommit=True) as connection,
    ):
        stages = by_stage(supervisor)
        broker.config_resetstat()
        if statements:
            connection.execute("CREATE EXTENSION IF NOT EXISTS pg_stat_statements")
            connection.execute("SELECT pg_stat_statements_reset()")
        wal, commits = counts.wal(connection), counts.commits(connection)
        before = _spent(ground, supervisor)
        parts = {name: cpu.cpu_seconds(pid) for name, pid in stages.items()}
        _enqueue(environ)
        shares = _watch(ground, supervisor, rows, connection, before)
        spent = {name: seconds - before[name] for name, seconds in _spent(ground, supervisor).items()}
        parts = {name: cpu.cpu_seconds(pid) - parts[name] for name, pid in stages.items()}
        peaks = {name: cpu.peak_mib(pid) for name, pid in stages.items()}
        took = connection.execute("SELECT finished_at - created_at FROM rekey_runs").fetchone()
        turn = Turn(
            rows=rows,
            seconds=(took[0] if took else 0) / 1e6,
            cpu=spent,
            client_parts=parts,
            peaks=peaks,
            seeded=seeded,
            ledger_bytes=counts.ledger_bytes(connection),
            wal_bytes=counts.wal(connection) - wal,
            transactions=counts.commits(connection) - commits,
            commands=counts.commands(broker),
            redis_peak=int(broker.info("memory")["used_memory_peak"]),
            redis_bytes_in=int(broker.info("stats")["total_net_input_bytes"]),
            shares=shares,
            statements=counts.statements(connection, statements, rows),
        )
    _recount(ground, rows)
    return turn


def _prepare(ground: Ground, rows: int, environ: Mapping[str, str]) -> None:
    _broker(ground).flushall()
    make_rows(ground.dsn, rows)
    subprocess.run([sys.executable, "-m", "app", "init"], env=dict(environ), cwd=ROOT, check=True, stdout=subprocess.DEVNULL)


def _enqueue(environ: Mapping[str, str]) -> None:
    subprocess.run([sys.executable, "-m", "app", "enqueue"], env=dict(environ), cwd=ROOT, check=True, stdout=subprocess.DEVNULL)


@contextmanager
def _seed_worker(environ: Mapping[str, str], log: IO[bytes]) -> Iterator[int]:
    process = subprocess.Popen([sys.executable, "-m", "workers", "seed"], env=dict(environ), cwd=ROOT, stdout=log, stderr=log)
    try:
        yield process.pid
    finally:
        process.terminate()
        process.wait(timeout=60)


def _watch(
    ground: Ground, supervisor: int, rows: int, connection: psycopg.Connection[Any], before: Mapping[str, float]
) -> list[dict[str, float]]:
    """Wait for the end of the run; what an asset cost in each tenth of it, so that growth shows within a run too."""
    shares: list[dict[str, float]] = []
    done, last = 0, dict(before)
    until = time.monotonic() + PATIENCE_SECONDS
    while connection.execute("SELECT state FROM rekey_runs").fetchone() != ("finished",):
        if time.monotonic() > until:
            sys.exit("benchmark: the run does not end")
        time.sleep(POLL_SECONDS)
        gone = rows - _stood(ground)["old"]
        if gone - done >= rows / SHARES:
            now = _spent(ground, supervisor)
            shares.append({name: round(1000 * (now[name] - last[name]) / (gone - done), 3) for name in now})
            done, last = gone, now
            print(f"{gone} of {rows}: {shares[-1]}", file=sys.stderr, flush=True)  # noqa: T201 - progress
    return shares


def _until(connection: psycopg.Connection[Any], question: str, *, every: float) -> None:
    until = time.monotonic() + PATIENCE_SECONDS
    while connection.execute(question).fetchone() != (True,):
        if time.monotonic() > until:
            sys.exit("benchmark: the seed does not end")
        time.sleep(every)


def _spent(ground: Ground, supervisor: int) -> dict[str, float]:
    return ground.cpu() | {"client": cpu.cpu_seconds(supervisor)}


def _broker(ground: Ground) -> redis.Redis:
    host, port = ground.redis.split(":")
    return redis.Redis(host, int(port))


def _stood(ground: Ground) -> dict[str, int]:
    found: dict[str, int] = urllib3.request("GET", f"http://{ground.minio}/recount", timeout=60.0).json()
    return found


def _recount(ground: Ground, rows: int) -> None:
    """Exit unless every row names its new key and exactly the objects of the new keys are there."""
    stood = _stood(ground)
    with psycopg.connect(ground.dsn) as connection:
        key = "'clients/' || client_id || '/assets/asset-' || lpad((id - 1)::text, 8, '0') || '.png'"
        question = f"SELECT count(*) FROM {TABLE} WHERE asset_name = {key}"
        named = connection.execute(question).fetchone()
    if stood != {"old": 0, "new": rows} or named != (rows,):
        sys.exit(f"benchmark: of {rows} assets {stood} are at their keys, and {named} rows name their new one")
