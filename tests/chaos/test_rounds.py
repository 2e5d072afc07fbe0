"""A migration outlives everything that befalls its processes and servers, while the service goes on reading and writing (S1 to S9).

The plan of faults follows from a seed: ``CHAOS_SEED=7`` plays another one, and ``make chaos`` round after round with fresh ones.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from tests.chaos.plan import EVERYTHING, STAGES, everything
from tests.chaos.rounds import ASSETS, play
from tests.chaos.verdict import tracebacks
from tests.servers import MissingServerError

if TYPE_CHECKING:
    from pathlib import Path

SEED = int(os.environ.get("CHAOS_SEED", "1"))
PATIENCE_SECONDS = 900
LOG = """2026-11-28T12:00:00.000Z WARNING all is well
2026-11-28T12:00:01.000Z ERROR Error in timer: KeyError(1)
Traceback (most recent call last):
  File "one.py", line 1, in one
KeyError: 1

During handling of the above exception, another exception occurred:

Traceback (most recent call last):
  File "two.py", line 2, in two
OSError: 2
2026-11-28T12:00:02.000Z INFO on it goes
"""


def test_plan_of_faults_follows_from_its_seed() -> None:
    """So that a printed seed replays what happened."""
    assert everything(7) == everything(7)
    assert everything(7) != everything(8)


def test_traceback_is_told_with_its_place_and_end() -> None:
    """Each once, with those that were handled on the way, so that a finding explains itself."""
    (found,) = tracebacks({"workers-1.log": LOG})

    assert found.startswith("workers-1.log: 2026-11-28T12:00:01.000Z ERROR Error in timer: KeyError(1)\n")
    assert found.endswith("OSError: 2")


@pytest.mark.timeout(PATIENCE_SECONDS)
def test_migration_outlives_every_fault(tmp_path: Path) -> None:
    """Kills each five seconds, stops past the lease, FLUSHALL, purge, a silent broker, restarts of all servers, a frozen store.

    Each hits work in flight, by the ledger. The run finishes; table and bucket, counted again, are as it says; no read fails, no write is
    lost, nothing is left that it does not list.
    """
    try:
        verdict = play(everything(SEED), assets=int(os.environ.get("CHAOS_ASSETS", ASSETS)), folder=tmp_path)
    except MissingServerError as missing:
        if os.environ.get("CI") == "true":
            raise
        pytest.skip(str(missing))
    print(verdict.story())  # noqa: T201 - for who asks with -s, and for a failure

    assert verdict.findings == {}
    assert set(EVERYTHING) <= verdict.hits.keys(), "each kind of fault hit work in flight"
    assert any(verdict.hits[f"kill {stage}"] for stage in STAGES)
    assert verdict.figures["lost leases"] > 0, "what killed and stopped workers held was taken over"
    assert verdict.figures["started again"] > 0
    assert verdict.figures["reads"] > 100
    assert min(verdict.figures[kind] for kind in ("replaced", "added", "removed")) > 0
    assert verdict.figures["traffic alive"]
