"""Carries out a plan of faults: by what the ledger says of the run's progress, never by the clock alone, and only at work in flight.

Each strike notes how much it hit: moves in hand (leased) or on their way (hinted), by the ledger, at that very moment.
"""

from __future__ import annotations

import os
import re
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING

import psutil

from tests.chaos.cluster import resume
from tests.chaos.plan import MACHINES, NETWORK, RATES, STAGES, STOP, Plan, Victim
from tests.chaos.steers import Steers

if TYPE_CHECKING:
    from tests.acceptance.deployment import Deployment
    from tests.chaos.book import Outages
    from tests.chaos.cluster import Cluster
    from tests.chaos.door import FaultyDoor
    from tests.chaos.evidence import Evidence, Progress
    from tests.servers import RedisServer, S3Server, SqlServer

MOMENT_SECONDS = 1.0  # for which a strike waits for work to come into flight
DOWN_SECONDS = 2.0  # between a server's end and its new start
FROZEN_SECONDS = 6.0  # longer than a request time-out: what the store has read by then it carries out after the client gave up
SILENT_SECONDS = 7.0  # longer than a publish waits
STILL_SECONDS = 120.0  # without any progress
POLL_SECONDS = 0.1
FRUITLESS = 20  # strikes without work in flight, before a moment is made for it


@dataclass(frozen=True, slots=True)
class Servers:
    """The servers of a round."""

    postgres: SqlServer
    broker: RedisServer
    store: S3Server
    door: FaultyDoor  # between the workers and the store


@dataclass(frozen=True, slots=True)
class Strike:
    """What was done when, and how many moves it hit."""

    kind: str
    at: float
    hit: int
    words: str

    def __str__(self) -> str:
        """In one line."""
        return f"{self.at:.1f} s: {self.kind}, {self.words}"


class Saboteur:
    """Strikes until the run is over."""

    def __init__(
        self,
        plan: Plan,
        *,
        deployment: Deployment,
        cluster: Cluster,
        servers: Servers,
        evidence: Evidence,
        outages: Outages,
        beat_seconds: float,
        stopped_seconds: float,
    ) -> None:
        self.plan = plan
        self.strikes: list[Strike] = []
        self.left = list(plan.faults)
        self._victims = iter(plan.victims)
        self._deployment = deployment
        self._cluster = cluster
        self._servers = servers
        self._evidence = evidence
        self._outages = outages
        self._steers = Steers(deployment, evidence=evidence, door=servers.door, seed=plan.seed)
        self._beat_seconds = beat_seconds
        self._stopped_seconds = stopped_seconds
        self._resumptions: list[tuple[float, psutil.Process]] = []
        self._began = time.monotonic()
        self._tried: Counter[str] = Counter()  # strikes that found nothing in flight

    @property
    def hits(self) -> Counter[str]:
        """How often each kind of fault hit work in flight."""
        return Counter(strike.kind for strike in self.strikes if strike.hit)

    def disturb(self, is_over: Callable[[], bool]) -> None:
        """Do all of it; what is left of the plan when the run is over stays in ``left``.

        Raises:
            AssertionError: The run stands still.
        """
        self._began = moved_at = time.monotonic()
        beat = self._began + self._beat_seconds
        last = ""
        while not is_over():
            time.sleep(POLL_SECONDS)
            progress = self._evidence.progress()
            if str(progress) != last:
                last, moved_at = str(progress), time.monotonic()
            assert time.monotonic() - moved_at < STILL_SECONDS, f"nothing moves: {progress}, {[str(each) for each in self.strikes]}"
            self._cluster.revive()
            self._resume(time.monotonic())
            if (self.plan.ladder and self._evidence.waits()) or self._sees_to_a_failed_read(progress):
                self._deployment.rekey("resume")  # refused while a server is away: again at the next look
            if not self._strike_next(progress) and time.monotonic() >= beat:
                victim = next(self._victims, None)
                if victim is not None:
                    (self._stop_any if victim.how == STOP else self._kill)(victim, progress)
                self._cluster.note_replaced()
                beat = time.monotonic() + self._beat_seconds
        self._resume(float("inf"))

    def _sees_to_a_failed_read(self, progress: Progress) -> bool:
        """Whether the run rests since a store that had started again answered with errors for long, which the operator has seen to.

        Raises:
            AssertionError: An asset was not where its row says, and that is no fault of ours.
        """
        failure = self._evidence.failed_read()
        if failure is None:
            return False
        assert "cannot be read" in failure, f"a canary read failed: {failure}"
        self._note("resume", 0, failure, progress)
        return True

    def _strike_next(self, progress: Progress) -> bool:
        """Carry out the first fault that is due and finds work in flight; one that does not find any lets the others go first."""
        for fault in [fault for fault in self.left if progress.states and progress.copied >= fault.when]:
            if self._strike(fault.kind, progress):
                self.left.remove(fault)
                return True
            self._tried[fault.kind] += 1
        return False

    def _strike(self, kind: str, progress: Progress) -> bool:
        what, _, whom = kind.partition(" ")
        act = {"flush": self._flush, "purge": self._purge, "stop": self._stop, "pause": self._pause}
        act |= {"restart": self._restart, "freeze": self._freeze, "faulty": self._harm_network}
        act |= {"rest": self._rest, "slow": self._slow_down}
        found = act[what](whom)
        if found is None:
            return False
        self._note(kind, *found, progress)
        return True

    def _note(self, kind: str, hit: int, words: str, progress: Progress) -> None:
        self.strikes.append(Strike(kind, time.monotonic() - self._began, hit, f"{words} ({progress})"))

    def _kill(self, victim: Victim, progress: Progress) -> None:
        """SIGKILL to the next victim; to a stage's worker at a moment when its stage has moves in hand, if one comes soon."""
        hit = self._wait_for(lambda: self._evidence.leased(victim.role if victim.role in STAGES else None))
        if self._cluster.kill(victim.role, victim.machine):
            self._note(f"kill {victim.role}", hit, f"{hit} moves in hand", progress)

    def _stop_any(self, victim: Victim, progress: Progress) -> None:
        """SIGSTOP to the next victim, whatever it does just now, and SIGCONT after a while."""
        process = self._cluster.suspend(victim.role, victim.machine)
        if process is not None:
            hit = self._evidence.leased(victim.role if victim.role in STAGES else None)
            self._resumptions.append((time.monotonic() + victim.seconds, process))
            self._note(f"stop any {victim.role}", hit, f"for {victim.seconds:.1f} s, {hit} moves in hand", progress)

    @staticmethod
    def _wait_for(what: Callable[[], int]) -> int:
        end = time.monotonic() + MOMENT_SECONDS
        while time.monotonic() < end:
            found = what()
            if found:
                return found
        return 0

    def _flush(self, _whom: str) -> tuple[int, str] | None:
        with self._messages_wait("flush") as waiting:
            hinted = self._evidence.hinted()
            if not waiting or not hinted:
                return None
            self._servers.broker.flush()
            return hinted, f"{waiting} messages waited, {hinted} moves were hinted"

    def _purge(self, _whom: str) -> tuple[int, str] | None:
        with self._messages_wait("purge") as waiting:
            if not waiting:
                return None
            purged = self._deployment.run("celery", "-A", "app", "purge", "-f")
        assert purged.status == 0, purged.err
        found = re.search(r"Purged (\d+) message", purged.out)
        return (int(found[1]), f"{found[1]} messages purged") if found else None  # the workers were faster

    @contextmanager
    def _messages_wait(self, kind: str) -> Iterator[int]:
        """How many messages wait in the queues; where that was none for a while, the consumers stand still until there are some."""
        with self._cluster.held(STAGES) if self._tried[kind] > FRUITLESS else nullcontext():
            yield self._wait_for(self._evidence.queued) if self._tried[kind] > FRUITLESS else self._evidence.queued()

    def _pause(self, _broker: str) -> tuple[int, str] | None:
        hit = self._evidence.leased() and self._evidence.hinted()
        if not hit:
            return None
        self._evidence.pause_broker(SILENT_SECONDS)
        return hit, f"{hit} moves were hinted"

    def _restart(self, whom: str) -> tuple[int, str] | None:
        hit = self._wait_for(self._evidence.hinted if whom == "broker" else self._evidence.leased)
        if not hit:
            return None
        server = {"store": self._servers.store, "database": self._servers.postgres, "broker": self._servers.broker}[whom]
        with self._outages.one() if whom != "broker" else nullcontext():
            if whom == "database":
                _end_immediately(self._servers.postgres)
            else:
                server.kill()
            time.sleep(DOWN_SECONDS)
            server.start()
        return hit, f"{hit} moves {'were hinted' if whom == 'broker' else 'in hand'}"

    def _freeze(self, _store: str) -> tuple[int, str] | None:
        """SIGSTOP to the store: requests that it has taken are answered by nobody, and carried out when it goes on (H2)."""
        hit = self._wait_for(self._evidence.leased)
        if not hit:
            return None
        with self._outages.one():
            os.kill(self._servers.store.pid, signal.SIGSTOP)
            time.sleep(FROZEN_SECONDS)
            os.kill(self._servers.store.pid, signal.SIGCONT)
        return hit, f"{hit} moves in hand"

    def _harm_network(self, _network: str) -> tuple[int, str] | None:
        """From now on; what it hits is counted by the door itself."""
        hit = self._wait_for(self._evidence.leased)
        if hit:
            self._servers.door.arm(RATES, seed=self.plan.seed)
        return (hit, f"{hit} moves in hand") if hit else None

    def _rest(self, _run: str) -> tuple[int, str] | None:
        hit = self._wait_for(self._evidence.leased)
        return (hit, f"{hit} moves in hand") if hit and self._steers.rest() else None

    def _slow_down(self, _store: str) -> tuple[int, str] | None:
        hit = self._wait_for(self._evidence.leased)
        harmed = any(fault.kind == NETWORK for fault in self.plan.faults) and not any(fault.kind == NETWORK for fault in self.left)
        return (hit, f"{hit} moves in hand") if hit and self._steers.slow_down(after=RATES if harmed else None) else None

    def _stop(self, stage: str) -> tuple[int, str] | None:
        """SIGSTOP to a worker that has moves in hand: their leases are still held when its neighbour's have long changed."""
        if not self._wait_for(lambda: self._evidence.leased(stage)):
            return None
        for machine in range(MACHINES):
            process = self._cluster.suspend(stage, machine)
            if process is None:
                continue
            held = self._evidence.tokens(stage)
            time.sleep(MOMENT_SECONDS)
            hit = self._evidence.leased_under(held, stage)
            if hit:
                self._resumptions.append((time.monotonic() + self._stopped_seconds, process))
                return hit, f"{hit} moves in hand"
            resume([process])
        return None

    def _resume(self, now: float) -> None:
        for due in [due for due in self._resumptions if now >= due[0]]:
            self._resumptions.remove(due)
            resume([due[1]])


def _end_immediately(database: SqlServer) -> None:
    """What ``pg_ctl stop -m immediate`` does: no checkpoint, the next start recovers."""
    postmaster = psutil.Process(database.pid)
    processes = [postmaster, *postmaster.children()]
    postmaster.send_signal(signal.SIGQUIT)
    psutil.wait_procs(processes, timeout=DOWN_SECONDS)
    database.server.kill()  # what is left of it
