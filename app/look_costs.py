"""What looks cost a store: pages of listings against HEADs."""

from __future__ import annotations

Kin = tuple[str, int]  # of a folder: the top one that it lies in, and how deep; folders of one kin are likely to be alike

# What requests cost a store, in HEADs (FACTS.md: 0.3 ms a HEAD, three times that a listing and 0.03 ms each key in it).
PAGE_COST = 3.0
LISTED_COST = 1 / 13  # until it is learned
CHEAPEST, DEAREST = 1 / 25, 1.0  # on a busy machine a HEAD waits longer than it costs
NEWEST = 0.2  # how much one request says of what the next one takes
FORGETTING = 0.02  # of what a page took, at each look that lists nothing for it: it is tried again now and then
MOST_KINS = 1000


class Costs:
    """What looks at one store have taken, in seconds: a key of a page may cost a tenth of a HEAD (MinIO) or a fiftieth (SeaweedFS).

    Or more than a HEAD: MinIO reads all names of a folder for each page of it. So pages are told apart by the kind of their folder.
    Threads may race: the next look mends it.
    """

    def __init__(self) -> None:
        """Nothing is known yet."""
        self._head = 0.0
        self._listed: dict[Kin, float] = {}

    def listed(self, kin: Kin) -> float:
        """A key of a page of such a folder, in HEADs."""
        seconds = self._listed.get(kin)
        return min(max(seconds / self._head, CHEAPEST), DEAREST) if self._head and seconds is not None else LISTED_COST

    def of_heads(self, seconds: float, *, keys: int) -> None:
        """HEADs of so many keys, sent together, took so long."""
        self._head = _learned(self._head, seconds / keys)

    def of_page(self, kin: Kin, seconds: float, *, keys: int) -> None:
        """A page of such a folder that showed so many keys took so long."""
        if keys and self._head:
            if len(self._listed) >= MOST_KINS:
                self._listed.clear()
            seen = max(seconds - PAGE_COST * self._head, 0.0) / keys
            self._listed[kin] = _learned(self._listed.get(kin, 0.0), seen)

    def of_none(self, kin: Kin) -> None:
        """No page of such a folder was asked for."""
        seconds = self._listed.get(kin)
        if seconds is not None:
            self._listed[kin] = seconds + FORGETTING * (LISTED_COST * self._head - seconds)


def _learned(known: float, seen: float) -> float:
    return known + NEWEST * (seen - known) if known else seen
