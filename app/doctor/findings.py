"""What a check found, in words for the operator."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Level(StrEnum):
    """How much a finding matters."""

    OK = "ok"
    NOTE = "note"  # works; worth knowing
    PROBLEM = "problem"  # a run would not work, or not safely or not fast
    UNREACHABLE = "unreachable"  # the part did not answer: nothing more is known of it


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One sentence about one part, and how to mend it where it needs mending."""

    part: str
    level: Level
    text: str
    remedy: str = ""


class Findings(list[Finding]):
    """The findings about one part, in the order of its checks."""

    def __init__(self, part: str) -> None:
        super().__init__()
        self._part = part

    def ok(self, text: str) -> None:
        """Something is as it should be."""
        self._add(Level.OK, text, "")

    def note(self, text: str, *, remedy: str = "") -> None:
        """Something works and is worth knowing."""
        self._add(Level.NOTE, text, remedy)

    def problem(self, text: str, *, remedy: str) -> None:
        """Something must be mended before a run."""
        self._add(Level.PROBLEM, text, remedy)

    def unreachable(self, text: str, *, remedy: str) -> None:
        """The part did not answer."""
        self._add(Level.UNREACHABLE, text, remedy)

    def _add(self, level: Level, text: str, remedy: str) -> None:
        self.append(Finding(part=self._part, level=level, text=text, remedy=remedy))
