"""One round of chaos: a migration under live traffic, faults by a plan that follows from a seed, and the verdict.

Faults come by what the ledger says of the run's progress, never by the clock alone; each notes how much work was in flight when it struck.
``python -m tests.chaos.rounds --minutes 10`` plays rounds with random seeds.
"""

from __future__ import annotations

import json
import random
import re
import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import psutil
import redis
from sqlalchemy import create_engine, text
from sqlalchemy.exc import OperationalError

from tests.chaos.cluster import Cluster
from tests.chaos.traffic import Living, Outages, Reader, Writer

if TYPE_CHECKING:
    from tests.acceptance.deployment import Deployment
    from tests.acceptance.service import Service
    from tests.servers import RedisServer, S3Server, SqlServer

GRACE_SECONDS = 6
READERS = 3
LEASE_SECONDS = 6
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
}
STAGES = ("copy", "rename", "delete")
MOMENT_SECONDS = 1.0
STOPPED_LONGER_SECONDS = 3.0  # than its lease, so that others have taken over what it had in hand
STILL_SECONDS = 120.0  # without any progress while nothing is broken
_LOST = re.compile(r"(\d+) leases were lost")


@dataclass(frozen=True, slots=True)
class Servers:
    """The servers of a round."""

    postgres: SqlServer
    broker: RedisServer
    store: S3Server


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault: *when* so much of all rows is copied (0 to 1), or at the next beat where that is past."""

    kind: str
    when: float


def kills(chance: random.Random) -> list[Fault]:
    """A kill at each beat while the run lasts, one FLUSHALL and one purge about half way."""
    first, second = chance.sample(["flush", "purge"], 2)
    return [Fault(first, chance.uniform(0.3, 0.45)), Fault(second, chance.uniform(0.5, 0.65))]


def outages(chance: random.Random) -> list[Fault]:
    """Each server restarted once and some workers stopped for longer than their lease, in a random order."""
    kinds = ["stop copy", "stop rename", "stop delete", "restart store", "restart database", "restart broker"]
    chance.shuffle(kinds)
    return [Fault(kind, number / len(kinds)) for number, kind in enumerate(kinds)]


@dataclass(slots=True)
class Verdict:
    """What a round showed."""

    seed: int
    status: int | None = None
    report: dict[str, Any] = field(default_factory=dict)
    differences: list[str] = field(default_factory=list)
    lost_writes: list[str] = field(default_factory=list)
    failed_reads: list[str] = field(default_factory=list)
    failed_writes: list[str] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    hits: dict[str, int] = field(default_factory=dict)  # per kind of fault: those that struck work in flight
    lost_leases: int = 0
    figures: dict[str, Any] = field(default_factory=dict)
    errors: list[str] = field(default_factory=list)  # tracebacks in the workers' logs


class Round:
    """One migration and what befalls it."""

    def __init__(self, deployment: Deployment, servers: Servers, *, assets: int, seed: int, beat_seconds: float, kill: bool) -> None:
        self.deployment = deployment
        self.servers = servers
        self.assets = assets
        self.chance = random.Random(seed)
        self.beat_seconds = beat_seconds
        self.kill = kill
        self.outages = Outages()
        self.cluster = Cluster(deployment)
        self.verdict = Verdict(seed=seed)
        self.ledger = create_engine(deployment.database_url, isolation_level="AUTOCOMMIT", pool_size=1, pool_pre_ping=True)
        self.broker = redis.Redis.from_url(servers.broker.url, socket_timeout=5)
        self.began = time.monotonic()
        self._resumptions: list[tuple[float, psutil.Process]] = []

    def play(self, faults: Sequence[Fault]) -> Verdict:
        """All of it."""
        service, named = self.deployment.service()
        assets = service.fill(self.assets)
        living = [Living(asset) for asset in assets]
        self.deployment.environ.update(named)
        parts: dict[str, Any] = {
            "database_url": self.deployment.database_url,
            "table": service.table.name,
            "store": self.servers.store,
            "bucket": service.bucket.name,
            "grace_seconds": GRACE_SECONDS,
            "outages": self.outages,
        }
        readers, writer = [Reader(living, seed=number, **parts) for number in range(READERS)], Writer(living, seed=99, **parts)
        self.cluster.start()
        watch = None
        try:
            self._wait(lambda: len(re.findall(r"consumes \w+,", self.cluster.logs())) >= 8, seconds=180)
            for loop in (*readers, writer):
                loop.start()
            self.began = time.monotonic()
            watch = self.deployment.start("app", "enqueue", "--watch", "--json", name="watch")
            self._disturb(faults, lambda: watch.status is not None)
            ended = watch.finish(seconds=30)
            self.verdict.status, self.verdict.report = ended.status, ended.report if ended.status in {0, 3} else {"output": ended.err}
        finally:
            alive = all(loop.is_alive for loop in (*readers, writer))
            seconds = time.monotonic() - self.began
            for loop in (*readers, writer):
                loop.stop()
            if watch is not None:
                watch.kill()
            self.cluster.stop()
        self._judge(service, living, readers, writer)
        reads = sum(reader.count for reader in readers)
        self.verdict.figures |= {
            "assets": self.assets,
            "seconds": round(seconds, 1),
            "reads": reads,
            "reads a second": round(reads / seconds, 1),
            "traffic alive": alive,
        }
        service.close()
        return self.verdict

    # The faults

    def _disturb(self, faults: Sequence[Fault], is_over: Callable[[], bool]) -> None:
        left = list(faults)
        beat = time.monotonic() + self.beat_seconds
        last: tuple[int, ...] = ()
        moved_at = time.monotonic()
        while not is_over():
            time.sleep(0.1)
            progress = self._progress()
            if progress is None:
                continue
            if progress != last:
                last, moved_at = progress, time.monotonic()
            assert time.monotonic() - moved_at < STILL_SECONDS, f"nothing moves: {progress}, {self.verdict.faults}"
            self.cluster.revive()
            self._resume()
            copied = (self.assets - progress[0]) / self.assets
            if left and copied >= left[0].when and self._strike(left[0].kind):
                left.pop(0)
            elif self.kill and time.monotonic() >= beat and self._kill():
                beat = time.monotonic() + self.beat_seconds
        self.verdict.hits |= {fault.kind: self.verdict.hits.get(fault.kind, 0) for fault in left}

    def _progress(self) -> tuple[int, ...] | None:
        """(rows not copied yet, and the counts of all states), None before the first row is planned."""
        try:
            counted = dict(self._ask("SELECT state, COUNT(*) FROM rekey_moves GROUP BY state ORDER BY state"))
        except OperationalError:
            return None
        if not counted:
            return None
        planned = counted.get("planned", 0) + self.assets - sum(counted.values())
        return (planned, *counted.values())

    def _ask(self, question: str) -> list[Any]:
        with self.ledger.connect() as connection:
            return [tuple(row) for row in connection.execute(text(question))]

    def _leased(self) -> dict[str, int]:
        """Moves in hand, by stage."""
        now = "CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000000 AS BIGINT)"
        where = f"lease_token IS NOT NULL AND NOT lease_kept AND lease_until > {now}"
        return dict(self._ask(f"SELECT stage, COUNT(*) FROM rekey_moves WHERE {where} GROUP BY stage"))

    def _queued(self) -> int:
        prefix = self.deployment.environ["REKEY_QUEUE_PREFIX"]
        with suppress(redis.RedisError):
            return sum(int(self.broker.llen(f"{prefix}{queue}")) for queue in STAGES)
        return 0

    def _kill(self) -> bool:
        """SIGKILL to a random process; a stage's worker at a moment when its stage has moves in hand, if one comes within a few seconds."""
        role = self.chance.choice(["seed", "beat", "supervisor", *STAGES, *STAGES, *STAGES])
        leased = self._in_hand(role) if role in STAGES else sum(self._leased().values())
        if role in STAGES and not leased:
            return False
        if self.cluster.kill(role, self.chance) is None:
            return False
        self._note(f"kill {role}", leased, f"{leased} moves in hand")
        return True

    def _in_hand(self, stage: str) -> int:
        end = time.monotonic() + MOMENT_SECONDS
        while time.monotonic() < end:
            leased = self._leased().get(stage, 0)
            if leased:
                return leased
        return 0

    def _strike(self, kind: str) -> bool:
        what, _, whom = kind.partition(" ")
        return bool({"flush": self._flush, "purge": self._purge, "stop": self._stop, "restart": self._restart}[what](whom))

    def _flush(self, _whom: str) -> bool:
        before = self._queued()
        if before == 0:
            return False
        self.servers.broker.flush()
        self._note("flush", before, f"{before} messages waited")
        return True

    def _purge(self, _whom: str) -> bool:
        if self._queued() == 0:
            return False
        purged = self.deployment.run("celery", "-A", "app", "purge", "-f")
        found = re.search(r"Purged (\d+) message", purged.out)
        assert purged.status == 0, purged.err
        if not found:
            return False  # the workers were faster
        self._note("purge", int(found[1]), f"{found[1]} messages purged")
        return True

    def _stop(self, whom: str) -> bool:
        before = self._in_hand(whom)
        if not before:
            return False
        process = self.cluster.suspend(whom, self.chance)
        self._resumptions.append((time.monotonic() + LEASE_SECONDS + STOPPED_LONGER_SECONDS, process))
        self._note(f"stop {whom}", before, f"{before} moves in hand")
        return True

    def _resume(self) -> None:
        for due in [due for due in self._resumptions if time.monotonic() >= due[0]]:
            self._resumptions.remove(due)
            with suppress(psutil.NoSuchProcess):
                due[1].resume()

    def _restart(self, whom: str) -> bool:
        server = {"store": self.servers.store, "database": self.servers.postgres, "broker": self.servers.broker}[whom]
        before = sum(self._leased().values())
        with self.outages.one() if whom != "broker" else nullcontext():
            server.kill()
            self._note(f"restart {whom}", before, f"{before} moves in hand")
            time.sleep(2)
            server.start()
        return True

    def _note(self, kind: str, hit: int, words: str) -> None:
        self.verdict.hits[kind] = self.verdict.hits.get(kind, 0) + (hit > 0)
        self.verdict.faults.append(f"{time.monotonic() - self.began:.1f} s: {kind}, {words}, {self._progress()}")

    # The verdict

    def _judge(self, service: Service, living: Sequence[Living], readers: Sequence[Reader], writer: Writer) -> None:
        verdict = self.verdict
        rows, objects = service.table.keys(), service.bucket.keys()
        stranded = self._stranded()
        expected = set()
        for one in living:
            key = rows.get(one.asset.id)
            content = service.bucket.get(key) if key in objects else None
            seen = one.version_of(content) if content is not None else None
            if seen is None or seen < one.known(float("inf")):
                verdict.lost_writes.append(f"asset {one.asset.id}: version {seen} of {one.known(float('inf'))} at {key!r}")
            expected.add(one.asset.new_key)
            if one.asset.id in stranded:
                expected.add(one.asset.old_key)
                left = service.bucket.get(one.asset.new_key)
                if key != one.asset.old_key or left is None or one.version_of(left) is None or len(one.versions) == 1:
                    verdict.differences.append(f"asset {one.asset.id} was parked, and its row names {key!r}")
            elif key != one.asset.new_key:
                verdict.differences.append(f"row {one.asset.id} names {key!r}")
        verdict.differences += [f"there is an object {key!r}" for key in sorted(objects - expected)]
        verdict.differences += [f"there is no object {key!r}" for key in sorted(expected - objects)]
        moved = self.assets - len(stranded)
        wanted = dict.fromkeys(("copied", "renamed", "deleted"), moved) | {"rows": self.assets, "open": 0, "parked": len(stranded)}
        wanted |= {"unseen": 0, "state": "finished"}
        report = verdict.report
        verdict.differences += [
            f"the report says {name} {report.get(name)!r}" for name, value in wanted.items() if report.get(name) != value
        ]
        verdict.figures["stranded"] = len(stranded)
        verdict.failed_reads, verdict.failed_writes = [found for reader in readers for found in reader.failed], writer.failed
        logs = self.cluster.logs()
        verdict.lost_leases = sum(int(found) for found in _LOST.findall(logs))
        verdict.errors = [line for line in logs.splitlines() if line.startswith("Traceback")]
        verdict.figures |= {
            "late reads": sum(reader.late for reader in readers),
            "latest": round(max(reader.latest_seconds for reader in readers), 1),
            "interrupted": sum(loop.interrupted for loop in (*readers, writer)),
            "too slow": sum(loop.too_slow for loop in (*readers, writer)),
            "writes": writer.count,
            "to old keys": writer.to_old,
            "overlapping": writer.overlapping,
            "unanswered": writer.unanswered,
            "lost leases": verdict.lost_leases,
        }

    def _stranded(self) -> set[int]:
        """Assets parked since a killed worker left a copy at the new key without a record, and the application wrote the old one since.

        Only bytes and headers equal to the source's would show that the copy is the tool's (H12, S3): another's object is not overwritten.
        """
        found = self._ask("SELECT row_id FROM rekey_moves WHERE state = 'parked' AND reason = 'target_exists' AND claims > 1")
        return {json.loads(row_id)[0] for (row_id,) in found}

    def _wait(self, what: Callable[[], object], *, seconds: float) -> None:
        end = time.monotonic() + seconds
        while not what():
            assert time.monotonic() < end, f"not within {seconds} s:\n{self.cluster.logs()[-3000:]}"
            time.sleep(0.2)
