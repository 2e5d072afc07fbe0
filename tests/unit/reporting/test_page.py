"""The page: it stands alone, it escapes everything, and its figures are those of the ledger."""

from __future__ import annotations

import dataclasses
import re
from html.parser import HTMLParser
from typing import TYPE_CHECKING

import pytest

from app.database import MICROSECONDS
from app.ledger.reading import ReportLedger
from app.reporting.charts import rate_panels
from app.reporting.figures import MOST_BINS, Rates, count_figures
from app.reporting.page import html_lines, size_text
from app.states import RunKind
from app.testing.versions import CONDITIONAL
from tests.builders import World

if TYPE_CHECKING:
    from pathlib import Path

    from app.ledger.records import Run

EVIL = "<script>alert(1)"


class Seen(HTMLParser):
    """What a browser makes of the page: its elements, its attributes, its text."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: list[tuple[str, str]] = []
        self.text = ""
        self.open: list[str] = []
        self.feed(page)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """An element begins."""
        self.tags.add(tag)
        self.attributes += [(name, value or "") for name, value in attrs]
        if tag not in {"meta", "rect"}:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """An element without content."""
        self.tags.add(tag)
        self.attributes += [(name, value or "") for name, value in attrs]

    def handle_endtag(self, tag: str) -> None:
        """An element ends: the one that began last."""
        if tag != "rect":
            assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        """Text."""
        self.text += data


@pytest.fixture
def world(tmp_path: Path) -> World:
    """A run that has ended: three moved for two clients, two parked."""
    made = World(tmp_path, settings={"grace_seconds": 0})
    made.add(1)
    made.add(2)
    made.add(3, client=EVIL)
    made.add(4, body=None)
    made.add(5, f'up/"><img src=x onerror=alert(1)>{EVIL}.png', body=None)
    made.go()
    return made


def page_of(world: World, run: Run | None = None) -> str:
    """The page about the run."""
    ((page, lines),) = html_lines(ReportLedger(world.engine), run or world.run, now=world.context.runs.now())
    assert lines == len(world.moves())
    return page.decode()


def test_page_needs_nothing_but_itself(world: World) -> None:
    """No script, no other file, no address that a browser would ask."""
    page = page_of(world)
    seen = Seen(page)

    assert not seen.tags & {"script", "link", "img", "iframe", "object", "embed", "base", "form"}
    assert not [name for name, _ in seen.attributes if name in {"src", "href", "srcset", "action", "data"} or name.startswith("on")]
    assert "url(" not in page
    assert "@import" not in page
    assert ("content", "default-src 'none'; style-src 'unsafe-inline'") in seen.attributes


def test_text_from_the_database_is_shown_as_it_is_and_never_run(world: World) -> None:
    """A client called <script>, a key that closes an attribute."""
    seen = Seen(page_of(world))

    assert EVIL in seen.text
    assert f'up/"><img src=x onerror=alert(1)>{EVIL}.png' in seen.text


def test_page_says_who_ran_what_with_which_settings(world: World) -> None:
    """The run's own record; a rollback names the run that it takes back."""
    run = dataclasses.replace(
        world.run,
        kind=RunKind.ROLLBACK,
        origin_no=world.run.no,
        settings={"where": "note <> 'postgresql://app:hunter22@db/x'", "references": ["a.b"], "name_column": None},
        knobs={"grace_seconds": 7},
        unseen=12,
    )
    text = Seen(page_of(world, run)).text

    assert "tester" in text
    assert f"takes back run {world.run.id}" in text
    assert "where" in text
    assert "hunter22" not in text
    assert '["a.b"]' in text
    assert "grace_seconds" in text
    assert "12unseen" in text


def test_figures_are_those_of_the_ledger(world: World) -> None:
    """Counted in one pass, they equal the report's own counts and the sums of the charts (S8)."""
    figures = count_figures(ReportLedger(world.engine), world.run, now=world.context.runs.now())
    report = world.report()

    assert figures.totals == {name: report[name] for name in figures.totals}
    assert {stage: sum(counts) for stage, counts in figures.rates.counts.items()} == {"copied": 3, "renamed": 3, "deleted": 3}
    assert figures.size == sum(move.copy.size for move in world.moves() if move.copy)
    assert {reason: len(examples) for reason, examples in figures.examples.items()} == {"missing_source": 2}
    assert figures.client_count == 2
    assert {client.name: (client.assets, client.switched, client.parked) for client in figures.clients} == {"7": (4, 2, 2), EVIL: (1, 1, 0)}


def test_slowest_clients_are_those_whose_assets_took_longest(world: World) -> None:
    """By the store's clock, from the first claim to the switch; a time that went backwards counts as none."""
    for number, (claimed, switched) in {1: (100, 110), 2: (100, 130), 3: (100, 90)}.items():
        world.set_columns(number, claimed_store_time=claimed, switch_store_time=switched)
    clients = count_figures(ReportLedger(world.engine), world.run, now=0).clients

    assert [(client.name, client.seconds, client.most_seconds) for client in clients] == [("7", 20.0, 30), (EVIL, 0.0, 0)]


@pytest.mark.parametrize("seconds", [1, 90, 97, 3600, 86_400, 40 * 86_400, 5 * 365 * 86_400])
def test_times_of_any_run_fit_into_the_chart(world: World, seconds: int) -> None:
    """What the store's clock puts before the start or after the end is in the first or last bin."""
    start = world.run.created_at
    for number, at in {1: -100, 2: seconds // 2, 3: seconds + 100}.items():
        world.set_columns(number, copy_store_time=start // MICROSECONDS + at)
    run = dataclasses.replace(world.run, finished_at=start + seconds * MICROSECONDS)
    rates = count_figures(ReportLedger(world.engine), run, now=0).rates

    assert 1 <= rates.bins <= MOST_BINS
    assert rates.bins * rates.step >= seconds
    assert sum(rates.counts["copied"]) == 3
    assert rates.counts["copied"][0] >= 1
    assert rates.counts["copied"][-1] >= 1


def test_chart_draws_bars_in_proportion_on_one_scale() -> None:
    """The highest of all stages gives the scale; an empty bin has no bar, a small one is still to be seen."""
    rates = Rates(start=0, step=2, bins=3, counts={"copied": [200, 100, 0], "renamed": [0, 1, 0], "deleted": [0, 0, 50]})
    drawn = rate_panels(rates)
    heights = [float(height) for height in re.findall(r'height="([\d.]+)"', drawn)]

    assert heights == [100.0, 50.0, 0.8, 25.0]
    assert "100/s" in drawn
    assert "<title>00:00:02: 100 copied in 2 s</title>" in drawn


def test_old_objects_that_stay_are_told_by_reason(world: World) -> None:
    """Kept is moved, and somebody may want to let them go."""
    world.set_columns(1, state="kept", reason="named")

    assert "Moved, and the old object stays: named 1." in Seen(page_of(world)).text
    world.set_columns(1, state="deleted", reason=None)
    assert "the old object stays" not in Seen(page_of(world)).text


def test_page_of_a_run_without_moves_says_so(world: World) -> None:
    """Nothing divides by nothing."""
    run = world.context.runs.create(
        bucket="other",
        table_name="other",
        settings={},
        capabilities=dataclasses.asdict(world.run.capabilities),
        rows=0,
        user="tester",
        version="0",
    )
    ((page, _),) = html_lines(ReportLedger(world.engine), run, now=world.context.runs.now())
    text = Seen(page.decode()).text

    assert "Nothing has moved yet." in text
    assert "Nothing was parked." in text
    assert "Nothing was switched." in text


@pytest.mark.parametrize(
    ("size", "text"), [(0, "0 bytes"), (1023, "1023 bytes"), (1536, "1.5 KiB"), (5 * 1024**4, "5.0 TiB"), (9 * 1024**6, "9,216.0 PiB")]
)
def test_sizes_are_told_for_people(size: int, text: str) -> None:
    """With the unit that fits."""
    assert size_text(size) == text


@pytest.mark.parametrize("versioned", [True, False])
def test_page_says_what_old_versions_still_hold(tmp_path: Path, *, versioned: bool) -> None:
    """In a versioned bucket a delete frees nothing (case 13)."""
    world = World(tmp_path, dataclasses.replace(CONDITIONAL, versioning=versioned), settings={"grace_seconds": 0})
    for number in (1, 2):
        world.add(number, body=b"x" * 1024)
    world.go()

    assert ("2.0 KiB in 2 objects, at least" in Seen(page_of(world)).text) is versioned
