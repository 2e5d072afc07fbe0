"""What the probe finds of each store: its known differences, asserted as facts (FACTS.md, Stores)."""

from __future__ import annotations

import json
import secrets
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

import pytest

from app.errors import DeniedError, MissingObjectError, ProofError, StoreUnavailableError
from app.object_store import Capabilities, ObjectAttributes, ReadObject
from app.probe import probe, see_readable
from app.testing import Fault, InMemoryStore
from app.testing.versions import CONDITIONAL

if TYPE_CHECKING:
    from tests.contract.conftest import Subject

ALL_HONOURED = Capabilities(
    put_if_absent=True,
    put_if_match=True,
    copy_if_absent=True,
    copy_if_match=True,
    copy_source_if_match=True,
    complete_if_absent=True,
    complete_if_match=True,
    delete_if_match=True,
    query_signed_expiry=True,
    ordered_listing=True,
    ordered_folders=True,
    folds_leading_slash=False,
    folds_double_slash=False,
    folds_backslash=False,
    folds_case=False,
    folds_unicode=False,
    lists_below_objects=True,
    versioning=False,
    pins_version=False,
    guesses_type=False,
    takes_snowballs=False,
    fidelity=CONDITIONAL.capabilities().fidelity,
    folds_dots=False,
)
MINIO = {
    "copy_if_absent": False,
    "copy_if_match": False,
    "delete_if_match": False,
    "folds_leading_slash": True,
    "lists_below_objects": False,
    "takes_snowballs": True,
}
SEAWEED = {
    "ordered_listing": False,
    "folds_leading_slash": True,
    "folds_double_slash": True,
    "folds_backslash": True,
    "guesses_type": True,
}
VERSITYGW = {
    "copy_if_absent": False,
    "copy_if_match": False,
    "delete_if_match": False,
    "folds_leading_slash": True,
    "folds_double_slash": True,
    "folds_dots": True,
    "lists_below_objects": False,
}
LIKE: dict[str, dict[str, bool]] = {"aws": {}, "minio": MINIO, "seaweed": SEAWEED, "versitygw": VERSITYGW}
KNOWN = {"memory": {}} | LIKE | {f"memory-like-{name}": facts for name, facts in LIKE.items()}


PAGE = Path(__file__).parents[2] / "docs" / "stores.md"
ROWS = (
    "put_if_absent",
    "copy_if_absent",
    "complete_if_absent",
    "delete_if_match",
    "query_signed_expiry",
    "ordered_listing",
    "ordered_folders",
    "lists_below_objects",
    "folds_leading_slash",
    "folds_double_slash",
    "takes_snowballs",
)


def _conditions(capabilities: Capabilities) -> dict[str, object]:
    """All but what becomes of attributes, which has facts of its own (test_fidelity)."""
    return {name: value for name, value in asdict(capabilities).items() if name != "fidelity"}


def test_probe_finds_the_known_differences(subject: Subject) -> None:
    """The facts that the protocol is built on, seen by their effects."""
    assert _conditions(subject.capabilities) == _conditions(ALL_HONOURED) | KNOWN[subject.name]


def test_page_of_the_stores_says_what_was_seen() -> None:
    """docs/stores.md, row by row."""
    rows = [line.strip("| ").split(" | ") for line in PAGE.read_text(encoding="utf-8").splitlines() if line.endswith(("| yes |", "| no |"))]

    for (_, *said), name in zip(rows, ROWS, strict=True):
        seen = [LIKE[store].get(name, getattr(ALL_HONOURED, name)) for store in ("minio", "seaweed", "versitygw", "aws")]
        assert said == ["yes" if each else "no" for each in seen], name


def test_probe_finds_versioning(versioned: Subject) -> None:
    """In a versioned bucket all else is the same."""
    known = KNOWN[versioned.name] | {"versioning": True, "pins_version": True}
    if versioned.name == "seaweed":
        known |= {"guesses_type": False}  # it writes a type down with each version

    assert _conditions(versioned.capabilities) == _conditions(ALL_HONOURED) | known


def test_probe_leaves_nothing_behind(subject: Subject) -> None:
    """Throw-away objects are thrown away."""
    prefix = subject.key("probe/")
    probe(subject.store, prefix=prefix)

    assert subject.store.list_page(prefix=prefix, start_after="", delimiter="").objects == []


def test_capabilities_survive_json() -> None:
    """A run's record keeps them."""
    record = json.loads(json.dumps(asdict(ALL_HONOURED)))

    assert Capabilities.from_record(record) == ALL_HONOURED
    assert Capabilities.from_record(record | {"keeps_expires": True}) == ALL_HONOURED  # of a run that an older program started


FOLDS = [name for name in asdict(ALL_HONOURED) if name.startswith("folds_")]
SWITCHES = [name for name in asdict(ALL_HONOURED) if name not in {*FOLDS, "versioning", "pins_version", "guesses_type", "fidelity"}]


@pytest.mark.parametrize("switch", SWITCHES)
def test_probe_sees_each_condition_that_is_ignored(switch: str) -> None:
    """A store that silently ignores one thing is found out in that and in nothing else."""
    store = InMemoryStore(replace(CONDITIONAL, **{switch: False}))

    besides = {"ordered_listing": False} if switch == "ordered_folders" else {}

    assert asdict(probe(store)) == asdict(ALL_HONOURED) | {switch: False} | besides
    assert (store.contents(), store.unfinished_uploads()) == ({}, [])


def test_probe_sees_a_version_id_that_is_ignored() -> None:
    """Such a store copies the newest version, whichever was asked for."""
    ignored = asdict(probe(InMemoryStore(replace(CONDITIONAL, versioning=True, pins_version=False))))

    assert ignored == asdict(ALL_HONOURED) | {"versioning": True}


@pytest.mark.parametrize("fold", FOLDS)
def test_probe_sees_each_fold(fold: str) -> None:
    """Which spellings are one object is seen, not guessed (CASES 1)."""
    changed = {fold: True}
    if fold == "folds_case":  # listed under other names than written
        changed |= {"ordered_listing": False, "ordered_folders": False}

    assert asdict(probe(InMemoryStore(replace(CONDITIONAL, **{fold: True})))) == asdict(ALL_HONOURED) | changed


def test_probe_sees_a_proxy_that_drops_the_copy_header(monkeypatch: pytest.MonkeyPatch) -> None:
    """A gateway that stores an empty object for a copy is refused before anything is moved (CASES 8)."""
    store = InMemoryStore()
    honest = store.copy

    def emptied(source: object, key: str, **asked: object) -> object:
        copied = honest(source, key, **asked)  # type: ignore[arg-type]
        store.app_put(key, b"")
        return copied

    monkeypatch.setattr(store, "copy", emptied)

    with pytest.raises(ProofError, match="does not copy"):
        probe(store)
    assert store.contents() == {}


def _answering(store: InMemoryStore, method: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let *method* answer for keys that no object has as a web server does that shows a page of its own."""
    honest = getattr(store, method)

    def answer(asked: Any, *args: Any, **more: Any) -> object:  # noqa: ANN401 - as the store's own
        try:
            return honest(asked, *args, **more)
        except MissingObjectError:
            page = store.app_put("page", b"<html>")
            return ReadObject(info=page, attributes=ObjectAttributes(), body=None) if method == "read" else page

    monkeypatch.setattr(store, method, answer)


@pytest.mark.parametrize(("method", "said"), [("read", "a GET of a key"), ("copy", "a copy of a key")])
def test_probe_sees_a_server_that_has_an_answer_for_every_key(method: str, said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """An absent source that answers 200 would have that answer moved in its place (CASES 8)."""
    store = InMemoryStore()
    _answering(store, method, monkeypatch)

    with pytest.raises(ProofError, match=said):
        probe(store)


def test_what_cannot_be_read_back_below_the_new_keys_is_seen() -> None:
    """A HEAD would find it (CASES 8); nothing is left behind."""
    store = InMemoryStore()
    see_readable(store, "clients/")
    store.faults.add(Fault.refuse(DeniedError), on="read")
    with pytest.raises(DeniedError):
        see_readable(store, "clients/")
    honest = store.read
    with patch.object(store, "read", lambda key, **more: replace(honest(key, **more), body=b"")), pytest.raises(ProofError):
        see_readable(store, "clients/")

    assert {key.rpartition("/")[0] for name, key in store.calls if name == "put"} == {"clients/.rekey"}
    assert store.contents() == {}


@pytest.mark.parametrize(("fault", "expected"), [(Fault.slow_down(), StoreUnavailableError), (Fault.refuse(DeniedError), DeniedError)])
def test_probe_that_cannot_ask_says_why_and_cleans_up(fault: Fault, expected: type[Exception]) -> None:
    """An outage is no finding, and neither is a lacking right."""
    store = InMemoryStore()
    store.faults.add(fault, on="read", skip=5)

    with pytest.raises(expected):
        probe(store)
    assert store.contents() == {}


def test_probe_uses_keys_that_nobody_guesses() -> None:
    """Two workers may probe at once, and no object of the application is ever touched."""
    store = InMemoryStore()
    theirs = f".rekey/{secrets.token_hex(4)}"
    store.app_put(theirs, b"theirs")
    probe(store)
    first = {key for name, key in store.calls if name != "list_page"}
    store.calls.clear()
    probe(store)
    second = {key for name, key in store.calls if name != "list_page"}

    assert first & second == set()
    assert theirs not in first | second
    assert store.contents() == {theirs: b"theirs"}


@pytest.mark.parametrize(
    ("method", "lacking"),
    [
        ("list_page", {"ordered_listing": False, "ordered_folders": False, "lists_below_objects": False}),
        ("delete_key", {"delete_if_match": False}),
    ],
)
def test_probe_goes_on_without_a_right_that_a_run_can_do_without(method: str, lacking: dict[str, bool]) -> None:
    """Without the right to list every look is a HEAD; without the right to delete copies and switches go on (CASES 15)."""
    store = InMemoryStore()
    store.faults.add(Fault.refuse(DeniedError), on=method, times=None)

    assert asdict(probe(store)) == asdict(ALL_HONOURED) | lacking
