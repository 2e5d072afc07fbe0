"""Two buckets of one endpoint as one object store: each key has its place by ``app.placing`` (REKEY_TARGET_BUCKET).

The endpoint itself copies between them. What has no right place in its bucket by the rule is not to be seen.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from itertools import pairwise
from typing import Protocol, TypeVar

from app.errors import ObjectError, TransientError, UnansweredError, UsageError
from app.fidelity import Fate
from app.folding import folds_of
from app.gauge import Reading
from app.object_keys import Equivalence
from app.object_store import (
    MAX_LISTED,
    Capabilities,
    Condition,
    Deadline,
    ListedPage,
    ObjectAttributes,
    ObjectInfo,
    ObjectStore,
    Packed,
    PageAsked,
    ReadObject,
    Writing,
)
from app.placing import Placing, Where
from app.probe import ProbedStore, probe

_Begun = TypeVar("_Begun", str, PageAsked)

# What is so only where it is so of both; of what is left, the source bucket's counts: its deletes and its versions are what a run is about.
_BOTH = frozenset(item.name for item in fields(Capabilities)) - {"versioning", "pins_version", "guesses_type", "fidelity"}
_FOLDS = frozenset(name for name in _BOTH if name.startswith("folds_"))


class OneBucket(ProbedStore, Protocol):
    """One of the two: it can copy from the other."""

    capabilities: Capabilities  # may be set, other than the port's

    def path(self, key: str) -> str:
        """What x-amz-copy-source calls the object."""

    def begin_copy_from(
        self, path: str, source: ObjectInfo, key: str, *, condition: Condition | None, deadline: Deadline, headers: Mapping[str, str] | None
    ) -> Writing:
        """``begin_copy`` of what the other bucket calls *path*."""

    def copy_part_from(
        self, path: str, upload_id: str, key: str, number: int, source: ObjectInfo, *, first: int, last: int, deadline: Deadline
    ) -> str:
        """``copy_part`` of that."""

    def bucket_exists(self) -> bool:
        """Whether the bucket is there."""

    def close(self) -> None:
        """Close the connections."""


class Places(Protocol):
    """Where keys lie: ``app.placing.Placing``, or a trial's."""

    def in_target(self, key: str) -> bool:
        """Whether the key's object lies in the target bucket."""

    def children(self, prefix: str) -> Where:
        """Where what lies directly in a folder lies."""


class TwoBuckets:
    """A source and a target bucket, as ``app.object_store.ObjectStore`` describes one; safe for threads."""

    def __init__(self, source: OneBucket, target: OneBucket, places: Places) -> None:
        """Both are closed with this store."""
        self.source = source
        self.target = target
        self._places = places
        self._capabilities: Capabilities | None = None

    def __repr__(self) -> str:
        return f"TwoBuckets({self.source} and {self.target})"

    @property
    def capabilities(self) -> Capabilities:
        """What holds for both buckets."""
        if self._capabilities is None:
            raise UsageError("the S3 endpoint has not been probed")
        return self._capabilities

    @capabilities.setter
    def capabilities(self, value: Capabilities) -> None:
        self._capabilities = self.source.capabilities = self.target.capabilities = value
        if isinstance(self._places, Placing):
            self._places = replace(self._places, equivalence=Equivalence.of(value))

    def close(self) -> None:
        """Close the connections."""
        self.source.close()
        self.target.close()

    def reading(self) -> Reading:
        """How the endpoint has answered for both."""
        return self.source.reading() + self.target.reading()

    def store_time(self) -> int:
        """UTC seconds by the endpoint's clock."""
        return self.source.store_time()

    def stat(self, key: str) -> ObjectInfo:
        """HEAD."""
        return self._of(key).stat(key)

    def head(self, key: str) -> ReadObject:
        """HEAD, with the attributes that a write can carry on."""
        return self._of(key).head(key)

    def look_ahead(self, keys: Sequence[str], *, attributes: bool = False) -> int:
        """Send HEADs to each bucket."""
        return self._ahead(keys, self._of, lambda store, mine: store.look_ahead(mine, attributes=attributes))

    def list_ahead(self, pages: Sequence[PageAsked]) -> int:
        """Begin those whose folders lie in one bucket; a page of both is asked for when it is listed."""
        stores = {Where.SOURCE: self.source, Where.TARGET: self.target}

        def of(page: PageAsked) -> OneBucket | None:
            return stores.get(self._places.children(page.prefix)) if page.delimiter else None

        return self._ahead(pages, of, lambda store, mine: store.list_ahead(mine))

    def _ahead(
        self, asked: Sequence[_Begun], of: Callable[[_Begun], OneBucket | None], begin: Callable[[OneBucket, Sequence[_Begun]], int]
    ) -> int:
        """Let each bucket's store *begin* with those that are *of* it; gives how many of *asked* are asked for in a row."""
        begun: set[_Begun] = set()
        for store in (self.source, self.target):
            mine = [one for one in asked if of(one) is store]
            begun.update(mine[: begin(store, mine)])
        return next((number for number, one in enumerate(asked) if one not in begun), len(asked))

    def read_ahead(self, keys: Sequence[str]) -> int:
        """Send GETs to each bucket."""
        return self._ahead(keys, self._of, lambda store, mine: store.read_ahead(mine))

    def read(self, key: str, *, max_bytes: int, admit: Callable[[int], None] = lambda _bytes: None) -> ReadObject:
        """GET."""
        return self._of(key).read(key, max_bytes=max_bytes, admit=admit)

    def read_range(self, info: ObjectInfo, *, first: int, last: int, admit: Callable[[int], None] = lambda _bytes: None) -> bytes:
        """GET of some bytes of exactly *info*."""
        return self._of(info.key).read_range(info, first=first, last=last, admit=admit)

    def is_public(self, key: str) -> bool:
        """Whether a HEAD without credentials finds the object."""
        return self._of(key).is_public(key)

    def tags(self, key: str) -> str:
        """The object's tags."""
        return self._of(key).tags(key)

    def part_size(self, info: ObjectInfo, number: int) -> int | None:
        """Bytes of one part of exactly *info*."""
        return self._of(info.key).part_size(info, number)

    def acl(self, key: str) -> Mapping[str, str]:
        """Who besides its owner may do what with the object."""
        return self._of(key).acl(key)

    def list_page(self, *, prefix: str, start_after: str, delimiter: str = "/", limit: int = MAX_LISTED) -> ListedPage:
        """One page of what has its right place: of a folder's own bucket, or of both, in one order."""
        where = Where.BOTH if not delimiter else self._places.children(prefix)
        if where is not Where.BOTH:
            store = self.target if where is Where.TARGET else self.source
            return store.list_page(prefix=prefix, start_after=start_after, delimiter=delimiter, limit=limit)
        asked = _Asked(prefix, delimiter, limit)
        seen = self._capabilities
        if seen is not None and not (seen.ordered_listing or (delimiter and seen.ordered_folders)):
            return self._one_after_the_other(asked, start_after)
        return self._merged(asked, start_after)

    def put(self, key: str, body: bytes, attributes: ObjectAttributes, *, condition: Condition | None, deadline: Deadline) -> ObjectInfo:
        """PUT."""
        return self._of(key).put(key, body, attributes, condition=condition, deadline=deadline)

    def copy(
        self, source: ObjectInfo, key: str, *, condition: Condition | None, deadline: Deadline, headers: Mapping[str, str] | None = None
    ) -> ObjectInfo:
        """CopyObject of exactly *source*, from its bucket into that of *key*."""
        return self.begin_copy(source, key, condition=condition, deadline=deadline, headers=headers).result()

    def begin_put(self, key: str, body: bytes, attributes: ObjectAttributes, *, condition: Condition | None, deadline: Deadline) -> Writing:
        """A PUT whose answer is taken later."""
        return self._of(key).begin_put(key, body, attributes, condition=condition, deadline=deadline)

    def begin_copy(
        self, source: ObjectInfo, key: str, *, condition: Condition | None, deadline: Deadline, headers: Mapping[str, str] | None = None
    ) -> Writing:
        """A CopyObject whose answer is taken later."""
        path = self._of(source.key).path(source.key)
        return self._of(key).begin_copy_from(path, source, key, condition=condition, deadline=deadline, headers=headers)

    def put_snowball(self, name: str, objects: Sequence[Packed], *, deadline: Deadline) -> Sequence[ObjectInfo]:
        """One PUT of a tar file, to the bucket that all of *objects* lie in."""
        (store,) = {self._of(one.key) for one in objects}
        return store.put_snowball(name, objects, deadline=deadline)

    def create_upload(self, key: str, attributes: ObjectAttributes, *, deadline: Deadline) -> str:
        """Start a multipart upload."""
        return self._of(key).create_upload(key, attributes, deadline=deadline)

    def copy_part(self, upload_id: str, key: str, number: int, source: ObjectInfo, *, first: int, last: int, deadline: Deadline) -> str:
        """UploadPartCopy from the source's bucket."""
        path = self._of(source.key).path(source.key)
        return self._of(key).copy_part_from(path, upload_id, key, number, source, first=first, last=last, deadline=deadline)

    def put_part(self, upload_id: str, key: str, number: int, body: bytes, *, deadline: Deadline) -> str:
        """UploadPart."""
        return self._of(key).put_part(upload_id, key, number, body, deadline=deadline)

    def complete_upload(self, upload_id: str, key: str, etags: Sequence[str], *, condition: Condition | None, deadline: Deadline) -> str:
        """CompleteMultipartUpload."""
        return self._of(key).complete_upload(upload_id, key, etags, condition=condition, deadline=deadline)

    def abort_upload(self, upload_id: str, key: str) -> None:
        """Give up a multipart upload."""
        self._of(key).abort_upload(upload_id, key)

    def delete(
        self, objects: Sequence[ObjectInfo], *, deadline: Deadline, still: Callable[[], bool] = lambda: True
    ) -> Mapping[str, ObjectError | None]:
        """DeleteObjects, a request for each bucket that has some."""
        results: dict[str, ObjectError | None] = {}
        for store in (self.source, self.target):
            chosen = [info for info in objects if self._of(info.key) is store]
            try:
                results.update(store.delete(chosen, deadline=deadline, still=still) if chosen else {})
            except ObjectError as error:  # the one bucket's refusal says nothing of the other
                results.update({info.key: error for info in chosen})
            except TransientError as error:
                if results:
                    raise UnansweredError(f"{len(results)} of {len(objects)} deleted or refused, then: {error}") from error
                raise
        return results

    def release_hold(self, key: str) -> None:
        """End the legal hold of a throw-away object."""
        self._of(key).release_hold(key)

    def is_versioned(self) -> bool:
        """Whether a DELETE in the target bucket leaves a marker (a probe asks with each bucket as the target)."""
        return self.target.is_versioned()

    def put_expired(self, key: str, body: bytes) -> None:
        """Send a PUT whose signature has ended."""
        self._of(key).put_expired(key, body)

    def delete_expired(self, info: ObjectInfo) -> None:
        """Send a DeleteObjects whose signature has ended."""
        self._of(info.key).delete_expired(info)

    def _of(self, key: str) -> OneBucket:
        return self.target if self._places.in_target(key) else self.source

    def _merged(self, asked: _Asked, start_after: str) -> ListedPage:
        """What both list, in byte order, as far as the shorter of the two pages goes; by folders: up to its last object."""
        while True:
            pages = [asked.page(store, start_after) for store in (self.source, self.target)]
            by_object = self._capabilities is not None and not self._capabilities.ordered_listing
            ends = [(page.last_object if by_object else page.last) or "" for page in pages if page.truncated]
            end = min(ends, default=None)
            seen = [(store, info) for store, page in zip((self.source, self.target), pages, strict=True) for info in page.objects]
            mine = [info for store, info in seen if self._of(info.key) is store and (end is None or info.key <= end)]
            if all(_ascends(page) for page in pages):  # else whoever relies on the order is to see that there is none
                mine.sort(key=lambda info: info.key)
            last = end if end is not None else max((page.last for page in pages if page.last is not None), default=None)
            if mine or end is None or end <= start_after:
                return ListedPage(objects=mine, truncated=end is not None, last=last)
            start_after = end

    def _one_after_the_other(self, asked: _Asked, start_after: str) -> ListedPage:
        """The source's objects and then the target's: for listings whose order is the store's own."""
        if not start_after or not self._places.in_target(start_after):
            found = self._next(self.source, asked, start_after)
            if found is not None:
                return replace(found, truncated=True)
            start_after = ""
        found = self._next(self.target, asked, start_after)
        return found if found is not None else ListedPage(objects=[], truncated=False, last=None)

    def _next(self, store: OneBucket, asked: _Asked, start_after: str) -> ListedPage | None:
        """The next page of one bucket with something on it that has its right place there."""
        for page in asked.pages(store, start_after):
            mine = [info for info in page.objects if self._of(info.key) is store]
            if mine:
                return ListedPage(objects=mine, truncated=page.truncated, last=mine[-1].key)
        return None


@dataclass(frozen=True, slots=True)
class _Asked:
    """What a listing is to show."""

    prefix: str
    delimiter: str
    limit: int

    def page(self, store: OneBucket, start_after: str) -> ListedPage:
        """One page of one bucket."""
        return store.list_page(prefix=self.prefix, start_after=start_after, delimiter=self.delimiter, limit=self.limit)

    def pages(self, store: OneBucket, start_after: str) -> Iterator[ListedPage]:
        """All pages of one bucket."""
        while True:
            page = self.page(store, start_after)
            yield page
            if not page.truncated or page.last is None or page.last == start_after:
                return
            start_after = page.last


@dataclass(frozen=True, slots=True)
class _Trial:
    """A probe's places: it writes into the target bucket, and copies there what lies in the source bucket."""

    def in_target(self, key: str) -> bool:
        """All but the object that is copied."""
        return not key.endswith("/source")

    def children(self, prefix: str) -> Where:  # noqa: ARG002 - the same for all
        """Only what was written is listed."""
        return Where.TARGET


def probe_both(store: TwoBuckets) -> Capabilities:
    """Try each bucket with copies from the other: what a run and its rollback can rely on. Raises as ``probe``."""
    into_target = probe(TwoBuckets(store.source, store.target, _Trial()))
    into_source = probe(TwoBuckets(store.target, store.source, _Trial()))
    differ = [name for name in _FOLDS if getattr(into_target, name) != getattr(into_source, name)]
    if differ:
        raise UsageError(f"REKEY_TARGET_BUCKET: the two buckets do not take the same keys for one object ({', '.join(sorted(differ))})")
    both = {name: getattr(into_target, name) and getattr(into_source, name) for name in _BOTH}
    ways = into_target.fidelity.keys() | into_source.fidelity.keys()
    fates = {way: _worse(into_target.fidelity.get(way, {}), into_source.fidelity.get(way, {})) for way in sorted(ways)}
    return replace(into_source, **both, fidelity=fates)


def seen_folds(store: ObjectStore) -> Equivalence:
    """``folds_of`` for a store that may be two buckets: an object of either may show a fold."""
    if not isinstance(store, TwoBuckets):
        return folds_of(store)
    one, other = folds_of(store.source), folds_of(store.target)
    return Equivalence(**{item.name: getattr(one, item.name) or getattr(other, item.name) for item in fields(Equivalence)})


def _worse(one: Mapping[str, str], other: Mapping[str, str]) -> dict[str, str]:
    """What is to be counted on of each attribute, whichever way a copy goes."""
    return {name: _less(one.get(name), other.get(name)) for name in sorted(one.keys() | other.keys())}


def _less(one: str | None, other: str | None) -> str:
    fates = {fate for fate in (one, other) if fate is not None}
    if len(fates) == 1:
        return next(iter(fates))
    if Fate.ABSENT in fates:  # what objects of the one bucket can have, and those of the other cannot
        return Fate.LOST
    return next(str(fate) for fate in (Fate.LOST, Fate.DENIED, Fate.UNSEEN, Fate.SENT) if fate in fates)


def _ascends(page: ListedPage) -> bool:
    keys = [info.key for info in page.objects]
    return all(first < second for first, second in pairwise(keys))
