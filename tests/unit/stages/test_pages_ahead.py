"""What is read ahead by the seed is used for the page that it was read for, while it is fresh, or not at all."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from app.errors import DatabaseUnavailableError
from app.ledger.records import Run
from app.stages import seed_moves as stage
from app.stages import seed_pages
from app.stages.pages_ahead import MOST_SECONDS, PagesAhead
from app.stages.seed_pages import Page
from app.testing.clocks import ManualClock
from tests.builders import World
from tests.unit.stages.at_once import AtOnce

PAGE = Page(beyond="7")


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """One at a cursor."""
    return replace(World(tmp_path).run, seed_cursor="3")


def begun(run: Run, clock: ManualClock, read: Callable[[], Page] = lambda: PAGE) -> PagesAhead:
    """A page of *run* read ahead."""
    pages = PagesAhead(clock, reader=AtOnce())
    pages.begin(run, read)
    return pages


def test_page_is_taken_once_at_its_cursor(run: Run) -> None:
    """A second seed at the same place reads for itself."""
    pages = begun(run, ManualClock())

    assert pages.take(run) is PAGE
    assert pages.take(run) is None


@pytest.mark.parametrize("change", [{"seed_cursor": "4"}, {"seed_cursor": None}, {"seed_pass": 2}, {"no": 99}])
def test_page_of_another_place_is_not_taken(change: dict[str, object], run: Run) -> None:
    """Another seed has moved the cursor on, the pass is over, or it is another run's."""
    pages = begun(run, ManualClock())

    assert pages.take(replace(run, **change)) is None
    assert pages.take(run) is None


def test_page_that_lay_too_long_is_not_taken(run: Run) -> None:
    """Held back by full queues, the seed goes on much later."""
    clock = ManualClock()
    pages = begun(run, clock)
    clock.advance(MOST_SECONDS + 1)

    assert pages.take(run) is None


def test_failed_read_is_made_again_by_who_needs_it(run: Run) -> None:
    """Its error is no longer news by then."""

    def fail() -> Page:
        raise DatabaseUnavailableError("the connection was lost")

    assert begun(run, ManualClock(), fail).take(run) is None


def test_rows_that_change_while_their_page_lies_ready_are_moved_as_they_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One is deleted, one gets another object, one comes: the ledger has the first two, and the stages read each row anew."""
    monkeypatch.setattr(seed_pages, "PAGE_ROWS", 2)
    world = World(tmp_path)
    world.context = world.worker(pages=PagesAhead(world.clock, reader=AtOnce()))
    for number in (1, 2, 3, 5):
        world.add(number)
    stage.seed_moves(world.run, context=world.context)  # and 3 and 5 are read

    world.sql("DELETE FROM assets WHERE id = 3")
    world.add(4)
    world.store.app_put("new/5.png", b"v2")
    world.save_key(5, "new/5.png")
    stage.seed_moves(world.run, context=world.context)
    assert {move.row_id for move in world.moves()} == {"[1]", "[2]", "[3]", "[5]"}
    world.go()

    report = world.report()
    assert (report["state"], report["rows"], report["unseen"]) == ("finished", 5, 0)
    assert [world.get(number) for number in (1, 2, 4, 5)] == [b"v1", b"v1", b"v1", b"v2"]
    assert all(world.key(number).startswith("clients/") for number in (1, 2, 4, 5))
