"""How long the questions of ``rekey status`` take on a PostgreSQL with many moves: ``python -m tests.benchmarks.status_speed``."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from typing import TYPE_CHECKING

from app.database import open_engine
from app.ledger.queues import QueueLedger
from tests.benchmarks.ledger import BUCKET, MIXES, TABLE, filled_ledger

if TYPE_CHECKING:
    from collections.abc import Callable

QUESTIONS = ("counts", "next_delete_at", "last_errors", "in_flight", "due_states", "is_going", "is_waiting")
TIMES = 15


def main() -> None:
    """Print the best time of each question, and of the whole command."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--mix", choices=MIXES, default="over", help="how the moves stand: most deleted, switched, half of each, held")
    given = parser.parse_args()
    with filled_ledger(given.rows, mix=given.mix) as (url, run):
        engine = open_engine(url)
        queues = QueueLedger(engine, hint_seconds=60)
        for question in QUESTIONS:
            ask: Callable[[object], object] = getattr(queues, question)
            print(f"{question:16} {_best(lambda ask=ask: ask(run)):8.1f} ms", flush=True)  # type: ignore[misc]  # noqa: T201 - its output
        engine.dispose()
        environ = os.environ | {"REKEY_DATABASE_URL": url, "REKEY_S3_BUCKET": BUCKET, "REKEY_TABLE": TABLE}
        command = [sys.executable, "-m", "app", "status", "--json"]
        best = _best(lambda: subprocess.run(command, env=environ, stdout=subprocess.DEVNULL, check=True))
        print(f"{'rekey status':16} {best:8.1f} ms")  # noqa: T201 - its output


def _best(call: Callable[[], object]) -> float:
    """The shortest of some times, in milliseconds."""
    taken = []
    for _ in range(TIMES):
        before = time.monotonic()
        call()
        taken.append((time.monotonic() - before) * 1000)
    return min(taken)


if __name__ == "__main__":
    main()
