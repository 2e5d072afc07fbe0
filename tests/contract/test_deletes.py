"""The port's deletes: per-key results, odd keys, conditions, and versioned buckets."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from app.errors import BadKeyError, ConditionFailedError, MissingObjectError
from app.object_store import MAX_DELETED, ObjectAttributes, ObjectInfo

if TYPE_CHECKING:
    from tests.contract.conftest import Subject

OTHER = "0" * 32


def test_delete_removes_what_it_is_given(subject: Subject) -> None:
    """Many keys in one request, a result for each."""
    infos = [subject.put(f"d/{number:03}") for number in range(250)]
    kept = subject.put("d/kept")

    assert subject.store.delete(infos, deadline=subject.lease) == {info.key: None for info in infos}
    assert list(subject.store.list_page(prefix=subject.key("d/"), start_after="").objects) == [kept]


def test_delete_of_nothing_is_no_error(subject: Subject) -> None:
    """Both stores say Deleted of a key that is not there (M6)."""
    gone = subject.put("gone")
    there = subject.put("there")
    subject.application.delete(gone.key)

    assert subject.store.delete([gone, there], deadline=subject.lease) == {gone.key: None, there.key: None}


def test_delete_of_no_keys_is_no_request(subject: Subject) -> None:
    """Nothing to do is done."""
    assert subject.store.delete([], deadline=subject.lease) == {}


def test_delete_takes_no_more_keys_than_a_request_holds(subject: Subject) -> None:
    """The caller cuts its batches, so that no part of one is done without its knowledge."""
    info = subject.put("a")

    with pytest.raises(ValueError, match="1000"):
        subject.store.delete([replace(info, key=f"{info.key}{number}") for number in range(MAX_DELETED + 1)], deadline=subject.lease)


@pytest.mark.parametrize("name", ["other", "other\x10"])
def test_delete_keeps_another_version_where_conditions_are_honoured(subject: Subject, name: str) -> None:
    """An object that changed since the look stays; a store that ignores the ETag deletes it (CASES 21)."""
    seen = subject.put(name, b"seen")
    subject.application.put(subject.key(name), b"newer")
    mate = subject.put("mate")
    result = subject.store.delete([seen, mate], deadline=subject.lease)

    assert result[mate.key] is None
    if subject.capabilities.delete_if_match:
        assert type(result[seen.key]) is ConditionFailedError
        assert subject.get(name) == b"newer"
    else:
        assert (result[seen.key], subject.get(name)) == (None, None)


def test_delete_of_odd_keys_takes_no_neighbour(subject: Subject) -> None:
    """A carriage return names no line feed, and one odd key spoils nothing for the others (CASES 7)."""
    odd = [subject.put(f"odd/{name}") for name in ("\x10", "x\ry.png", "&<>\"'", " a ", "tab\tb")]
    healthy = [subject.put(f"odd/{number}") for number in range(20)]
    neighbour = subject.put("odd/x\ny.png")

    assert subject.store.delete([*healthy, *odd], deadline=subject.lease) == {info.key: None for info in [*healthy, *odd]}
    assert [info.key for info in subject.store.list_page(prefix=subject.key("odd/"), start_after="").objects] == [neighbour.key]


@pytest.mark.parametrize("sent", [0, 1, 2])
def test_delete_sends_nothing_more_once_its_caller_says_so(subject: Subject, sent: int) -> None:
    """Odd keys go one by one, which may outlast the looks that stand behind them: what is not sent is in no result, and stays (S4)."""
    healthy = [subject.put(f"odd/{number}") for number in range(3)]
    odd = [subject.put(name) for name in ("odd/\x10", "odd/x\ry.png")]
    asked: list[bool] = []

    def still() -> bool:
        asked.append(len(asked) < sent)
        return asked[-1]

    results = subject.store.delete([*healthy, *odd], deadline=subject.lease, still=still)
    gone = [*healthy, *odd[: sent - 1]] if sent else []

    assert results == {info.key: None for info in gone}
    assert asked == [True] * sent + [False]
    assert [subject.application.get(info.key) is None for info in (*healthy, *odd)] == [info in gone for info in (*healthy, *odd)]


def test_delete_refuses_keys_that_no_request_can_name(subject: Subject) -> None:
    """They are refused key by key, and the others go."""
    good = subject.put("good")
    bad = [replace(good, key=key) for key in ("", "/", "a\ud800")]
    result = subject.store.delete([good, *bad], deadline=subject.lease)

    assert result[good.key] is None
    assert {type(result[info.key]) for info in bad} == {BadKeyError}
    assert subject.get("good") is None


def test_delete_of_a_folder_object_takes_nothing_below_it(subject: Subject) -> None:
    """A key that ends in a slash is one object (CASES 22)."""
    inside = subject.put("folder/inside")
    folder = ObjectInfo(key=subject.key("folder/"), etag=OTHER, size=0, last_modified=1)
    subject.store.put(folder.key, b"", ObjectAttributes(), condition=None, deadline=subject.lease)
    subject.store.delete([subject.store.stat(folder.key)], deadline=subject.lease)

    assert subject.store.stat(inside.key) == inside


def test_delete_in_a_versioned_bucket_leaves_a_marker(versioned: Subject) -> None:
    """No older version becomes current again, which a delete by version id would do (H7, M8)."""
    first = versioned.put("a", b"v1")
    second = versioned.put("a", b"v2")

    assert first.version_id is not None
    assert first.version_id != second.version_id
    assert versioned.store.delete([second], deadline=versioned.lease) == {second.key: None}
    with pytest.raises(MissingObjectError):
        versioned.store.stat(second.key)
    assert versioned.get("a") is None


def test_version_is_recognised_by_its_id(versioned: Subject) -> None:
    """Two uploads of the same bytes in the same second are two versions (H21)."""
    first = versioned.put("a", b"same")
    second = versioned.put("a", b"same")
    written = versioned.store.put(first.key, b"same", ObjectAttributes(), condition=None, deadline=versioned.lease)

    assert not first.is_same_version(second)
    assert written.is_same_version(versioned.store.stat(first.key))
