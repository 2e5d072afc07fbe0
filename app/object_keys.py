"""New object keys from a template, and which keys are one and the same object to a store. Pure.

A template is a list of literals and fields: ``{client_id}``, ``{file_name}`` (NAME_COLUMN's value, else the last segment of the old key),
``{key}`` (the old key whole) and ``{col.NAME}`` (any column of the row).
"""

from __future__ import annotations

import hashlib
import posixpath
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, Self
from unicodedata import normalize

from app.errors import UsageError
from app.key_suffix import with_suffix
from app.key_values import KeyRefusedError, check_new_key, check_old_key, has_bad_segment, is_utf8, segment_text
from app.states import ParkedReason

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["EXACT", "Equivalence", "Folds", "KeyRefusedError", "Template", "check_old_key", "key_hash"]

ALLOWED_FIELDS = "{client_id}, {file_name}, {key} and {col.NAME}"

MOST_PLACES = 16  # slashes of a key of which single ones are spelled otherwise
_ANY = {"key": ".+"}  # what a field may stand for in a key: one segment, but for the old key whole
_FIELD = re.compile(r"\{([^{}]*)\}")


class Folds(Protocol):
    """The part of a store's capabilities that says which spellings it takes for one object."""

    @property
    def folds_leading_slash(self) -> bool:
        """``/x`` is the object ``x``."""

    @property
    def folds_double_slash(self) -> bool:
        """``a//b`` is the object ``a/b``."""

    @property
    def folds_backslash(self) -> bool:
        r"""``a\b`` is the object ``a/b``."""

    @property
    def folds_case(self) -> bool:
        """``A`` is the object ``a``."""

    @property
    def folds_dots(self) -> bool:
        """``a/./b`` and ``a/x/../b`` are the object ``a/b``."""

    @property
    def folds_unicode(self) -> bool:
        """An accent written as one letter or as two is the same object."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Equivalence:
    """Which keys a store takes for the same object, as its probe saw it (H6)."""

    folds_leading_slash: bool = False
    folds_double_slash: bool = False
    folds_backslash: bool = False
    folds_case: bool = False
    folds_dots: bool = False
    folds_unicode: bool = False

    @classmethod
    def of(cls, folds: Folds) -> Self:
        """The equivalence of an endpoint with these capabilities."""
        return cls(
            folds_leading_slash=folds.folds_leading_slash,
            folds_double_slash=folds.folds_double_slash,
            folds_backslash=folds.folds_backslash,
            folds_case=folds.folds_case,
            folds_dots=folds.folds_dots,
            folds_unicode=folds.folds_unicode,
        )

    def canonical(self, key: str) -> str:
        """The one spelling that stands for all spellings of the object that *key* names."""
        if self.folds_backslash:
            key = key.replace("\\", "/")
        if self.folds_dots:
            key = _without_dots(key)
        if self.folds_leading_slash and key.startswith("/"):
            key = _without_leading_slash(key)
        if self.folds_double_slash:
            key = re.sub("/{2,}", "/", key)
        if self.folds_unicode:
            key = normalize("NFC", key)
        if self.folds_case:
            key = normalize("NFC", key.lower()) if self.folds_unicode else key.lower()
        return key

    def same(self, one: str, other: str) -> bool:
        """Whether both keys name the same object."""
        return self.canonical(one) == self.canonical(other)

    def variants(self, key: str) -> tuple[str, ...]:
        r"""The spellings of *key*'s object to ask a database for: a bounded list, the key itself and its canonical form among them.

        No list can hold them all (``a//b``, ``a///b`` ...). It holds what applications write, where the store folds it: one or two leading
        slashes, one slash or every slash doubled, backslashes all through or from some slash on, accents all apart, all letters small or
        large, dots in each place. On what the database finds, ``same`` decides.
        """
        canonical = self.canonical(key)
        doubled = canonical.replace("/", "//")
        found = [key, canonical, doubled]
        slashes = [place for place, letter in enumerate(canonical) if letter == "/"][:MOST_PLACES]
        if self.folds_leading_slash:
            found += ["/" + canonical, "//" + canonical, "/" + doubled]
        if self.folds_dots:
            found += ["./" + canonical, canonical.replace("/", "/./")]
        if self.folds_backslash:
            found += [spelling.replace("/", "\\") for spelling in found]
            found += [canonical[:place] + canonical[place:].replace("/", "\\") for place in slashes]
        if self.folds_double_slash:
            once = [canonical[:place] + "/" + canonical[place:] for place in slashes]
            found += once + (["/" + spelling for spelling in once] if self.folds_leading_slash else [])
        if self.folds_unicode:
            found += [normalize("NFD", spelling) for spelling in found]
        if self.folds_case:
            found += [letters for spelling in found for letters in (spelling.lower(), spelling.upper())]
        return tuple(dict.fromkeys(spelling for spelling in found if self.canonical(spelling) == canonical))


EXACT = Equivalence()


def _without_dots(key: str) -> str:
    kept: list[str] = []
    for segment in key.split("/"):
        if segment == "..":
            while kept and not kept.pop():  # an empty segment is none to such a store
                pass
        elif segment != ".":
            kept.append(segment)
    return "/".join(kept)


def _without_leading_slash(key: str) -> str:
    # MinIO cleans a key that starts with a slash as a path, then drops the slash: GET of "/a//b" gives "a/b", DeleteObjects of "/a//b" or
    # "/a/./b" deletes "a/b" (tried), while "a//b" itself is refused. Cleaning merges nothing that such stores tell apart.
    folder = key.endswith("/")
    cleaned = posixpath.normpath(key).lstrip("/")
    return cleaned + "/" if folder and cleaned else cleaned


def key_hash(bucket: str, canonical: str) -> bytes:
    """SHA-256 of a bucket and a canonical key, 32 bytes: what the ledger's unique indexes hold (keys are too long for MySQL's: H25)."""
    name = bucket.encode("utf-8", "surrogatepass")
    return hashlib.sha256(len(name).to_bytes(4, "big") + name + canonical.encode("utf-8", "surrogatepass")).digest()


@dataclass(frozen=True, slots=True)
class _Literal:
    text: str


@dataclass(frozen=True, slots=True)
class _Field:
    name: str  # "client_id", "file_name", "key" or "col"
    column: str = ""  # of "col"

    @property
    def title(self) -> str:
        """How a refusal names the value."""
        return {"client_id": "the client id", "file_name": "the file name"}.get(self.name, f"the column {self.column}")


@dataclass(frozen=True, slots=True)
class Template:
    """A parsed template: makes new keys, and recognises keys that have its form already."""

    text: str
    parts: tuple[_Literal | _Field, ...]
    named: bool  # there is a NAME_COLUMN, so that a NULL in it is a bad name and no request for the old key's last segment

    @classmethod
    def parse(cls, text: str, *, named: bool) -> Self:
        """Read a template; *named* says whether there is a NAME_COLUMN.

        Raises:
            UsageError: It could not give every row a key of its own, or no key that a store takes; the line says why.
        """
        parts: list[_Literal | _Field] = []
        for number, piece in enumerate(_FIELD.split(text)):
            if number % 2:
                parts.append(_field(piece))
            elif piece:
                parts.append(_Literal(piece))
        _check(parts)
        return cls(text, tuple(parts), named)

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that ``{col.NAME}`` fields need, each once."""
        return tuple(dict.fromkeys(part.column for part in self.parts if isinstance(part, _Field) and part.name == "col"))

    @property
    def is_marked(self) -> bool:
        """Whether a key of this form, for whatever client, is none by coincidence: a word before the client's id says so."""
        before = self.parts[: next((at for at, part in enumerate(self.parts) if part == _Field("client_id")), 0)]
        return any(isinstance(part, _Literal) and re.search(r"\w", part.text) for part in before)

    @property
    def has_name(self) -> bool:
        """Whether a key of this form has a name in it that a suffix can be put behind."""
        return self._name_at is not None

    @property
    def _name_at(self) -> int | None:
        return next((at for at, part in enumerate(self.parts) if isinstance(part, _Field) and part.name in {"file_name", "key"}), None)

    def new_key(
        self,
        old_key: object,
        client_id: object,
        file_name: object,
        columns: Mapping[str, object],
        *,
        equivalence: Equivalence = EXACT,
        suffix: str | None = None,
        longest: int | None = None,
    ) -> str:
        """The new key of a row; *file_name* is NAME_COLUMN's value (not looked at where there is no such column).

        With a *suffix* behind its name, where it ``has_name``; then in *longest* characters at most.

        Values are taken as the database gave them: text as it is, whole numbers, UUIDs and dates in their usual text form.

        Raises:
            KeyRefusedError: A value cannot be part of a key (``bad_name``), or the key or a segment is too long (``too_long``).
        """
        old = check_old_key(old_key)
        values = {"client_id": client_id, "file_name": file_name if self.named else old.rpartition("/")[2]}
        pieces: list[str] = []
        for part in self.parts:
            if isinstance(part, _Literal):
                pieces.append(part.text)
            elif part.name == "key":
                pieces.append(_whole_key(old))
            else:
                value = columns.get(part.column) if part.column else values[part.name]
                pieces.append(segment_text(value, part.title, backslash_is_slash=equivalence.folds_backslash))
        at = self._name_at
        if suffix is None or at is None:
            return check_new_key("".join(pieces))
        return with_suffix("".join(pieces[:at]), pieces[at], "".join(pieces[at + 1 :]), suffix, longest=longest)

    def has_form(self, key: str) -> bool:
        """Whether *key* has the template's form for any client at all."""
        pattern = "".join(re.escape(part.text) if isinstance(part, _Literal) else _ANY.get(part.name, "[^/]+") for part in self.parts)
        return re.fullmatch(pattern, key, re.DOTALL) is not None and not has_bad_segment(key)

    def is_in_place(self, old_key: object, client_id: object, columns: Mapping[str, object]) -> bool:
        """Whether *old_key* has the template's form already: for this client and these columns, whatever its file name (H34, case 31).

        True of every key that ``new_key`` made, so that a second run finds nothing to do even where NAME_COLUMN holds the new key by then.
        """
        try:
            old = check_old_key(old_key)
            pieces = [_fixed(part, client_id, columns) for part in self.parts]
        except KeyRefusedError:
            return False
        return _fits(old, pieces) and not has_bad_segment(old)


def _fixed(part: _Literal | _Field, client_id: object, columns: Mapping[str, object]) -> str | _Field:
    """The text that *part* stands for in this row's keys, or the field itself where any name will do."""
    if isinstance(part, _Literal):
        return part.text
    if part.name in {"key", "file_name"}:
        return part
    return segment_text(columns.get(part.column) if part.column else client_id, part.title)


def _fits(key: str, pieces: Sequence[str | _Field]) -> bool:
    """Whether *key* is made of these pieces. Most keys show by their beginning that they are not: no pattern is compiled for them."""
    first, last = pieces[0], pieces[-1]
    if isinstance(first, str) and not key.startswith(first):
        return False
    if isinstance(last, str) and not key.endswith(last):
        return False
    names = [number for number, piece in enumerate(pieces) if not isinstance(piece, str)]
    if len(names) == 1:
        head, tail = "".join(map(str, pieces[: names[0]])), "".join(map(str, pieces[names[0] + 1 :]))
        name = key[len(head) : len(key) - len(tail)]
        return bool(name) and key.startswith(head) and key.endswith(tail) and ("/" not in name or pieces[names[0]] == _Field("key"))
    pattern = "".join(re.escape(piece) if isinstance(piece, str) else ".+" if piece.name == "key" else "[^/]+" for piece in pieces)
    return re.fullmatch(pattern, key, re.DOTALL) is not None


def _whole_key(old: str) -> str:
    if has_bad_segment(old):
        raise KeyRefusedError(ParkedReason.BAD_NAME, "the old key has an empty, blank, '.' or '..' segment")
    return old


def _field(name: str) -> _Field:
    if name in {"client_id", "file_name", "key"}:
        return _Field(name)
    if name.startswith("col.") and len(name) > len("col."):
        return _Field("col", name.removeprefix("col."))
    raise UsageError(f"the template has no field {{{name}}}: use {ALLOWED_FIELDS}")


def _check(parts: list[_Literal | _Field]) -> None:
    fields = [part.name for part in parts if isinstance(part, _Field)]
    shape = "".join(part.text if isinstance(part, _Literal) else "x" for part in parts)
    if "{" in shape or "}" in shape:
        raise UsageError("the template has a brace without its twin: braces only enclose fields")
    if not fields:
        raise UsageError(f"the template gives all rows one key: use at least one of {ALLOWED_FIELDS}")
    if fields == ["key"] and shape == "x":
        raise UsageError("the template {key} changes no key: put something before or after it")
    for name in ("file_name", "key"):
        if fields.count(name) > 1:
            raise UsageError(f"the template has {{{name}}} twice: use it once")
    if not is_utf8(shape) or "\0" in shape or "\\" in shape or has_bad_segment(shape):
        raise UsageError("the template has a backslash, a slash at an end, or an empty, blank, '.' or '..' segment: take it out")
    try:
        check_new_key(shape)
    except KeyRefusedError as error:
        raise UsageError(f"the template is too long: {error.detail}") from None
