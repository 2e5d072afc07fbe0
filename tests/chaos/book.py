"""The service's book of a round: what each asset's bytes may be at any moment, and when a server was away on purpose."""

from __future__ import annotations

import re
import threading
import time
from collections import Counter, deque
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from tests.acceptance.service import Asset, Content


@dataclass(frozen=True, slots=True, kw_only=True)
class Version:
    """One upload; without ``answered_at`` nobody knows whether it arrived."""

    content: Content
    key: str
    answered_at: float | None = None


class Living:
    """One asset and all its versions, oldest first. Only the writer changes it."""

    def __init__(self, asset: Asset, *, key: str | None = None, answered_at: float | None = 0.0, shares_name: bool = False) -> None:
        self.asset = asset
        self.shares_name = shares_name  # another asset wants the same new key: one of the two has it with a suffix
        self.first_key = key or asset.old_key
        self.versions = [Version(content=asset.content, key=self.first_key, answered_at=answered_at)]
        self.removing = False  # before its row goes
        self.row_is_gone = False  # the answer was seen
        self.object_is_gone = False
        self.removed_key: str | None = None  # that the row had last

    def has_new(self, key: str | None) -> bool:
        """Whether *key* is its new key, as it is or with a suffix where another asset may have that."""
        if key is None or key == self.asset.new_key:
            return key is not None
        stem, dot, extension = self.asset.new_key.rpartition(".")
        return self.shares_name and re.fullmatch(f"{re.escape(stem)}-[a-z0-9]{{10}}{re.escape(dot + extension)}", key) is not None

    def known(self, at: float, *, key: str | None = None) -> int:
        """The newest version that was answered by then (at *key*), -1 if there is none."""
        fit = [n for n, version in enumerate(self.versions) if version.answered_at is not None and version.answered_at <= at]
        return max((n for n in fit if key is None or self.versions[n].key == key), default=-1)

    def version_of(self, content: Content) -> int | None:
        """Which version *content* is."""
        return next((n for n, version in enumerate(self.versions) if version.content == content), None)

    @property
    def is_certain(self) -> bool:
        """Whether every upload was answered."""
        return all(version.answered_at is not None for version in self.versions)


@dataclass(slots=True)
class Outages:
    """When a server that the service needs was away, on purpose."""

    windows: list[list[float]] = field(default_factory=list)

    @contextmanager
    def one(self) -> Iterator[None]:
        """An outage for the length of the block."""
        window = [time.monotonic(), float("inf")]
        self.windows.append(window)
        try:
            yield
        finally:
            window[1] = time.monotonic()

    def between(self, begun: float, ended: float) -> bool:
        """Whether one fell between these moments."""
        return any(first <= ended and begun <= last for first, last in list(self.windows))


class Book:
    """All assets: those that are there, those that were removed, and those whose upload or row nobody is sure of."""

    def __init__(self, assets: list[Asset], *, fragile: Iterable[Asset] = ()) -> None:
        wanted = Counter(asset.new_key for asset in assets)
        self.living = [Living(asset, shares_name=wanted[asset.new_key] > 1) for asset in assets]
        self.first = len(assets)
        self.fragile = frozenset(asset.id for asset in fragile)  # what they have beside their bytes no copy by parts can have
        self.unsure: list[Living] = []  # added, while a server was away
        self.recent: deque[Living] = deque(maxlen=60)  # written last: that is where something could be wrong
        self._lock = threading.Lock()
        self._next_id = max(asset.id for asset in assets) + 1

    def new_id(self) -> int:
        """An id that no asset has had."""
        with self._lock:
            self._next_id += 1
            return self._next_id - 1
