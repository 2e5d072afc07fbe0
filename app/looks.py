"""Looks at many keys at once: where they lie close together, one page of a listing costs less than their HEADs (S7, H3).

A listing is a check only as a single page from start-after (M1: MinIO serves continued listings from a snapshot), its age counts from its
sending, and a key is absent only if the page covers it. Whatever is odd about a key or a page is looked at by HEAD.
"""

from __future__ import annotations

import math
import re
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Callable
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from app.errors import MissingObjectError, ObjectError, TransientError
from app.look_costs import PAGE_COST, Costs, Kin
from app.object_store import MAX_LISTED, PageAsked

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

    from app.clock import Clock
    from app.object_store import ListedPage, ObjectInfo, ObjectStore, ReadObject

Borrow = Callable[[int], AbstractContextManager[int]]  # places for so many more requests at once; gives how many there are

AT_ONCE = 16  # HEADs that one look has under way: one after the other, a store 100 ms away answers ten a second
MAX_AGE_SECONDS = 5.0  # a look at the store or at the rows is this old at most when the request that relies on it is signed (S4, H3)
LOOK_SECONDS = MAX_AGE_SECONDS / 2  # a look takes no longer, so that all of it can still be relied on
GUESS = 0.4  # of what is there, how much is asked about, before a page has shown it: more in a page costs less than another page
WORTH = 0.6  # a page is asked for where it may cost this much of the HEADs that it replaces
WASTE = 0.5  # and as long as pages that failed to have not cost this much more in all
# An empty, "." or ".." segment is left to HEAD: stores fold or refuse those, and a listing would show another name.
_SEGMENT = r"(?!\.{1,2}(?:/|\Z))[A-Za-z0-9._-]+"
_PLAIN = re.compile(f"{_SEGMENT}(?:/{_SEGMENT})*").fullmatch


@dataclass(frozen=True, slots=True)
class Looks:
    """What was seen of each key, and when the request for it was sent. A key in neither mapping was not looked at for lack of time."""

    clock: Clock
    found: dict[str, ObjectInfo | None] = field(default_factory=dict)  # None: no object has the key
    failed: dict[str, ObjectError] = field(default_factory=dict)  # denied, encrypted, a bad key ...: neither present nor absent
    read: dict[str, ReadObject] = field(default_factory=dict)  # with their attributes, where those were wanted
    sent_at: dict[str, float] = field(default_factory=dict)  # boot-clock seconds
    trouble: list[TransientError] = field(default_factory=list)  # what ended the look early

    def age(self, key: str) -> float:
        """Seconds since the look at *key* was sent; endless for a key that was not looked at."""
        return self.clock.boot() - self.sent_at.get(key, float("-inf"))

    def fresh(self, *keys: str) -> bool:
        """Whether an act may still rely on the looks at *keys*."""
        return all(self.age(key) <= MAX_AGE_SECONDS for key in keys)

    def complain(self) -> None:
        """Raise what ended the look early: after what was seen has been used, so that a batch of many looks gets on bit by bit."""
        if self.trouble:
            raise self.trouble[0]


@contextmanager
def one_by_one(_wanted: int) -> Iterator[int]:
    """No place for more than one request."""
    yield 0


def look(
    store: ObjectStore,
    keys: Collection[str],
    *,
    clock: Clock,
    seconds: float = LOOK_SECONDS,
    attributes: Collection[str] = (),
    borrow: Borrow = one_by_one,
    costs: Costs | None = None,
) -> Looks:
    """Look at *keys*; after *seconds*, or a request that failed, no further one is sent, and the keys left are in no mapping.

    Listings go first, then HEADs in the order of *keys*: a caller that needs several keys together passes them side by side. Those in
    *attributes* go by HEADs, since a listing shows none. As many HEADs are under way at once as *borrow* gives places for.
    *costs*: what is known of the store, and learns more.

    Raises:
        TransientError: The store did not answer the first request.
    """
    keys = dict.fromkeys(keys)
    end, costs = clock.boot() + seconds, Costs() if costs is None else costs
    looking = _Looking(store, Looks(clock), end=end, credit=0.0, attributes=frozenset(attributes), borrow=borrow, costs=costs)
    try:
        looking.look(keys)
    except TransientError as error:
        if not looking.looks.sent_at:
            raise
        looking.looks.trouble.append(error)
    return looking.looks


@dataclass(frozen=True, slots=True)
class _Sent:
    """A page that was asked for: names at most, when by the boot clock, and how many were sent together."""

    limit: int
    at: float
    together: int = 1


@dataclass(slots=True)
class _Looking:
    """One look under way. *credit*: what listing may still waste, in HEADs. *densities*: of what is there, how much is asked about.

    By where folders lie: the old keys of a batch are scattered over a large folder while their new keys fill small ones.
    """

    store: ObjectStore
    looks: Looks
    end: float
    credit: float
    attributes: frozenset[str]
    borrow: Borrow
    costs: Costs
    densities: dict[Kin, float] = field(default_factory=dict)
    above: dict[str, bool] = field(default_factory=dict)  # keys of folders, and whether they are objects themselves
    above_at: float = math.inf  # when the first of these was asked about
    coming: Sequence[str] = ()  # folders that are still to be listed

    def look(self, keys: Collection[str]) -> None:
        """By listings where they lie close together, then by HEADs in their order."""
        if self.store.capabilities.lists_folders:
            folders: dict[str, list[str]] = defaultdict(list)
            for key in keys:
                if _PLAIN(key) and key not in self.attributes:
                    folders[key[: key.rfind("/") + 1]].append(key)
            self.credit = WASTE * sum(map(len, folders.values()))
            self.list_folders([(folder, sorted(members)) for folder, members in sorted(folders.items(), key=lambda item: -len(item[1]))])
        self.head([key for key in keys if key not in self.looks.sent_at])

    def head(self, keys: Sequence[str]) -> None:
        """Look at each key by a HEAD of its own, several under way at once."""
        start = 0
        while start < len(keys):
            with self.borrow(min(len(keys) - start, AT_ONCE) - 1) as more:
                sent_at = self.looks.clock.boot()
                if sent_at >= self.end and self.looks.sent_at:
                    return
                together = keys[start : start + 1 + more]
                if more:
                    together = together[: max(1, self.store.look_ahead(together, attributes=bool(self.attributes)))]
                try:
                    self._heads(together, sent_at)
                finally:
                    if more:
                        self.store.look_ahead(())  # nobody takes what answers are left
                self.costs.of_heads(self.looks.clock.boot() - sent_at, keys=len(together))
                start += len(together)

    def _heads(self, keys: Sequence[str], sent_at: float) -> None:
        """The answers to HEADs sent together, until they are of no use: a store that refuses some for now makes the others wait."""
        for key in keys:
            if self.looks.clock.boot() - sent_at > MAX_AGE_SECONDS:
                return
            self._head(key, sent_at)

    def _head(self, key: str, sent_at: float) -> None:
        looks = self.looks
        try:
            looks.found[key] = self._stat(key)
        except MissingObjectError:
            looks.found[key] = None
        except ObjectError as error:
            looks.failed[key] = error
        looks.sent_at[key] = sent_at

    def _stat(self, key: str) -> ObjectInfo:
        if not self.attributes:  # else of all, so that those under way together are of one kind
            return self.store.stat(key)
        read = self.looks.read[key] = self.store.head(key)
        return read.info

    def list_folders(self, folders: Sequence[tuple[str, Sequence[str]]]) -> None:
        """Look at the sorted keys of each folder by pages; the first ones of several are under way at once where it is known how dense."""
        start = 0
        while start < len(folders):
            self.coming = [folder for folder, _ in folders[start:]]
            with self.borrow(min(len(folders) - start, AT_ONCE) - 1) as more:
                pages = self._askable(folders[start : start + 1 + more]) if more else []
                sent_at = self.looks.clock.boot()
                begun = self.store.list_ahead(pages) if len(pages) > 1 else 0
                try:
                    for number, (folder, keys) in enumerate(folders[start : start + max(1, begun)]):
                        self.list_folder(folder, keys, _Sent(pages[number].limit, sent_at, begun) if begun else None)
                finally:
                    if begun:
                        self.store.list_ahead(())  # nobody takes what answers are left
            start += max(1, begun)

    def _askable(self, folders: Sequence[tuple[str, Sequence[str]]]) -> list[PageAsked]:
        """The pages of the first of *folders* that may be asked for together: those that pay even if all before them are waste."""
        pages: list[PageAsked] = []
        credit = self.credit
        for folder, keys in folders:
            kin = _kin(folder)
            limit, cost = self._page_of(kin, keys)
            if kin not in self.densities or not self._pays(kin, limit, cost, credit):
                break
            credit -= cost
            pages.append(PageAsked(folder, before(keys[0]), limit=limit))
        return pages

    def _page_of(self, kin: Kin, keys: Sequence[str]) -> tuple[int, float]:
        """How many names to ask for, to see *keys*, and what such a page costs, in HEADs."""
        limit = min(MAX_LISTED, math.ceil(len(keys) / self.densities.get(kin, GUESS)))
        return limit, PAGE_COST + limit * self.costs.listed(kin)

    def _pays(self, kin: Kin, limit: int, cost: float, credit: float) -> bool:
        return cost <= min(WORTH * limit * self.densities.get(kin, GUESS), credit)

    def list_folder(self, folder: str, keys: Sequence[str], first: _Sent | None) -> None:
        """Look at the sorted *keys* of one folder by pages, as long as that is cheaper than HEADs; the *first* may be sent already."""
        kin = _kin(folder)
        while keys:
            limit, cost = self._page_of(kin, keys)
            sent = first or _Sent(limit, self.looks.clock.boot())
            if first is None and (not self._pays(kin, limit, cost, self.credit) or sent.at >= self.end):
                self.costs.of_none(kin)
                return
            first = None
            page = self._page(folder, before(keys[0]), sent.limit)
            if page is None:
                return
            self.costs.of_page(kin, (self.looks.clock.boot() - sent.at) / sent.together, keys=len(page.objects))
            # A store that lists by folders shows `a/` where `a` would be, before `a-`.
            end = page.last if self.store.capabilities.ordered_listing else page.last_object
            covered = [key for key in keys if not page.truncated or (end is not None and key <= end)]
            seen = {info.key: info for info in page.objects}
            lacks_some = any(key not in seen for key in covered)
            if lacks_some and self.hides(folder):
                return  # what the page lacks may be there all the same
            self.looks.found.update({key: seen.get(key) for key in covered})
            self.looks.sent_at.update(dict.fromkeys(covered, min(sent.at, self.above_at) if lacks_some else sent.at))
            self.credit -= max(cost - len(covered), 0.0)
            if not covered:
                return
            # Up to the last key that was asked about: what lies behind it says nothing.
            passed = bisect_right([info.key for info in page.objects], covered[-1])
            self.densities[kin] = len(covered) / max(len(covered), passed)
            keys = keys[len(covered) :]

    def hides(self, folder: str) -> bool:
        """Whether listings of *folder* may hide what is in it, since it lies below an object: MinIO's do."""
        if self.store.capabilities.lists_below_objects:
            return False
        above = _above(folder)
        lacking = [key for key in above if key not in self.above]
        if lacking:
            self._ask_above(lacking)
        return any(self.above[key] for key in above)

    def _ask_above(self, lacking: Sequence[str]) -> None:
        """See whether objects have the keys *lacking*, and at the same time what will be asked next if there is room for more requests."""
        others = [key for folder in self.coming for key in _above(folder) if key not in self.above]
        wanted = list(dict.fromkeys([*lacking, *others]))[:AT_ONCE]
        with self.borrow(len(wanted) - 1) as more:
            self.above_at = min(self.above_at, self.looks.clock.boot())
            together = wanted[: max(1, self.store.look_ahead(wanted[: 1 + more]))] if more else ()
            try:
                for key in dict.fromkeys([*together, *lacking]):
                    self.above[key] = self._is_object(key)
            finally:
                if more:
                    self.store.look_ahead(())  # nobody takes what answers are left

    def _is_object(self, key: str) -> bool:
        """Whether an object has the key, or may have."""
        self.credit -= 1.0
        try:
            self.store.stat(key)
        except MissingObjectError:
            return False
        except ObjectError:  # neither present nor absent
            return True
        return True

    def _page(self, folder: str, start_after: str, limit: int) -> ListedPage | None:
        """The page, or None where there is none to rely on."""
        try:
            page = self.store.list_page(prefix=folder, start_after=start_after, limit=limit)
        except ObjectError:  # listing may be denied where a HEAD is not (CASES 15)
            self.credit = 0.0
            return None
        return page if _is_sound(page, folder, start_after) else None


def _above(folder: str) -> list[str]:
    """The keys of *folder* and of those that it lies in: ``a/b/`` gives ``a`` and ``a/b``."""
    return [folder[:at] for at, letter in enumerate(folder) if letter == "/"]


def _kin(folder: str) -> Kin:
    return folder[: folder.find("/") + 1], folder.count("/")


def before(key: str) -> str:
    """A string just before *key* that no object of the usual letters lies behind: its own pages start there, not at its elder siblings.

    ``a/12`` gives ``a/11~~``: from ``a/1`` on, a page would first show ``a/10...`` and ``a/11...``. The slash is left out, since from
    there on a store would have to show a folder it has passed.
    """
    head, last = key[:-1], ord(key[-1]) - 1
    return f"{head}{chr(last - 1 if chr(last) == '/' else last)}~~"


def _is_sound(page: ListedPage, folder: str, start_after: str) -> bool:
    """Whether the page keeps what the probe promised: ascending keys of this folder, all after the start."""
    previous = start_after
    for info in page.objects:
        if info.key <= previous or not info.key.startswith(folder):
            return False
        previous = info.key
    return True
