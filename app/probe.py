"""What an endpoint honours, seen by trying it on throw-away objects (never assumed from its name).

Each capability is tested by its effect: a condition counts as honoured only if the request that should fail failed *and* changed nothing,
and the one that should succeed did.
"""

from __future__ import annotations

import secrets
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Protocol

from app.errors import (
    ConditionFailedError,
    DeniedError,
    ExpiredRequestError,
    MissingObjectError,
    ObjectError,
    ProofError,
    RekeyError,
    UnansweredError,
)
from app.fidelity_probe import PLAIN_HEADERS, TriedStore, probe_fidelity
from app.key_values import RESERVED_PREFIX
from app.object_store import (
    Capabilities,
    Condition,
    IfAbsent,
    IfMatch,
    ObjectAttributes,
    ObjectInfo,
    Packed,
    Seconds,
)

if TYPE_CHECKING:
    from collections.abc import Callable

_LEASE = Seconds(60.0)  # nobody else knows the throw-away keys
OTHER_ETAG = "0" * 32
_OLD, _NEW = b"old", b"newer"
_UNKNOWN = b"\x00\xff\x01\xfe"  # of no type that a store could tell by looking at it
_ATTRIBUTES = ObjectAttributes(headers={"content-type": "text/x-probe"})
# A plain name, one of more than ASCII, one too long for the field that a tar file has for names.
_IN_SNOWBALL = ("rolled/p-1", "rolled/caf\u00e9 2", f"rolled/{110 * 'p'}")
# The trap of stores that list a tree of folders: byte by byte "p-b" < "p.b" < "p/x" < "p0", folder by folder "p/x" comes first.
_LISTED = ("P", "_p", "p-b", "p.b", "p/x", "p/y/z", "p0", "q")


class ProbedStore(TriedStore, Protocol):
    """The port, and what only a probe asks. An unprobed store sends ETags with its deletes."""

    def is_versioned(self) -> bool:
        """Whether a DELETE leaves a marker."""

    def put_expired(self, key: str, body: bytes) -> None:
        """A PUT whose query signature has ended; raises what the store says."""

    def delete_expired(self, info: ObjectInfo) -> None:
        """A DeleteObjects whose query signature has ended; raises what the store says."""


def probe(store: ProbedStore, *, prefix: str | None = None) -> Capabilities:
    """Try everything below *prefix* (a random one below ``.rekey/`` by default) and clean up.

    Raises ProofError where a copy does not arrive (a proxy that drops x-amz-copy-source: CASES 8), DeniedError where the credentials lack
    a right that every run needs, and the TransientErrors of the store.
    """
    trial = _Trial(store, prefix or f"{RESERVED_PREFIX}probe-{secrets.token_hex(8)}/")
    try:
        return trial.run()
    finally:
        trial.clean_up()


def see_readable(store: ProbedStore, prefix: str) -> None:
    """See on a throw-away object below *prefix* that what is written there can be read: a HEAD does not show that (case 8).

    Raises:
        DeniedError and what the store says: It cannot.
    """
    key, lease = f"{prefix}{RESERVED_PREFIX}readable-{secrets.token_hex(8)}", _LEASE
    written = store.put(key, _NEW, _ATTRIBUTES, condition=None, deadline=lease)
    try:
        if store.read(key, max_bytes=1024).body != _NEW:
            raise ProofError(key, "what was written there is not what a GET gives")
    finally:
        with suppress(RekeyError):
            store.delete([written], deadline=lease)


class _Trial:
    """One probe: its objects and its questions."""

    def __init__(self, store: ProbedStore, prefix: str) -> None:
        self._store = store
        self._prefix = prefix
        self._keys: dict[str, None] = {}
        self._lease = _LEASE
        self._source = self._write("source", _NEW)

    def run(self) -> Capabilities:
        """Ask everything."""
        self._see_a_copy()
        self._see_an_absence()
        ordered, ordered_folders = self._lists_in_order()
        return Capabilities(
            put_if_absent=self._honours_absent("put", self._put),
            put_if_match=self._honours_match("put", self._put),
            copy_if_absent=self._honours_absent("copy", self._copy),
            copy_if_match=self._honours_match("copy", self._copy),
            copy_source_if_match=self._honours_source_match(),
            complete_if_absent=self._honours_absent("complete", self._upload),
            complete_if_match=self._honours_match("complete", self._upload),
            delete_if_match=self._honours_delete_match("delete") and self._honours_delete_match("delete\x10alone"),
            query_signed_expiry=self._honours_expiry(),
            ordered_listing=ordered,
            ordered_folders=ordered_folders,
            folds_leading_slash=self._same("lead", f"/{self._prefix}lead"),
            folds_double_slash=self._same("double/x", f"{self._prefix}double//x"),
            folds_backslash=self._same("back/x", f"{self._prefix}back\\x"),
            folds_case=self._same("Case", f"{self._prefix}cASE"),
            folds_dots=self._same("dots/x", f"{self._prefix}dots/./x"),
            folds_unicode=self._same("caf\u00e9", f"{self._prefix}cafe\u0301"),
            lists_below_objects=self._lists_below_objects(),
            versioning=self._is_versioned(),
            pins_version=self._pins_version(),
            takes_snowballs=self._takes_snowballs(),
            guesses_type=self._guesses_type(),
            fidelity=probe_fidelity(self._store, self._key, lease=self._lease),
        )

    def clean_up(self) -> None:
        """Remove what is left, in the reverse order so that folders empty before they go."""
        for key in reversed(self._keys):
            with suppress(RekeyError):
                self._store.delete([self._store.stat(key)], deadline=self._lease)

    def _key(self, name: str) -> str:
        key = self._prefix + name
        self._keys[key] = None
        return key

    def _write(self, name: str, body: bytes) -> ObjectInfo:
        return self._store.put(self._key(name), body, _ATTRIBUTES, condition=None, deadline=self._lease)

    def _body(self, name: str) -> bytes | None:
        try:
            return self._store.read(self._key(name), max_bytes=1024).body
        except MissingObjectError:
            return None

    def _put(self, name: str, condition: Condition | None) -> None:
        self._store.put(self._key(name), _NEW, _ATTRIBUTES, condition=condition, deadline=self._lease)

    def _copy(self, name: str, condition: Condition | None) -> None:
        self._store.copy(self._source, self._key(name), condition=condition, deadline=self._lease)

    def _upload(self, name: str, condition: Condition | None) -> None:
        key = self._key(name)
        upload = self._store.create_upload(key, _ATTRIBUTES, deadline=self._lease)
        try:
            etag = self._store.copy_part(upload, key, 1, self._source, first=0, last=len(_NEW) - 1, deadline=self._lease)
            self._store.complete_upload(upload, key, [etag], condition=condition, deadline=self._lease)
        except BaseException:
            self._store.abort_upload(upload, key)
            raise

    def _see_a_copy(self) -> None:
        self._copy("copied", None)
        if self._body("copied") != _NEW:
            raise ProofError(self._key("copied"), "CopyObject does not copy: does a proxy drop x-amz-copy-source?")

    def _see_an_absence(self) -> None:
        """A web server before the store that answers 200 with a page of its own would have us copy that page (case 8)."""
        absent = self._key("absent")
        if _succeeds(lambda: self._store.read(absent, max_bytes=0)):
            raise ProofError(absent, "a GET of a key that no object has is answered with an object")
        if _succeeds(
            lambda: self._store.copy(replace(self._source, key=absent), self._key("of-absent"), condition=None, deadline=self._lease)
        ):
            raise ProofError(absent, "a copy of a key that no object has is answered as a success")

    def _honours_absent(self, kind: str, write: Callable[[str, Condition | None], None]) -> bool:
        self._write(f"{kind}-taken", _OLD)
        return (
            _succeeds(lambda: write(f"{kind}-free", IfAbsent()))
            and self._body(f"{kind}-free") == _NEW
            and _fails(lambda: write(f"{kind}-taken", IfAbsent()))
            and self._body(f"{kind}-taken") == _OLD
        )

    def _honours_match(self, kind: str, write: Callable[[str, Condition | None], None]) -> bool:
        written = self._write(f"{kind}-match", _OLD)
        return (
            _fails(lambda: write(f"{kind}-match", IfMatch(OTHER_ETAG)))
            and self._body(f"{kind}-match") == _OLD
            and _fails(lambda: write(f"{kind}-none", IfMatch(written.etag)))
            and self._body(f"{kind}-none") is None
            and _succeeds(lambda: write(f"{kind}-match", IfMatch(written.etag)))
            and self._body(f"{kind}-match") == _NEW
        )

    def _honours_source_match(self) -> bool:
        other = ObjectInfo(key=self._source.key, etag=OTHER_ETAG, size=self._source.size, last_modified=self._source.last_modified)
        key = self._key("source-match")
        return _fails(lambda: self._store.copy(other, key, condition=None, deadline=self._lease)) and self._body("source-match") is None

    def _honours_delete_match(self, name: str) -> bool:
        try:
            written = self._write(name, _OLD)
        except ObjectError:
            return True  # the store takes no such key: none is ever deleted alone
        other = ObjectInfo(key=written.key, etag=OTHER_ETAG, size=written.size, last_modified=written.last_modified)
        refusal = self._store.delete([other], deadline=self._lease)[other.key]
        if not isinstance(refusal, ConditionFailedError) or self._body(name) != _OLD:
            return False
        return self._store.delete([written], deadline=self._lease)[written.key] is None and self._body(name) is None

    def _honours_expiry(self) -> bool:
        written = self._write("expired", _OLD)
        return (
            _expires(lambda: self._store.put_expired(written.key, _NEW))
            and self._body("expired") == _OLD
            and _expires(lambda: self._store.delete_expired(written))
            and self._body("expired") == _OLD
        )

    def _lists_in_order(self) -> tuple[bool, bool]:
        """Whether pages show all up to the last key or folder on them, and all objects up to the last object on them."""
        there = {name: self._write(f"list/{name}", _OLD).etag for name in _LISTED}
        try:
            before = self._pages_agree(there)
            after = self._pages_agree(self._change(there))
        except ObjectError:  # credentials that may not list can still look key by key (CASES 15)
            return False, False
        return before[0] and after[0], before[1] and after[1]

    def _change(self, there: dict[str, str]) -> dict[str, str]:
        # Each page must be taken afresh: an overwritten, a new and a deleted object show at once.
        there["p0"] = self._write("list/p0", _NEW).etag
        there["p1"] = self._write("list/p1", _OLD).etag
        gone = self._store.stat(self._key("list/q"))
        if self._store.delete([gone], deadline=self._lease)[gone.key] is None:  # credentials that may not delete can copy and switch
            del there["q"]
        return there

    def _pages_agree(self, there: dict[str, str]) -> tuple[bool, bool]:
        """Whether pages from any place show exactly what lies in the range that they cover, in byte order: as a whole, and of objects."""
        whole = of_objects = True
        folder = self._key("list/")
        del self._keys[folder]
        files = sorted((folder + name, etag) for name, etag in there.items() if "/" not in name)
        for start in ("", "P", "_", "p", "p-a", "p.", "p.b", "p.~", "p0", "z"):
            for limit in (1, 2, 1000):
                page = self._store.list_page(prefix=folder, start_after=folder + start, limit=limit)
                shown = [(info.key, info.etag) for info in page.objects]
                behind = [(key, etag) for key, etag in files if key > folder + start]
                whole &= shown == [(key, etag) for key, etag in behind if not page.truncated or key <= (page.last or "")]
                whole &= page.last is not None or not page.truncated
                of_objects &= shown == [(key, etag) for key, etag in behind if not page.truncated or key <= (page.last_object or "")]
        return whole, of_objects

    def _lists_below_objects(self) -> bool:
        """Whether a listing shows what lies below an object as in a folder: MinIO's shows the one and hides the other."""
        self._write("nest", _OLD)
        folder = self._prefix + "nest/"
        try:
            self._write("nest/x", _NEW)
            page = self._store.list_page(prefix=folder, start_after="", limit=2)
        except ObjectError:
            return False
        return [info.key for info in page.objects] == [folder + "x"]

    def _same(self, written: str, asked: str) -> bool:
        """Whether the store takes the key *asked* for the object *written*."""
        self._write(written, _OLD)
        try:
            self._store.stat(asked)
        except ObjectError:
            return False
        return True

    def _guesses_type(self) -> bool:
        """Whether the key's extension decides what type an object has that was given none."""
        types = set()
        for name in ("guess.html", "guess.png"):
            self._store.put(self._key(name), _UNKNOWN, ObjectAttributes(), condition=None, deadline=self._lease)
            types.add(self._store.head(self._key(name)).attributes.headers.get("content-type"))
        return len(types) > 1

    def _pins_version(self) -> bool:
        """Whether a copy is of the version asked for, though a newer one is there."""
        old = self._write("pinned", _OLD)
        if old.version_id is None:
            return False
        self._write("pinned", _NEW)
        key = self._key("pinned-copy")
        return _succeeds(lambda: self._copy_of(old, key)) and self._body("pinned-copy") == _OLD

    def _takes_snowballs(self) -> bool:
        """Whether a PUT of a tar file becomes the objects in it, each as if it had been put alone: bytes, ETag, headers and the time."""
        packed = [Packed(self._key(name), _NEW, PLAIN_HEADERS) for name in _IN_SNOWBALL]
        alone = self._key("not-in-a-snowball")
        try:
            self._store.put(alone, _NEW, ObjectAttributes(headers=PLAIN_HEADERS), condition=None, deadline=self._lease)
            like = self._store.read(alone, max_bytes=1024)
            written = self._store.put_snowball(self._key("snowball.tar"), packed, deadline=self._lease)
            found = [self._store.read(one.key, max_bytes=1024) for one in packed]
        except (ObjectError, UnansweredError):
            return False
        return all(
            (there.body, there.attributes, there.info.etag, there.info.size) == (_NEW, like.attributes, said.etag, said.size)
            and like.info.last_modified <= there.info.last_modified <= said.last_modified
            for said, there in zip(written, found, strict=True)
        )

    def _copy_of(self, source: ObjectInfo, key: str) -> None:
        self._store.copy(source, key, condition=None, deadline=self._lease)

    def _is_versioned(self) -> bool:
        try:
            return self._store.is_versioned()
        except ObjectError:  # denied or not implemented; a marker is then just not counted on
            return False


def _succeeds(call: Callable[[], object]) -> bool:
    try:
        call()
    except ObjectError:
        return False
    return True


def _fails(call: Callable[[], object]) -> bool:
    try:
        call()
    except ConditionFailedError:
        return True
    except ObjectError:
        return False
    return False


def _expires(call: Callable[[], None]) -> bool:
    try:
        call()
    except (ExpiredRequestError, DeniedError):
        return True
    except ObjectError:
        return False
    return False
