"""What the bucket holds at many keys, asked in their order: by one listing of it all, where that costs less than a HEAD a key.

Pages are asked for from start-after, never by a continuation token (M1: MinIO serves those from a snapshot). Where the keys lie far
apart in a much larger bucket, or the store lists in another order, the keys are looked at by HEADs, several at once.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from types import TracebackType
from typing import Self

from app.errors import DeniedError, MissingObjectError, ObjectError, RekeyError
from app.looks import before
from app.object_store import ListedPage, ObjectInfo, ObjectStore, ReadObject
from app.plan.patience import patiently

HEADS_AT_ONCE = 16
HEADS_A_PAGE = 80  # a page of 1000 keys costs about so many HEADs (FACTS.md: 0.3 ms a HEAD, 0.03 ms a listed key)
SPARE_PAGES = 500  # listed in any case, so that the objects without a row are counted in a small bucket
VERIFIED = 1000  # so many keys that a listing lacks are looked at by HEAD: it may be incomplete
OWN_FOLDER = ".rekey/"  # the journal, and what a probe may have left
_OWN_END = ".rekey0"  # the first string behind it
SETTLED_SECONDS = 60  # an object older than this should have been in the listing

Seen = ObjectInfo | ObjectError | None  # None: no object has the key


class ListingUnsoundError(RekeyError):
    """The listing is not in key order, or lacks what is there."""


class BucketWalk:
    """One walk through a bucket: ``find`` is called with ascending keys, each call beyond the one before."""

    def __init__(self, store: ObjectStore, *, by_listing: bool, keys: int) -> None:
        """Walk for about *keys* keys; *by_listing* False: by HEADs alone."""
        self._store = store
        self._threads = ThreadPoolExecutor(HEADS_AT_ONCE)
        self._spare = SPARE_PAGES + keys // HEADS_A_PAGE
        self._started_at = store.store_time()
        self._page: ListedPage | None = None
        self._ahead: Future[ListedPage] | None = None
        self._at = 0  # of the page's objects: the first that was not passed
        self._last: tuple[str, Seen] | None = None
        self._step = HEADS_A_PAGE  # HEADs to send before a listing is tried again
        self._verified = 0
        self.by_listing = by_listing
        self.whole = by_listing  # every object so far was on a page
        self.pages = 0
        self.heads = 0
        self.listed = 0
        self.unwanted = 0  # objects listed whose keys nobody asked for

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._threads.shutdown(cancel_futures=True)

    def find(self, keys: Sequence[str]) -> dict[str, Seen]:
        """What is at each of the ascending *keys*; the first may be the last of the call before.

        Raises:
            ListingUnsoundError: The listing cannot be relied on.
        """
        found: dict[str, Seen] = {}
        number = 0
        if keys and self._last is not None and self._last[0] == keys[0]:
            found[keys[0]] = self._last[1]
            number = 1
        while number < len(keys):
            if self._covers(keys[number]):
                found[keys[number]] = self._pass(keys[number])
                number += 1
            elif self.whole:
                self._next_page()
            else:
                number += self._apart(keys[number:], found)
        if keys:
            self._last = (keys[-1], found[keys[-1]])
        return found

    def verify(self, keys: Sequence[str]) -> dict[str, Seen]:
        """What HEADs say of *keys* that the listing lacks, as far as VERIFIED goes.

        Raises:
            ListingUnsoundError: An object that is not new is there after all.
        """
        if not self.by_listing:
            return {}
        asked = keys[: max(0, VERIFIED - self._verified)]
        self._verified += len(asked)
        found = self.look(asked)
        old = [seen for seen in found.values() if isinstance(seen, ObjectInfo)]
        if any(seen.last_modified < self._started_at - SETTLED_SECONDS for seen in old):
            raise ListingUnsoundError("the listing lacks objects that are there")
        return found

    def finish(self) -> None:
        """List to the end, so that the objects behind the last key are counted too; as far as that is worth it."""
        while self.whole:
            if self._page is not None:
                self.unwanted += len(self._page.objects) - self._at
                self._at = len(self._page.objects)
                if not self._page.truncated:
                    return
            self._next_page()

    def look(self, keys: Collection[str]) -> dict[str, Seen]:
        """HEADs of *keys*, several at once."""
        self.heads += len(keys)
        return dict(zip(keys, self._threads.map(self._head, keys), strict=True))

    def read(self, keys: Collection[str]) -> dict[str, ReadObject | ObjectError]:
        """The attributes of the objects at *keys*, by GETs that take no body."""
        return dict(zip(keys, self._threads.map(self._attributes, keys), strict=True))

    def _covers(self, key: str) -> bool:
        page = self._page
        return page is not None and (not page.truncated or (page.last is not None and key <= page.last))

    def _pass(self, key: str) -> ObjectInfo | None:
        """Go on to *key* on the page; what lies before it was not asked for."""
        objects = self._page.objects if self._page is not None else ()
        at = self._at
        while at < len(objects) and objects[at].key < key:
            at += 1
        self.unwanted += at - self._at
        there = at < len(objects) and objects[at].key == key
        self._at = at + there
        return objects[at] if there else None

    def _next_page(self) -> None:
        """The page after this one, asked for already; and the one after that is asked for now."""
        if self.pages >= self._spare:
            self.whole = False
            return
        if self._page is not None:
            self.unwanted += len(self._page.objects) - self._at
        start = (self._page.last or "") if self._page is not None else ""
        page = self._ahead.result() if self._ahead is not None else self._listing(start)
        self._ahead = None
        if page is not None:
            self._take(page, start)
            if page.truncated and page.last is not None:
                self._ahead = self._threads.submit(self._list, page.last)

    def _apart(self, keys: Sequence[str], found: dict[str, Seen]) -> int:
        """Look at the next of *keys*, which may lie far apart: by a page where that shows many of them, else by HEADs; how many."""
        self._ahead = None
        if self.by_listing and len(keys) >= HEADS_A_PAGE:
            start = before(keys[0]) if keys[0][-1].isascii() and keys[0][-1].isalnum() else keys[0][:-1]
            page = self._listing(start)
            if page is not None:
                self._take(page, start)
                if self._covers(keys[HEADS_A_PAGE - 1]):
                    self._step = HEADS_A_PAGE
                    return 0
        asked = keys[: self._step if self.by_listing else len(keys)]
        self._step *= 2
        found.update(self.look(asked))
        return len(asked)

    def _listing(self, start: str) -> ListedPage | None:
        try:
            return self._list(start)
        except DeniedError:  # a HEAD may be allowed where a listing is not (CASES 15)
            self.by_listing = self.whole = False
            return None

    def _list(self, start: str) -> ListedPage:
        return patiently(lambda: self._store.list_page(prefix="", start_after=start, delimiter=""))

    def _take(self, page: ListedPage, start: str) -> None:
        """Make *page* the one at hand."""
        self.pages += 1
        previous = start
        for info in page.objects:
            if info.key <= previous:
                raise ListingUnsoundError("the listing is not in the order of the keys")
            previous = info.key
        if page.truncated and (page.last is None or page.last <= start):
            raise ListingUnsoundError("the listing does not go on")
        if start < _OWN_END and page.objects and page.objects[0].key < _OWN_END:  # our own: no row ever names it
            page = replace(page, objects=[info for info in page.objects if not info.key.startswith(OWN_FOLDER)])
        self.listed += len(page.objects)
        self._page, self._at = page, 0

    def _head(self, key: str) -> Seen:
        try:
            return patiently(lambda: self._store.stat(key))
        except MissingObjectError:
            return None
        except ObjectError as error:
            return error

    def _attributes(self, key: str) -> ReadObject | ObjectError:
        try:
            return patiently(lambda: self._store.read(key, max_bytes=0))
        except ObjectError as error:
            return error
