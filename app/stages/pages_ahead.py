"""The page of rows after the one that the seed writes, read meanwhile: the database writes while this process reads and plans.

What was read ahead is used for a page that begins at the very cursor that the run has by then, or not at all; the page is written under
the same compare-and-swap as any other (H27), and the stages read each row anew before they act.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

from app.clock import Clock
from app.errors import RekeyError
from app.ledger.records import Run

if TYPE_CHECKING:
    from app.stages.seed_pages import Page

MOST_SECONDS = 5.0  # that a page lies ready; an older one is read again

_Place = tuple[int, int, str | None]  # run, pass, cursor


@dataclass(frozen=True, slots=True)
class _Begun:
    place: _Place
    at: float
    page: Future[Page]


class PagesAhead:
    """One page at most, read by a thread of its own. For one seed at a time."""

    def __init__(self, clock: Clock, *, reader: Executor | None = None) -> None:
        """No thread is started yet; *reader* is for tests."""
        self._clock = clock
        self._reader = reader
        self._begun: _Begun | None = None

    def begin(self, run: Run, read: Callable[[], Page]) -> None:
        """Begin to read the page at the cursor of *run*."""
        self._reader = self._reader or ThreadPoolExecutor(1, thread_name_prefix="page")
        self._begun = _Begun(_place(run), self._clock.boot(), self._reader.submit(read))

    def take(self, run: Run) -> Page | None:
        """The page at the cursor of *run*, if it is the one that was begun, is fresh, and could be read."""
        begun, self._begun = self._begun, None
        if begun is None or begun.place != _place(run) or self._clock.boot() - begun.at > MOST_SECONDS:
            return None
        try:
            return begun.page.result()
        except RekeyError:  # whoever reads it again will hear it
            return None


def _place(run: Run) -> _Place:
    return run.no, run.seed_pass, run.seed_cursor
