"""The page of ``rekey report --html`` in a real browser, without a network: what is seen, and that nothing runs and nothing is cut off."""

from __future__ import annotations

import http.server
import threading
from typing import TYPE_CHECKING

import pytest

from app.ledger.reading import ReportLedger
from app.reporting.page import html_lines
from tests.builders import World
from tests.integration.browser import browse

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

EVIL = "<script>document.title='run'<b onclick=x>"
LONG = "a-name-without-a-place-to-break-it-" * 6
# Asks the browser itself, from outside the page's own document: its widths, its colours, what it asked for.
PROBE = """<!doctype html><html><body><iframe id="f" style="border:0;width:{width}px;height:3000px" src="page.html"></iframe>
<script>document.getElementById("f").onload = () => {{
  const d = document.getElementById("f").contentDocument, e = d.documentElement, box = s => d.querySelector(s).getBoundingClientRect();
  const bars = [...d.querySelectorAll(".plot rect")].filter(r => r.getBoundingClientRect().height >= 0.5).length;
  document.body.dataset.seen = [e.scrollWidth, e.clientWidth, d.title, bars, d.scripts.length, Math.round(box("h1").height),
    getComputedStyle(d.body).fontSize, d.querySelectorAll("b[onclick]").length].join("|");
}};</script></body></html>"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with the page about a run of odd clients."""
    world = World(tmp_path, settings={"grace_seconds": 0})
    for number in range(1, 6):
        world.add(number)
    world.add(6, client=EVIL)
    world.add(7, f"up/{LONG}.png", client=LONG, body=None)
    world.go()
    ((page, _),) = html_lines(ReportLedger(world.engine), world.run, now=world.context.runs.now())
    shown = tmp_path / "shown"
    shown.mkdir()
    (shown / "page.html").write_bytes(page)
    return shown


@pytest.fixture
def address(folder: Path) -> Iterator[tuple[str, list[str]]]:
    """The folder over HTTP on loopback, so that the probe may look into the page; and what was asked for."""
    asked: list[str] = []

    class Handler(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *args: object, **more: object) -> None:
            super().__init__(*args, directory=str(folder), **more)  # type: ignore[arg-type,misc]

        def log_request(self, *_: object) -> None:
            asked.append(self.path)

        def log_message(self, *_: object) -> None:
            """Nothing on the test's output."""

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}", asked
    server.shutdown()
    server.server_close()
    thread.join(10)


@pytest.mark.parametrize("width", [360, 1280])
def test_page_is_whole_in_a_browser(folder: Path, address: tuple[str, list[str]], width: int) -> None:
    """At a phone's and a desktop's width: nothing is wider than the screen, the bars are there, nothing of the database runs."""
    (folder / "probe.html").write_text(PROBE.format(width=width), encoding="utf-8")
    url, asked = address
    seen = browse(folder, "--dump-dom", "--virtual-time-budget=5000", f"{url}/probe.html")
    scroll, client, title, bars, scripts, heading, font, clickable = seen.partition('data-seen="')[2].partition('"')[0].split("|")

    assert (int(scroll), int(client)) == (width, width)
    assert title.startswith("Run ")
    assert title.endswith(" - asset-rekey")
    assert int(bars) >= 3
    assert (scripts, clickable, font) == ("0", "0", "15px")
    assert int(heading) < 60
    assert set(asked) - {"/favicon.ico"} == {"/probe.html", "/page.html"}


def test_page_opens_from_a_file(folder: Path) -> None:
    """As somebody opens what was mailed to them."""
    seen = browse(folder, "--dump-dom", f"file://{folder}/page.html")

    assert "Slowest clients" in seen
    assert "&lt;script&gt;document.title" in seen


def test_page_is_dark_where_the_reader_wants_it_dark(folder: Path) -> None:
    """The picture differs, so the style sheet is in force."""
    for name, scheme in (("dark", 0), ("light", 1)):
        flags = (f"--blink-settings=preferredColorScheme={scheme}", "--window-size=400,800", f"--screenshot={folder}/{name}.png")
        browse(folder, *flags, f"file://{folder}/page.html")
    dark, light = ((folder / f"{name}.png").read_bytes() for name in ("dark", "light"))

    assert dark.startswith(b"\x89PNG")
    assert dark != light
