"""Whether an asset costs the same in a table of any size: PostgreSQL, Redis and the real workers on a store that answers from memory.

``python -m tests.benchmarks.scale --rows 1000000`` measures 10,000 rows, then so many; docs/benchmarks.md says what is measured and how.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from tests.benchmarks.compare import FEWER_TASKS
from tests.benchmarks.contenders import ROOT
from tests.benchmarks.ground import Ground, free_port, start, start_postgres, start_redis
from tests.benchmarks.scale_turn import OWN, Turn, run_all, seed_alone

FEW = 10_000
MOST_RATIO = 1.1
MOST_MIB = 150.0
LEAST_SEEDED = 10_000  # rows a second
SIZE = 4096
COUNTED = ("-c", "shared_preload_libraries=pg_stat_statements", "-c", "pg_stat_statements.track_planning=off")


def main(args: Sequence[str]) -> int:
    """Measure both sizes; exit 1 where the larger one costs more an asset, a worker grew, or the seed is too slow."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.scale", description=__doc__)
    parser.add_argument("--rows", type=int, default=100_000, help="rows of the large table (100000)")
    parser.add_argument("--few", type=int, default=FEW, help=f"rows of the small one ({FEW}); 0: it is left out")
    parser.add_argument("--set", action="append", default=[], metavar="REKEY_X=Y", help="a setting of the product")
    parser.add_argument("--statements", type=int, default=0, metavar="N", help="show the N statements that PostgreSQL spends most on")
    parser.add_argument(
        "--postgres", action="append", default=[], metavar="NAME=VALUE", help="a setting of PostgreSQL, such as max_wal_size=8GB"
    )
    parser.add_argument("--seed-only", action="store_true", help="measure the seed alone")
    options = parser.parse_args(args)
    given = [word for pair in options.postgres for word in ("-c", pair)] + list(COUNTED if options.statements else ())
    more = FEWER_TASKS | dict(pair.split("=", 1) for pair in options.set)
    turns = []
    for rows in filter(None, (options.few, options.rows)):
        with tempfile.TemporaryDirectory(prefix="rekey-scale-") as text:
            folder = Path(text)
            folder.chmod(0o755)
            with ground_of(folder, rows, *given) as ground:
                environ = more | {"TMPDIR": str(folder)}
                seeded = seed_alone(ground, rows, folder=folder, more=environ)
                print(seeded, file=sys.stderr, flush=True)  # noqa: T201 - progress
                if options.seed_only:
                    continue
                turns.append(run_all(ground, rows, folder=folder, more=environ, seeded=seeded, statements=options.statements))
                print(json.dumps(turns[-1].figures(), indent=2), flush=True)  # noqa: T201 - the program's output
    return _judge(turns) if turns else 0


@contextmanager
def ground_of(folder: Path, rows: int, *options: str) -> Iterator[Ground]:
    """PostgreSQL with *options*, Redis, and the store that answers from memory."""
    ports = {name: free_port() for name in ("store", "redis", "postgres")}
    with ExitStack() as stack:
        stub = [
            sys.executable,
            "-m",
            "tests.benchmarks.stub_store",
            "--port",
            str(ports["store"]),
            "--assets",
            str(rows),
            "--size",
            str(SIZE),
        ]
        pids = {
            "server": start(stack, stub, ports["store"], environ={"PYTHONPATH": str(ROOT)}),
            "database": start_postgres(stack, folder / "postgres", ports["postgres"], *options),
            "broker": start_redis(stack, folder, ports["redis"]),
        }
        at = {name: f"127.0.0.1:{port}" for name, port in ports.items()}
        yield Ground(minio=at["store"], redis=at["redis"], postgres=at["postgres"], pids=pids, endpoint=at["store"])


def _judge(turns: Sequence[Turn]) -> int:
    last = turns[-1]
    ratio = last.own_ms / turns[0].own_ms
    peak = max(last.peaks.values())
    machine = f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}"
    print(f"{last.rows} rows to {turns[0].rows}: {ratio:.2f} x the cost an asset ({', '.join(OWN)}); {machine}")  # noqa: T201 - as above
    print(f"largest worker {peak:.0f} MiB; seeded {last.seeded.rate:.0f} rows/s")  # noqa: T201 - as above
    return 0 if ratio <= MOST_RATIO and peak < MOST_MIB and last.seeded.rate >= LEAST_SEEDED else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
