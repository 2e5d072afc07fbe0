"""The port's reads: HEAD, GET, tags and pages."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from app.clock import BootClock
from app.errors import BadKeyError, ConditionFailedError, MissingObjectError
from app.looks import look
from app.object_store import ObjectAttributes, PageAsked

if TYPE_CHECKING:
    from tests.contract.conftest import Subject

FIVE_HEADERS = {
    "content-type": "image/png",
    "cache-control": "max-age=31536000, immutable",
    "content-encoding": "br",
    "content-disposition": 'attachment; filename="a b.png"',
    "content-language": "de, en",
}
EXPIRES = {"expires": "Thu, 01 Jan 2099 00:00:00 GMT"}  # minio's client would make it metadata
# CASES 3: an encoding too many or too few makes one of these another.
CONFUSABLE = ["a b.txt", "a+b.txt", "a%20b.txt", "a%2Bb.txt", "100%.pdf", "Q#1?x=1&y=2~[é].txt"]
ODD = ["x\ry.png", "x\ny.png", "\x10.png", "&<>\"'", "é-nfc", "e\u0301-nfd", " blank ", "日本/🙂.png", "tab\t"]


def test_stat_describes_the_object(subject: Subject) -> None:
    """ETag without quotes, size, and a time by the store's clock in whole seconds."""
    before = subject.store.store_time()
    subject.application.put(subject.key("a"), b"hello")
    info = subject.store.stat(subject.key("a"))

    assert (info.key, info.etag, info.size) == (subject.key("a"), "5d41402abc4b2a76b9719d911017c592", 5)
    assert before <= info.last_modified <= before + 5


def test_head_gives_the_attributes_that_a_read_gives(subject: Subject) -> None:
    """Without the body."""
    headers = FIVE_HEADERS | {"x-amz-meta-owner": "me"}
    subject.application.put(subject.key("a"), b"hello", headers)
    head, read = subject.store.head(subject.key("a")), subject.store.read(subject.key("a"), max_bytes=100)

    assert (head.info, head.attributes.headers, head.body) == (read.info, read.attributes.headers, None)
    assert head.attributes.headers["x-amz-meta-owner"] == "me"


def test_read_ahead_gives_what_is_there_from_then_on(subject: Subject) -> None:
    """One version, whole: that of the hint or a later one; and of what is dropped, or read again, the newest."""
    subject.put("a", b"before")
    assert subject.port.read_ahead([subject.key("a"), subject.key("none")]) == 2
    subject.application.put(subject.key("a"), b"now")
    ahead, again = (subject.port.read(subject.key("a"), max_bytes=100) for _ in range(2))
    subject.port.read_ahead([subject.key("a")])
    subject.application.put(subject.key("a"), b"later")
    subject.port.read_ahead(())

    assert ahead.body in {b"before", b"now"}
    assert ahead.info.size == len(ahead.body)
    assert again.body == b"now"
    assert subject.port.read(subject.key("a"), max_bytes=100).body == b"later"
    with pytest.raises(MissingObjectError):
        subject.port.read(subject.key("none"), max_bytes=100)


@pytest.mark.parametrize("attributes", [False, True], ids=["stat", "head"])
def test_looks_ahead_give_what_is_there_from_then_on(subject: Subject, *, attributes: bool) -> None:
    """Present and absent ones; and of what nobody wants any more, or is looked at again, the newest."""

    def size(name: str) -> int:
        key = subject.key(name)
        return (subject.port.head(key).info if attributes else subject.port.stat(key)).size

    for name in "abc":
        subject.put(name, b"before")
    keys = [subject.key(name) for name in ("a", "none", "b", "c")]
    begun = [subject.port.look_ahead(keys, attributes=attributes)]
    subject.application.put(subject.key("a"), b"now")
    ahead, again = size("a"), size("a")
    with pytest.raises(MissingObjectError):
        size("none")
    begun.append(subject.port.look_ahead(keys[2:], attributes=attributes))
    subject.application.put(subject.key("b"), b"later, and longer")
    begun.append(subject.port.look_ahead((), attributes=attributes))

    assert 1 <= begun[0] <= len(keys)
    assert 1 <= begun[1] <= len(keys) - 2
    assert begun[2] == 0
    assert ahead in {len(b"before"), len(b"now")}
    assert again == len(b"now")
    assert size("b") == len(b"later, and longer")


def test_pages_ahead_show_what_is_there_from_then_on(subject: Subject) -> None:
    """Each is one page like any other; and of those that nobody wants any more, or that are asked for again, the newest."""
    for name in ("x/1", "x/2", "y/1", "y/2"):
        subject.put(name, b"before")
    pages = [PageAsked(subject.key(folder), "", limit=10) for folder in ("x/", "none/", "y/")]

    def listed(page: PageAsked) -> list[tuple[str, int]]:
        found = subject.port.list_page(prefix=page.prefix, start_after=page.start_after, delimiter=page.delimiter, limit=page.limit)
        return [(info.key.rpartition("/")[2], info.size) for info in found.objects]

    begun = [subject.port.list_ahead(pages)]
    subject.application.put(subject.key("x/2"), b"now, and longer")
    ahead, again = listed(pages[0]), listed(pages[0])
    nothing = listed(pages[1])
    begun.append(subject.port.list_ahead(pages[2:]))
    subject.application.put(subject.key("y/2"), b"later")
    begun.append(subject.port.list_ahead(()))

    assert 0 <= begun[0] <= len(pages)  # two buckets list what lies in one of them
    assert 0 <= begun[1] <= 1
    assert begun[2] == 0
    assert ahead in ([("1", 6), ("2", 6)], [("1", 6), ("2", 15)])
    assert again == [("1", 6), ("2", 15)]
    assert nothing == []
    assert listed(pages[2]) == [("1", 6), ("2", 5)]


@pytest.mark.parametrize(("first", "last", "bytes_there"), [(0, 0, b"h"), (1, 3, b"ell"), (4, 4, b"o"), (0, 4, b"hello")])
def test_range_is_of_one_version(subject: Subject, first: int, last: int, bytes_there: bytes) -> None:
    """Read under the ETag: of an object that was changed meanwhile there is nothing to read."""
    info = subject.put("a", b"hello")
    asked: list[int] = []
    found = subject.port.read_range(info, first=first, last=last, admit=asked.append)
    subject.application.put(subject.key("a"), b"other")
    with pytest.raises(ConditionFailedError):
        subject.port.read_range(info, first=first, last=last)
    subject.application.delete(subject.key("a"))
    with pytest.raises(MissingObjectError):
        subject.port.read_range(info, first=first, last=last)

    assert (found, asked) == (bytes_there, [last - first + 1])


def test_stat_of_nothing_is_missing(subject: Subject) -> None:
    """404 is its own error."""
    for ask in (subject.store.stat, subject.store.head):
        with pytest.raises(MissingObjectError):
            ask(subject.key("nothing"))


@pytest.mark.parametrize("key", ["", "/", "//", "a\ud800"])
def test_key_that_names_no_object_is_never_sent(subject: Subject, key: str) -> None:
    """The empty key's path is the bucket's own: no request may go there."""
    for call in (
        lambda: subject.store.stat(key),
        lambda: subject.store.read(key, max_bytes=1),
        lambda: subject.store.put(key, b"", ObjectAttributes(), condition=None, deadline=subject.lease),
        lambda: subject.store.create_upload(key, ObjectAttributes(), deadline=subject.lease),
    ):
        with pytest.raises(BadKeyError):
            call()


@pytest.mark.parametrize("name", ["বাংলা" * 30, "a/../b", "x" * 1100])
def test_write_of_a_key_that_the_store_does_not_take_is_a_bad_key(subject: Subject, name: str) -> None:
    """Whether 400 or 500, it is permanent (CASES 6); a store without the limit takes the key."""
    folds = name == "a/../b" and subject.capabilities.folds_dots
    if folds or (subject.name in {"memory", "memory-like-aws"} and len(name.encode()) < 1024):
        assert subject.put(name).key == subject.key(name)
        return
    with pytest.raises(BadKeyError):
        subject.put(name)


def test_read_gives_bytes_and_attributes(subject: Subject) -> None:
    """Everything that readers see and a write can carry on (CASES 12)."""
    meta = {"x-amz-meta-owner": "7", "x-amz-meta-two-blanks": "a b"}
    subject.application.put(subject.key("a"), b"hello", FIVE_HEADERS | meta, tags={"kind": "logo", "size": "l"})
    read = subject.store.read(subject.key("a"), max_bytes=5)

    assert read.body == b"hello"
    assert read.info == subject.store.stat(subject.key("a"))
    assert read.attributes == ObjectAttributes(headers=FIVE_HEADERS | meta, tag_count=2)
    assert sorted(subject.store.tags(subject.key("a")).split("&")) == ["kind=logo", "size=l"]


def test_read_of_an_object_without_tags(subject: Subject) -> None:
    """No tags are an empty text."""
    subject.put("a")

    assert subject.store.tags(subject.key("a")) == ""
    assert subject.store.read(subject.key("a"), max_bytes=100).attributes.tag_count == 0


def test_read_of_an_empty_object(subject: Subject) -> None:
    """No bytes are not "too large"."""
    subject.put("a", b"")

    assert subject.store.read(subject.key("a"), max_bytes=0).body == b""


def test_read_leaves_a_body_above_the_limit(subject: Subject) -> None:
    """The attributes come all the same, nothing is admitted, and the next request is served."""
    info = subject.put("a", b"x" * 100_001)
    admitted: list[int] = []
    read = subject.store.read(subject.key("a"), max_bytes=100_000, admit=admitted.append)

    assert (read.info, read.body, admitted) == (info, None, [])
    assert subject.store.read(subject.key("a"), max_bytes=100_001, admit=admitted.append).body == b"x" * 100_001
    assert admitted == [100_001]


def test_read_of_nothing_is_missing(subject: Subject) -> None:
    """404 is its own error, for the tags too."""
    with pytest.raises(MissingObjectError):
        subject.store.read(subject.key("nothing"), max_bytes=1)
    with pytest.raises(MissingObjectError):
        subject.store.tags(subject.key("nothing"))


def test_anybody_gets_what_a_policy_opens_and_nothing_else(subject: Subject) -> None:
    """Asked without credentials, as a browser with a plain link does."""
    for name in ("open/a", "closed/a"):
        subject.put(name)
    before = [subject.port.is_public(subject.key(name)) for name in ("open/a", "closed/a", "open/none")]
    subject.application.open(subject.key("open/"))
    after = [subject.port.is_public(subject.key(name)) for name in ("open/a", "closed/a", "open/none")]

    assert before == [False, False, False]
    assert after == [True, False, False]


def test_attributes_survive_being_written_again(subject: Subject) -> None:
    """GET and PUT give an object that readers cannot tell from the first, non-ASCII metadata included."""
    subject.application.put(subject.key("a"), b"hello", FIVE_HEADERS | {"x-amz-meta-plain": "b"}, tags={"a b": "c/d+e:f"})
    first = subject.store.read(subject.key("a"), max_bytes=100)
    headers = dict(first.attributes.headers) | EXPIRES | {"x-amz-tagging": subject.store.tags(subject.key("a"))}
    headers["x-amz-meta-name"] = "grüße".encode().decode("latin-1")
    for name in ("b", "c"):
        source = subject.store.read(subject.key("b"), max_bytes=100).attributes.headers if name == "c" else {}
        attributes = ObjectAttributes(headers=headers | dict(source))
        subject.store.put(subject.key(name), b"hello", attributes, condition=None, deadline=subject.lease)
    second, third = (subject.store.read(subject.key(name), max_bytes=100) for name in "bc")

    assert (second.body, second.info.etag, second.attributes.tag_count) == (b"hello", first.info.etag, 1)
    assert {name: value for name, value in second.attributes.headers.items() if name != "x-amz-meta-name"} == {
        **first.attributes.headers,
        **EXPIRES,
    }
    assert third.attributes == second.attributes
    assert subject.store.tags(subject.key("c")) == subject.store.tags(subject.key("a"))


@pytest.mark.parametrize("name", [*CONFUSABLE, *ODD])
def test_key_means_the_same_object_everywhere(subject: Subject, name: str) -> None:
    """One encoding, once, in paths, copy sources, listings and deletions (CASES 3, 7)."""
    key = subject.key("keys/" + name)
    subject.application.put(key, key.encode())
    info = subject.store.stat(key)
    page = subject.store.list_page(prefix=key, start_after="")
    subject.store.copy(info, subject.key("copies/" + name), condition=None, deadline=subject.lease)

    assert subject.store.read(key, max_bytes=1000).body == key.encode()
    # One store lists without encoding, and XML carries no control character: such keys are looked at by HEAD (app.looks).
    listed = key.replace("\x10", "\N{REPLACEMENT CHARACTER}") if subject.name.endswith("versitygw") else key
    assert [(found.key, found.etag) for found in page.objects] == [(listed, info.etag)]
    assert subject.get("copies/" + name) == key.encode()
    assert subject.store.delete([info], deadline=subject.lease) == {key: None}
    assert subject.application.get(key) is None


def test_confusable_keys_are_separate_objects(subject: Subject) -> None:
    """Six keys, six contents."""
    for name in CONFUSABLE:
        subject.put("six/" + name, name.encode())

    assert {name: subject.get("six/" + name) for name in CONFUSABLE} == {name: name.encode() for name in CONFUSABLE}
    assert {info.key for info in subject.store.list_page(prefix=subject.key("six/"), start_after="").objects} == {
        subject.key("six/" + name) for name in CONFUSABLE
    }


def test_page_lists_one_folder(subject: Subject) -> None:
    """Objects of the folder with ETag, size and time as a HEAD gives them; deeper ones are left out."""
    infos = [subject.put(f"list/{name}", name.encode() * 3) for name in ("a", "b", "c")]
    subject.put("list/d/deeper")
    page = subject.store.list_page(prefix=subject.key("list/"), start_after="")

    assert list(page.objects) == infos
    assert (page.truncated, page.last) == (False, subject.key("list/d/"))


def test_page_without_a_delimiter_lists_all(subject: Subject) -> None:
    """Deeper objects too."""
    for name in ("a", "d/deeper", "e"):
        subject.put(f"list/{name}")
    page = subject.store.list_page(prefix=subject.key("list/"), start_after="", delimiter="")

    assert [info.key for info in page.objects] == [subject.key(f"list/{name}") for name in ("a", "d/deeper", "e")]


def test_page_begins_after_its_start_and_ends_at_its_limit(subject: Subject) -> None:
    """Whether the start exists or not; a page says whether more may follow."""
    for name in "abcdef":
        subject.put(f"list/{name}")
    folder = subject.key("list/")

    def listed(start: str, limit: int) -> tuple[str, bool, str | None]:
        page = subject.store.list_page(prefix=folder, start_after=folder + start, limit=limit)
        last = None if page.last is None else page.last.removeprefix(folder)
        return "".join(info.key.removeprefix(folder) for info in page.objects), page.truncated, last

    assert listed("b", 2) == ("cd", True, "d")
    assert listed("bb", 2) == ("cd", True, "d")
    assert listed("d", 2) == ("ef", False, "f")
    assert listed("f", 2) == ("", False, None)


def test_page_shows_what_was_just_written(subject: Subject) -> None:
    """Overwrites, inserts and deletes show at once in a new page (M1)."""
    subject.put("list/a", b"old")
    gone = subject.put("list/b")
    folder = subject.key("list/")
    subject.store.list_page(prefix=folder, start_after="")
    subject.application.put(subject.key("list/a"), b"newer")
    subject.application.put(subject.key("list/c"), b"c")
    subject.store.delete([gone], deadline=subject.lease)
    page = subject.store.list_page(prefix=folder, start_after="")

    assert [(info.key.removeprefix(folder), info.size) for info in page.objects] == [("a", 5), ("c", 1)]


def test_page_of_nothing_is_empty(subject: Subject) -> None:
    """And not truncated."""
    page = subject.store.list_page(prefix=subject.key("nothing/"), start_after="")

    assert (list(page.objects), page.truncated, page.last) == ([], False, None)


def test_look_sees_the_same_by_pages_and_by_heads(subject: Subject) -> None:
    """Neighbours, gaps, subfolders and late changes are seen alike."""
    names = [f"look/{number:03}.png" for number in range(60)] + [f"look/sub/{number}" for number in range(12)]
    for number, name in enumerate(names):
        if number % 7:
            subject.put(name, name.encode())
    keys = [subject.key(name) for name in names]
    looks = look(subject.port, keys, clock=BootClock(), seconds=60)

    assert {key: info is not None for key, info in looks.found.items()} == {key: number % 7 != 0 for number, key in enumerate(keys)}
    assert all(info == subject.store.stat(info.key) for info in looks.found.values() if info is not None)
    assert looks.failed == {}


def test_store_time_goes_with_the_store(subject: Subject) -> None:
    """It never runs ahead of the times that objects get, and it goes on."""
    if subject.name.startswith("memory"):
        pytest.skip("time stands still there")
    seen = []
    for number in range(3):
        asked = subject.store.store_time()
        seen.append((asked, subject.put(f"time/{number}").last_modified))
        time.sleep(0.7)

    assert all(asked <= written <= asked + 3 for asked, written in seen)
    assert seen[2][0] > seen[0][0]
