"""What of a key a terminal gets to see."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.visible import visible


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("up/\N{LATIN SMALL LETTER E WITH ACUTE} b+c.png", "up/\N{LATIN SMALL LETTER E WITH ACUTE} b+c.png"),
        ("a\nb\tc", "a\\nb\\tc"),
        ("\x1b[2Jgone", "\\x1b[2Jgone"),
        ("\N{RIGHT-TO-LEFT OVERRIDE}gnp", "\\u202egnp"),
        ("x\udcff", "x\\udcff"),
    ],
)
def test_what_a_terminal_would_act_on_is_written_as_an_escape(text: str, expected: str) -> None:
    """A key is somebody else's text: it neither moves the cursor nor breaks a line."""
    assert visible(text) == expected


def test_long_key_shows_its_beginning_and_its_file_name() -> None:
    """A key may have 1024 bytes, and what cannot be one even more."""
    key = "clients/7/" + "n" * 2000 + "/the-name.png"

    assert len(visible(key)) < 200
    assert visible(key).startswith("clients/7/nnn")
    assert visible(key).endswith("nnn/the-name.png")


@given(st.text(max_size=400))
def test_text_is_on_one_line_and_printable(text: str) -> None:
    """Whatever it is."""
    assert visible(text).isprintable()
