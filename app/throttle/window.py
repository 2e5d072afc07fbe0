"""The hours in which a run may work: ``22:00-06:00 Europe/Berlin``. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

_FORM = re.compile(r"([01]\d|2[0-3]):([0-5]\d) ?- ?([01]\d|2[0-3]):([0-5]\d)(?: +(\S+))?")

_LONGEST = timedelta(days=3)  # until the next opening: a day, and one more where clocks that are set forward leave out a closing


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """From *start* up to *end*, by the clock on the wall in *zone*; over midnight where the end comes first."""

    start: time
    end: time
    zone: str

    def __str__(self) -> str:
        """As it is written."""
        return f"{self.start:%H:%M}-{self.end:%H:%M} {self.zone}"

    @classmethod
    def parse(cls, text: str) -> Window:
        """Read *text*; without a zone it is UTC.

        Raises:
            ValueError: It is no window.
        """
        found = _FORM.fullmatch(text.strip())
        if not found:
            raise ValueError("give hours and a time zone, like 22:00-06:00 Europe/Berlin (without a zone: UTC)")
        start, end = time(int(found[1]), int(found[2])), time(int(found[3]), int(found[4]))
        if start == end:
            raise ValueError("a window that begins when it ends is open always or never: leave it out, or give two times")
        zone = found[5] or "UTC"
        try:
            ZoneInfo(zone)
        except (ZoneInfoNotFoundError, ValueError, OSError):
            raise ValueError(f"{zone!r} is no time zone here: give a name like Europe/Berlin, or UTC") from None
        return cls(start=start, end=end, zone=zone)

    def is_open(self, now: datetime) -> bool:
        """Whether *now* lies within."""
        local = now.astimezone(ZoneInfo(self.zone)).time()
        return self.start <= local < self.end if self.start < self.end else local >= self.start or local < self.end

    def opens_at(self, now: datetime) -> datetime:
        """When it opens next, in its zone; to the minute.

        Minute by minute, since clocks that are set forward or back open and close it at times of their own, and more than once in a night.
        """
        at, was_open = now.astimezone(UTC).replace(second=0, microsecond=0), self.is_open(now)
        for _ in range(_LONGEST // timedelta(minutes=1)):
            at += timedelta(minutes=1)
            is_open = self.is_open(at)
            if is_open and not was_open:
                break
            was_open = is_open
        return at.astimezone(ZoneInfo(self.zone))
