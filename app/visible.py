"""Texts of the database and the bucket as a terminal may show them. Pure."""

from __future__ import annotations

MOST = 160  # letters of one key or detail in a line for people; --json and the reports have it whole
_TAIL = 40  # the end of a key is its file name


def visible(text: str, *, most: int = MOST) -> str:
    """*text* on one line: what moves a terminal's cursor or changes its colours is written as an escape, and much of it is cut."""
    if len(text) > most:
        text = f"{text[: most - _TAIL]}[...]{text[-_TAIL:]}"
    return text if text.isprintable() else "".join([char if char.isprintable() else ascii(char)[1:-1] for char in text])
