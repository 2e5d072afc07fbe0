"""Keys in URLs and XML, and dates."""

from __future__ import annotations

from email.utils import formatdate
from urllib.parse import unquote
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.s3_text import encode_key, encode_value, http_date, iso_date, survives_xml


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        ("a b.txt", "a%20b.txt"),
        ("a+b.txt", "a%2Bb.txt"),
        ("a%20b.txt", "a%2520b.txt"),
        ("a%2Bb.txt", "a%252Bb.txt"),
        ("100%.pdf", "100%25.pdf"),
        ("Q#1?x=1&y=2~[é].txt", "Q%231%3Fx%3D1%26y%3D2~%5B%C3%A9%5D.txt"),
        ("/a//b/../c", "/a//b/../c"),
    ],
)
def test_key_is_encoded_exactly_once(key: str, expected: str) -> None:
    """Each byte outside the unreserved set is encoded once, and slashes stay (CASES 3)."""
    assert expected == encode_key(key)


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_key_comes_back_from_its_encoding(key: str) -> None:
    """No two keys share an encoding."""
    assert key == unquote(encode_key(key))


def test_value_encodes_the_slash() -> None:
    """In a query a slash is encoded too, as the signature's canonical form asks."""
    assert encode_value("a/b c") == "a%2Fb%20c"


@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1))
def test_key_that_is_said_to_survive_xml_does(key: str) -> None:
    """What goes into a DeleteObjects document comes out of a parser as the very same key (CASES 7)."""
    if not survives_xml(key):
        return
    document = ET.tostring(_element(key))

    assert key == ET.fromstring(document).text  # noqa: S314 - the document is our own


def _element(key: str) -> ET.Element:
    element = ET.Element("Key")
    element.text = key
    return element


@pytest.mark.parametrize("key", ["x\ry.png", "\x10", "a\x00b", "a\x7f", "a\x85b", "a\ufffe", "a\ud800", " a", "a ", "a\tb", "a\nb", ""])
def test_key_with_an_odd_character_does_not_survive_xml(key: str) -> None:
    """Control characters, surrogates, non-characters and blanks at the ends are kept out of XML."""
    assert not survives_xml(key)


@pytest.mark.parametrize("key", ["a", "a b", "&<>\"'", "a\\b", "é/e\u0301", "日本/🙂.png"])
def test_usual_key_survives_xml(key: str) -> None:
    """Everything printable is deleted in company."""
    assert survives_xml(key)


@given(st.integers(0, 4_102_444_800))
def test_http_date_gives_the_seconds_it_was_made_of(seconds: int) -> None:
    """The parser agrees with the standard library's writer."""
    assert seconds == http_date(formatdate(seconds, usegmt=True))


@pytest.mark.parametrize(
    "text", ["", "yesterday", "Wed, 25 Nov 2026 02:51:03 CET", "Wed, 25 Foo 2026 02:51:03 GMT", "Wed, 25 Nov 2026 02:51 GMT"]
)
def test_http_date_is_none_for_anything_else(text: str) -> None:
    """No date is better than a guess."""
    assert http_date(text) is None


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-11-25T02:51:03.987Z", 1795575063),
        ("2026-11-25T02:51:03Z", 1795575063),
        ("2026-11-25T02:51:03.1234567Z", 1795575063),
        ("2026-11-25 02:51:03", None),
        ("", None),
        ("2026-11-25T02:xx:03Z", None),
    ],
)
def test_iso_date_is_cut_to_seconds(text: str, expected: int | None) -> None:
    """A listing's milliseconds are cut off, so that its time equals that of a HEAD (M7)."""
    assert expected == iso_date(text)
