"""The way of a request to the store in memory: signed, perhaps held up, carried out or not, answered or not."""

from __future__ import annotations

import math
import threading
from typing import TYPE_CHECKING, TypeVar

from app.errors import ExpiredRequestError, LeaseLostError
from app.testing.clocks import ManualClock
from app.testing.faults import DelayedRequest, Faults

if TYPE_CHECKING:
    from collections.abc import Callable

    from app.clock import Clock
    from app.object_store import Capabilities, Deadline
    from app.testing.versions import Behaviour

Result = TypeVar("Result")
_BY_STEPS = frozenset({"delete", "put_snowball"})  # each key of these is a step of its own
EPOCH = 1_800_000_000  # the store's time when the clock was at nought


class RequestPath:
    """Clocks, faults and the log of requests of one store.

    *on_call* is called with the method's name and the key after a request was signed and before it arrives, so that a scheduler can let
    somebody else go first (``delete`` and ``put_snowball``: once a key). Each request is one step; the keys of those are a step each.
    """

    def __init__(
        self, behaviour: Behaviour, *, clock: Clock | None, request_timeout: float, on_call: Callable[[str, str], None] | None
    ) -> None:
        self.clock = clock or ManualClock()
        self.skew = 0.0  # seconds by which the store's clock was set forward
        self.faults = Faults()
        self.delayed: list[DelayedRequest] = []
        self.calls: list[tuple[str, str]] = []
        self.on_call = on_call
        self._behaviour = behaviour
        self._timeout = request_timeout
        self._lock = threading.RLock()

    @property
    def capabilities(self) -> Capabilities:
        """What this store honours."""
        return self._behaviour.capabilities()

    @property
    def now(self) -> float:
        """The store's clock."""
        return EPOCH + self.clock.boot() + self.skew

    def store_time(self) -> int:
        """UTC seconds by the store's clock."""
        return int(self.now)

    def _read(self, name: str, key: str, act: Callable[[], Result]) -> Result:
        return self._request(name, key, None, self._alone(act))

    def _alone(self, act: Callable[[], Result]) -> Callable[[], Result]:
        """*act* as one step that no thread sees half done."""

        def locked() -> Result:
            with self._lock:
                return act()

        return locked

    def _write(self, name: str, key: str, deadline: Deadline, act: Callable[[], Result]) -> Result:
        seconds = min(self._timeout, deadline.remaining())
        if seconds < 1:
            raise LeaseLostError("the lease ends before the request could be carried out")
        return self._request(name, key, self.store_time() + math.floor(seconds), act if name in _BY_STEPS else self._alone(act))

    def _request(self, name: str, key: str, expires_at: int | None, act: Callable[[], Result]) -> Result:
        def arrive() -> Result:
            if expires_at is not None and self._behaviour.query_signed_expiry and self.now > expires_at:
                raise ExpiredRequestError("Request has expired")
            return act()

        self.calls.append((name, key))
        if self.on_call is not None:
            self.on_call(name, key)
        fault = self.faults.take(name, key)
        if fault is None:
            return arrive()
        if fault.delayed:
            self.delayed.append(DelayedRequest(name, key, arrive))
        elif fault.carried_out:
            DelayedRequest(name, key, arrive).deliver()
        raise fault.error(key)

    def _expire(self) -> None:
        if self._behaviour.query_signed_expiry:
            raise ExpiredRequestError("Request has expired")
