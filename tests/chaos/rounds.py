"""One round of chaos: a migration under live traffic, faults by a plan that follows from a seed, and the verdict.

Play rounds with fresh seeds for some minutes, or the round of one seed: ``python -m tests.chaos.rounds --minutes 10``, ``--seed 7``.
"""

from __future__ import annotations

import argparse
import random
import re
import signal
import sys
import tempfile
import time
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests import servers as real
from tests.acceptance.deployment import Deployment
from tests.chaos.book import Book, Outages
from tests.chaos.cluster import ROLES, Cluster
from tests.chaos.door import faulty
from tests.chaos.evidence import Evidence
from tests.chaos.plan import MACHINES, NETWORK, Plan, any_of
from tests.chaos.saboteur import Saboteur, Servers
from tests.chaos.traffic import Reader, Writer
from tests.chaos.verdict import Recount, Verdict, lost_leases, tracebacks
from tests.chaos.world import open_bucket

if TYPE_CHECKING:
    from tests.acceptance.service import Service

GRACE_SECONDS = 6
LEASE_SECONDS = 6
READERS = 3
BEAT_SECONDS = 5.0
ASSETS = 3000
UP_SECONDS = 180.0
REPLACED_SECONDS = 60.0  # the longest pause of a supervisor, and a start on a busy machine
# Why these: a lease short enough that what a killed worker held goes on within the round (6 s), a request time-out below it (4), a
# visibility time-out above it (8), so that Redis' redelivery happens too; lost messages are hinted again after 5 s, the reconciler ticks
# each second; small batches and few slots, so that work is in flight for as long as the faults come, and some always waits in a queue.
SETTINGS = {
    "REKEY_GRACE_SECONDS": str(GRACE_SECONDS),
    "REKEY_LEASE_SECONDS": str(LEASE_SECONDS),
    "REKEY_REQUEST_TIMEOUT_SECONDS": "4",
    "REKEY_VISIBILITY_TIMEOUT_SECONDS": "8",
    "REKEY_HINT_SECONDS": "5",
    "REKEY_RECONCILE_SECONDS": "1",
    "REKEY_LOOK_SECONDS": "2",
    "REKEY_SETTLE_SECONDS": "3",
    "REKEY_COPY_CONCURRENCY": "4",
    "REKEY_RENAME_CONCURRENCY": "2",
    "REKEY_DELETE_CONCURRENCY": "4",
    "REKEY_BATCH_SIZE": "25",
    "REKEY_GUARD_PERCENT": "0",  # so much fails here that it would pause each round
}
STOPPED_SECONDS = LEASE_SECONDS + 3.0  # others have taken over by then what a stopped worker had in hand


class Round:
    """One migration and what befalls it."""

    def __init__(self, deployment: Deployment, servers: Servers, *, plan: Plan, assets: int, beat_seconds: float = BEAT_SECONDS) -> None:
        self.plan = plan
        self.deployment = deployment
        self.cluster = Cluster(deployment)
        self.outages = Outages()
        self.evidence = Evidence(deployment, total=assets)
        self.door = servers.door
        self.assets = assets
        self.saboteur = Saboteur(
            plan,
            deployment=deployment,
            cluster=self.cluster,
            servers=servers,
            evidence=self.evidence,
            outages=self.outages,
            beat_seconds=beat_seconds,
            stopped_seconds=STOPPED_SECONDS,
        )
        self.verdict = Verdict(seed=plan.seed)

    def play(self) -> Verdict:
        """All of it."""
        service = self._service()
        world = self.plan.world
        assets = world.fill(service, self.assets)
        book = Book(assets, fragile=[one for one in assets if world.is_fragile(one)] if self.plan.store == "minio" else [])
        readers, writer = self._traffic(service, book)
        loops = (*readers, writer)
        verdict = self.verdict
        self.cluster.start()
        watch = None
        try:
            self._wait_until_up()
            for loop in loops:
                loop.start()
            began = time.monotonic()
            ladder = ["--ladder"] if self.saboteur.plan.ladder else []
            watch = self.deployment.start("app", "enqueue", "--watch", "--json", *ladder, name="watch")
            self.saboteur.disturb(lambda: watch.status is not None)
            ended = watch.finish(seconds=30)
            assert ended.status in {0, 3}, ended.err
            verdict.report, seconds = ended.report, time.monotonic() - began
            self._wait_until_replaced()
            alive = all(loop.is_alive for loop in loops)
        except BaseException as error:
            error.add_note("\n".join([f"seed {verdict.seed}", *map(str, self.saboteur.strikes)]))
            raise
        finally:
            for loop in loops:
                loop.stop()
            if watch is not None:
                watch.kill()
            self.cluster.stop()
        self._judge(Recount(service, book, self.evidence), readers, writer, status=ended.status)
        verdict.figures |= {"seconds": round(seconds, 1), "traffic alive": alive} | _figures(readers, writer, seconds)
        service.close()
        self.evidence.close()
        return verdict

    def _service(self) -> Service:
        """The table, and the bucket or the two buckets, that the deployment is about."""
        service, named = self.deployment.service()
        names = [service.bucket.name]
        if self.plan.world.two_buckets:
            names.append(f"new-{names[0]}")
            open_bucket(self.deployment.store, names[1:]).make()
            service.bucket = open_bucket(self.deployment.store, names)
            named = {**named, "REKEY_TARGET_BUCKET": names[1]}
        self.buckets = tuple(names)
        self.deployment.environ.update(named)
        return service

    def _traffic(self, service: Service, book: Book) -> tuple[list[Reader], Writer]:
        parts: dict[str, Any] = {
            "database_url": self.deployment.database_url,
            "table": service.table.name,
            "store": self.deployment.store,
            "buckets": self.buckets,
            "grace_seconds": GRACE_SECONDS,
            "outages": self.outages,
        }
        return [Reader(book, seed=number, **parts) for number in range(READERS)], Writer(book, seed=99, **parts)

    def _wait_until_up(self) -> None:
        end = time.monotonic() + UP_SECONDS
        while len(re.findall(r"consumes \w+,", self.cluster.logs())) < MACHINES * (len(ROLES) - 1):
            assert time.monotonic() < end, f"the workers are not up within {UP_SECONDS} s:\n{self.cluster.logs()[-3000:]}"
            time.sleep(0.2)

    def _wait_until_replaced(self) -> None:
        """Each killed process has a successor, unless its supervisor was killed after it."""
        end = time.monotonic() + REPLACED_SECONDS
        while waiting := self.cluster.note_replaced():
            self.cluster.revive()
            if time.monotonic() > end:
                self.verdict.not_replaced = [str(kill) for kill in waiting]
                break
            time.sleep(0.2)

    def _judge(self, recount: Recount, readers: list[Reader], writer: Writer, *, status: int) -> None:
        verdict = self.verdict
        verdict.strikes, verdict.missed = self.saboteur.strikes, [fault.kind for fault in self.saboteur.left]
        verdict.failed_reads = [found for reader in readers for found in reader.failed]
        verdict.failed_writes = writer.failed
        verdict.lost_writes = recount.lost_writes()
        verdict.differences = recount.differences() + recount.other_parked() + recount.lost_attributes() + recount.unfinished()
        verdict.differences += recount.disagreements(verdict.report, status, self.deployment.status())
        verdict.differences += [f"a {method} that came late was {found}" for method, found in self.door.late if found != "refused"]
        verdict.tracebacks = tracebacks(self.cluster.each_log())
        replaced = [kill.replaced_after for kill in self.cluster.kills if kill.replaced_after is not None]
        verdict.figures |= {
            "store": self.plan.store,
            "world": [name for name, has in asdict(self.plan.world).items() if has],
            "assets": self.assets,
            "stranded": recount.stranded(),
            "lost leases": lost_leases(self.cluster.logs()),
            "network": dict(sorted(self.door.done.items())),
            "late": {f"{method} {found}": count for (method, found), count in sorted(self.door.late.items())},
            "kills": len(self.cluster.kills),
            "started again": len(replaced),
            "after at most": round(max(replaced, default=0.0), 1),
        }


def _figures(readers: list[Reader], writer: Writer, seconds: float) -> dict[str, Any]:
    reads = sum(reader.count for reader in readers)
    return {
        "reads": reads,
        "reads a second": round(reads / seconds, 1),
        "late reads": sum(reader.late for reader in readers),
        "latest": round(max(reader.latest_seconds for reader in readers), 1),
        "interrupted": sum(loop.interrupted for loop in (*readers, writer)),
        "too slow": sum(loop.too_slow for loop in (*readers, writer)),
        "writes": writer.count,
        **writer.done,
    }


def play(plan: Plan, *, assets: int, folder: Path, **settings: str) -> Verdict:
    """A round on servers of its own."""
    with ExitStack() as exits:
        postgres, broker = exits.enter_context(real.postgres_server()), exits.enter_context(real.redis_server())
        store = exits.enter_context(real.seaweed_server() if plan.store == "seaweed" else real.minio_server())
        door = exits.enter_context(faulty(store.endpoint))
        deployment = Deployment(
            database_url=postgres.make_database(),
            broker_url=broker.url,
            store=store,
            folder=folder,
            settings=SETTINGS | plan.world.settings | {"REKEY_S3_ENDPOINT": door.endpoint} | settings,
        )
        assert deployment.rekey("init").status == 0
        return Round(deployment, Servers(postgres, broker, store, door), plan=plan, assets=assets).play()


def main() -> int:
    """Rounds until the minutes are over; prints each seed before its round, and stops at the first finding."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=2.0, help="no new round begins later than this (2)")
    parser.add_argument("--seed", type=int, help="the one round of this seed")
    parser.add_argument("--assets", type=int, default=ASSETS)
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # servers and workers end with it
    end = time.monotonic() + options.minutes * 60
    seeds: list[int] = []
    while True:
        seed = options.seed if options.seed is not None else random.SystemRandom().randrange(10**6)
        seeds.append(seed)
        print(f"round {len(seeds)}, seed {seed}", flush=True)  # noqa: T201 - the log of seeds
        folder = Path(tempfile.mkdtemp(prefix="rekey-chaos-"))
        plan = any_of(seed)
        slow = any(fault.kind == NETWORK for fault in plan.faults)
        verdict = play(plan, assets=options.assets // (3 if slow else 1), folder=folder)
        print(verdict.story(), flush=True)  # noqa: T201
        if verdict.findings.keys() - {"missed"}:  # a strike that came when nothing was in flight any more is told, and shows nothing
            print(f"replay it with: python -m tests.chaos.rounds --seed {seed}; logs: {folder}")  # noqa: T201
            return 1
        if options.seed is not None or time.monotonic() > end:
            print(f"{len(seeds)} rounds without a finding, seeds {' '.join(map(str, seeds))}")  # noqa: T201
            return 0


if __name__ == "__main__":
    sys.exit(main())
