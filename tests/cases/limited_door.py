"""A door before a store that bears so many requests a second, and a reader of the service that comes through it like everybody."""

from __future__ import annotations

import random
import threading
import time
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from minio.error import S3Error

from tests.acceptance.service import Bucket, Service
from tests.chaos.door import FaultyDoor
from tests.chaos.plan import Rates

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.acceptance.deployment import Deployment
    from tests.chaos.wire import Request

BURST_SECONDS = 0.2  # for which requests may come faster
NOTHING = Rates({}, 0.0, 0.0)
SLOW_DOWN = frozenset({"SlowDown", "SlowDownRead", "SlowDownWrite"})


class LimitedDoor(FaultyDoor):
    """Answers 503 SlowDown to what comes above *limit* requests a second, whoever sends it."""

    def __init__(self, endpoint: str, *, limit: float) -> None:
        self.limit = limit
        self.passed = self.refused = 0
        self.asked: Counter[tuple[str, str, str]] = Counter()  # by who, what, and what became of it
        self._left, self._at = limit * BURST_SECONDS, time.monotonic()
        self._bucket = threading.Lock()
        super().__init__(endpoint)

    def draw(self, request: Request) -> tuple[Callable[[Any, Request], None], Rates] | None:
        """A token bucket."""
        who = "the run" if b"user-agent: asset-rekey" in request.head else "the service"
        with self._bucket:
            now = time.monotonic()
            self._left = min(self.limit * BURST_SECONDS, self._left + (now - self._at) * self.limit)
            self._at = now
            if self._left >= 1:
                self._left -= 1
                self.passed += 1
                self.asked[who, _kind(request), "passed"] += 1
                return None
            self.refused += 1
            self.asked[who, _kind(request), "refused"] += 1
            return self._harm["slow_down"][1], NOTHING


def _kind(request: Request) -> str:
    """In a word or two."""
    path, _, query = request.target.partition("?")
    if "/.rekey/" in path:
        return "journal, mark and trials"
    if request.deletes:
        return "delete"
    if "list-type" in query:
        return "listing"
    unsigned = b"authorization:" not in request.head.lower() and "X-Amz-Signature" not in query
    return f"{request.method}{' unsigned' * unsigned}"


@dataclass(frozen=True, slots=True)
class Read:
    """When a read began, and how long it took until the object was there."""

    at: float
    seconds: float


class Reader:
    """Reads *rate* assets a second as the service does: row, then object; a 503 is tried again after a tenth of a second."""

    def __init__(self, service: Service, deployment: Deployment, door: LimitedDoor, *, rate: float, ids: int) -> None:
        self.reads: list[Read] = []
        self.failed: list[str] = []
        self._service, self._rate, self._ids = service, rate, ids
        self._bucket = Bucket(_At(deployment, door.endpoint), service.bucket.name)  # type: ignore[arg-type] # as far as a bucket asks
        self._over = threading.Event()
        self._threads = [threading.Thread(target=self._read_on, args=(number,), daemon=True) for number in range(4)]

    def start(self) -> None:
        """Begin."""
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """End after the reads under way."""
        self._over.set()
        for thread in self._threads:
            thread.join(30)
        self._bucket.close()

    def _read_on(self, seed: int) -> None:
        chance = random.Random(seed)
        while not self._over.wait(len(self._threads) / self._rate * chance.uniform(0.8, 1.2)):
            began = time.monotonic()
            number = chance.randint(1, self._ids)
            self._read(number, until=began + 30)
            self.reads.append(Read(began, time.monotonic() - began))

    def _read(self, number: int, *, until: float) -> None:
        while True:
            key = self._service.table.key(number)
            try:
                if self._bucket.get(str(key)) is not None:
                    return
                self.failed.append(f"row {number}: nothing at {key}")
            except S3Error as error:
                if error.code in SLOW_DOWN and time.monotonic() < until:
                    time.sleep(0.1)
                    continue
                self.failed.append(f"row {number}: {error.code}")
            return


@dataclass(frozen=True, slots=True)
class _At:
    """The store as it is reached through a door."""

    deployment: Deployment
    endpoint: str

    @property
    def access_key(self) -> str:
        """The store's."""
        return self.deployment.store.access_key

    @property
    def secret_key(self) -> str:
        """The store's."""
        return self.deployment.store.secret_key
