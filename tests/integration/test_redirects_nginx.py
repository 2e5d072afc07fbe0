"""The redirects of ``rekey report`` in a real nginx: every odd key leads where its row is now, and nothing else is redirected."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING
from urllib.parse import quote

import pytest

from app.ledger.reading import ReportLedger
from app.reporting.redirects import redirect_lines
from tests.builders import World
from tests.integration.nginx import ask, serving

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

NAMES = (
    "plain.png",
    "a b.txt",
    "a+b.txt",
    "a%20b.txt",
    "100%.pdf",
    "Q#1?x=1&y=2~[é].txt",
    'say "hi".png',
    "it's.png",
    "back\\slash.png",
    "back\\",
    "$uri ${host} $1.png",
    "semi;colon {brace} }.png",
    "e\N{COMBINING ACUTE ACCENT}.png",
    "\N{LATIN SMALL LETTER E WITH ACUTE}.png",
    "Logo.PNG",
    "logo.png",
    "LOGO.png",
    "LOGO.png\n",
    "Regex (1)+[a].*^$.png",
    "regex (1)+[a].*^$.png",
    "two..dots.png",
    "*.star.png",
    ".hidden",
    "default",
    "~tilde.png",
    "!bang",
    "tab\there.txt",
    "line\nbreak\r.txt",
    "\N{SNOWMAN}\N{PILE OF POO}.txt",
    " leading and trailing ",
    "n" * 255,
)


@pytest.fixture
def world(tmp_path: Path) -> World:
    """A run over the odd names, and over rows whose links must not lead astray."""
    made = World(tmp_path, settings={"grace_seconds": 0})
    for number, name in enumerate(NAMES, start=1):
        made.add(number, f"up/{name}", client=number)
    made.add(101, "/slash//twice.png", client=101)
    made.add(201, "up/parked.png", body=None, client=201)
    made.go()
    return made


@pytest.fixture
def port(world: World, tmp_path: Path) -> Iterator[int]:
    """A real nginx with the redirects of the run, as their head tells to include them, and with one file of its own."""
    lines = redirect_lines(ReportLedger(world.engine), world.run, form="nginx", prefix_of=lambda _: "/media/", left_out=Counter())
    (tmp_path / "rekey.map").write_bytes(b"".join(chunk for chunk, _ in lines))
    (tmp_path / "files/media/up").mkdir(parents=True)
    (tmp_path / "files/media/up/LOGO.png").write_bytes(b"another object is here again")
    with serving(tmp_path) as number:
        yield number


def test_links_of_odd_keys_lead_to_their_new_keys(world: World, port: int) -> None:
    """Encoded as a browser does it, more than it does, and less."""
    wrong = []
    for number, name in enumerate(NAMES, start=1):
        expected = (301, "/media/" + quote(world.key(number)))
        if name == "LOGO.png":
            expected = (200, None)  # an object is there: it is served
        paths = (quote(f"/media/up/{name}"), "/media/up/" + "".join(f"%{byte:02X}" for byte in name.encode()))
        wrong += [(name, path, answer, expected) for path in paths if (answer := ask(port, path)) != expected]

    assert wrong == []
    assert ask(port, "/media//slash/twice.png") == (301, "/media/clients/101/assets/twice.png")


@pytest.mark.parametrize("path", ["/media/up/parked.png", "/media/up/other.png", "/media/up/loGO.png", "/up/plain.png", "/media/clients/1"])
def test_other_paths_are_not_redirected(port: int, path: str) -> None:
    """Neither what was not switched nor what merely looks alike."""
    assert ask(port, path) == (404, None)
