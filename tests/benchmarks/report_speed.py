"""How fast ``rekey report`` is, as its user starts it, on a PostgreSQL with many moves: ``python -m tests.benchmarks.report_speed``."""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import time

from tests.benchmarks.ledger import BUCKET, TABLE, filled_ledger

CASES = (
    ("--format", "csv"),
    ("--format", "jsonl"),
    ("--format", "csv", "--gzip"),
    ("--format", "csv", "--outcome", "parked,kept"),
    ("--redirects", "csv", "--prefix", "/media/"),
    ("--redirects", "nginx", "--prefix", "/media/"),
    ("--html",),
)


def main() -> None:
    """Print lines a second, the command's processor time and the most memory for each kind of report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    rows = parser.parse_args().rows
    with filled_ledger(rows) as (url, _run):
        environ = os.environ | {"REKEY_DATABASE_URL": url, "REKEY_S3_BUCKET": BUCKET, "REKEY_TABLE": TABLE}
        for case in CASES:
            before, used = time.monotonic(), _cpu()
            done = subprocess.run(
                [sys.executable, "-m", "app", "report", *case], env=environ, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, check=False
            )
            seconds, used = time.monotonic() - before, _cpu() - used
            peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024  # of the greatest so far, the servers' starters included
            verdict = (
                f"{rows / seconds:9,.0f} assets/s  {seconds:6.1f} s  {used / rows * 1e6:5.1f} us of CPU an asset"
                if done.returncode == 0
                else done.stderr.decode().strip()
            )
            print(f"{' '.join(case):40} {verdict}  (at most {peak:.0f} MiB)", flush=True)  # noqa: T201 - its output


def _cpu() -> float:
    """Seconds of processor that the commands have used so far, the database's share left out."""
    spent = resource.getrusage(resource.RUSAGE_CHILDREN)
    return spent.ru_utime + spent.ru_stime


if __name__ == "__main__":
    main()
