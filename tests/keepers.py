"""A keeper for copies by parts without stages: it renews nothing, and remembers what it was told."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from app.object_store import ObjectInfo


@dataclass
class PlainKeeper:
    """``app.large_copies.Keeper`` that lends *spare* places and calls *on_keep* each time."""

    spare: int = 0
    on_keep: Callable[[], None] = lambda: None
    open: dict[str, str] = field(default_factory=dict)
    expected: list[tuple[str, str]] = field(default_factory=list)  # ETags of source and copy
    most_lent: int = 0
    _lent: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def keep(self) -> None:
        """Call *on_keep*."""
        self.on_keep()

    def lend(self) -> bool:
        """One of the spare places."""
        with self._lock:
            if self._lent >= self.spare:
                return False
            self._lent += 1
            self.most_lent = max(self.most_lent, self._lent)
            return True

    def give_back(self) -> None:
        """One place less is lent."""
        with self._lock:
            self._lent -= 1

    @property
    def lent(self) -> int:
        """How many places are lent now."""
        return self._lent

    def begun(self, key: str, upload_id: str) -> None:
        """Remember the upload."""
        self.open[upload_id] = key

    def completing(self, upload_id: str, source: ObjectInfo, etag: str) -> None:
        """Remember the ETags."""
        assert upload_id in self.open
        self.expected.append((source.etag, etag))

    def completed(self, upload_id: str) -> None:
        """Forget the upload."""
        del self.open[upload_id]

    def aborted(self, upload_id: str) -> None:
        """Forget the upload."""
        del self.open[upload_id]
