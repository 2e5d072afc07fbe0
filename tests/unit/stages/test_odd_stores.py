"""Stores that say one thing and do another of the same key: the reason given is the true one, and nothing goes on for ever."""

from __future__ import annotations

import dataclasses
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from app.errors import ConditionFailedError, MissingObjectError
from app.states import MoveState, ParkedReason
from app.testing.versions import CONDITIONAL, LIKE_SEAWEED
from tests.builders import World

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

FOLDER = "up/folder/"
NEW = "clients/7/assets/Logo.png"


def _spoil(world: World, monkeypatch: pytest.MonkeyPatch, names: tuple[str, ...], refuse: Callable[..., None]) -> None:
    for name in names:
        honest = getattr(world.store, name)

        def lie(*args: Any, honest: Callable[..., Any] = honest, **kwargs: Any) -> Any:  # noqa: ANN401 - as the store's own
            refuse(*args)
            return honest(*args, **kwargs)

        monkeypatch.setattr(world.store, name, lie)


def test_object_that_a_head_shows_and_nobody_gets_is_not_called_missing(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """SeaweedFS keeps a folder where a key ends in a slash: it answers HEAD, and knows no such object when it is to copy it."""
    world.settings = {"name_column": "title"}
    world.context = world.worker()
    world.add(1, FOLDER, body=b"bytes", title="1.png")
    world.add(2, "up/2.png", title="2.png")

    def refuse(source: Any, *_: Any) -> None:  # noqa: ANN401 - a key, or an object
        if FOLDER in {source, getattr(source, "key", "")}:
            raise MissingObjectError(FOLDER)

    _spoil(world, monkeypatch, ("copy", "read"), refuse)
    world.go()

    move = world.move(1)
    assert (move.reason, world.states()) == (ParkedReason.FAILED, {"parked": 1, "deleted": 1})
    assert "answers HEAD" in str(move.detail)
    assert (world.key(1), world.store.contents()[FOLDER]) == (FOLDER, b"bytes")


def test_key_that_is_refused_as_taken_though_nothing_is_there_is_not_called_change(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """SeaweedFS refuses `doc` where something lies below it, as if an object had that key."""
    world.add(1, "up/Logo.png", body=b"bytes")
    world.add(2)

    def refuse(*args: Any) -> None:  # noqa: ANN401 - of a put or a copy
        if NEW in args:
            raise ConditionFailedError(NEW)

    _spoil(world, monkeypatch, ("copy", "put"), refuse)
    world.go()

    move = world.move(1)
    assert (move.reason, world.states()) == (ParkedReason.TARGET_EXISTS, {"parked": 1, "deleted": 1})
    assert "shows no object" in str(move.detail)
    assert (world.key(1), world.get(1)) == ("up/Logo.png", b"bytes")
    assert len([call for call in world.store.calls if call == ("stat", NEW)]) < 10


CLEANING = replace(CONDITIONAL, folds_dots=True, ordered_listing=False)
SPELLINGS = ("up/../up/1.png", "up/x/../1.png", "up/./1.png", "./up/././1.png", "y/.././up/1.png", "up/1.png/.", "up/1.png/z/..")


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_object_that_a_row_outside_the_run_spells_with_dots_stays(tmp_path: Path, spelling: str) -> None:
    """On a store that cleans keys as paths no list holds all spellings: rows with dots are looked through one by one."""
    world = World(tmp_path, CLEANING, settings={"where": "id < 10"})
    world.add(1, body=b"shared")
    world.add(2)
    world.add(11, spelling, body=None)
    world.go()

    assert world.states() == {"kept": 1, "deleted": 1}
    assert (world.get(1), world.get(11)) == (b"shared", b"shared")


@pytest.mark.parametrize("spelling", ["clients/7/x/../assets/1.png", "clients/7/assets/./1.png"])
def test_key_that_a_row_spells_with_dots_is_taken(tmp_path: Path, spelling: str) -> None:
    """Nothing is copied to where a row already names an object to come."""
    world = World(tmp_path, CLEANING, settings={"where": "id < 10"})
    world.add(1, body=b"first")
    world.add(11, spelling, body=None)
    world.go()

    assert world.parked() == {"target_exists": 1}
    assert world.get(1) == b"first"


@pytest.mark.parametrize("spelling", ["base//up/a/b.png", "base/up//a/b.png", "/base/up/a//b.png", "base/up\\a\\b.png", "base/up/a\\b.png"])
def test_object_that_a_row_outside_the_run_spells_with_one_slash_more_stays(tmp_path: Path, spelling: str) -> None:
    """As a service writes it that joins a folder and a path, each with a slash of its own, on a store that folds them."""
    world = World(tmp_path, LIKE_SEAWEED, settings={"where": "id < 10"})
    world.add(1, "base/up/a/b.png", body=b"shared")
    world.add(11, spelling, body=None)
    world.go()

    assert world.states() == {"kept": 1}
    assert (world.get(1), world.get(11)) == (b"shared", b"shared")


def test_new_keys_that_are_one_object_in_two_spellings_are_a_collision(tmp_path: Path) -> None:
    """Two moves to them would write over each other (H6)."""
    folding = dataclasses.replace(CONDITIONAL, folds_case=True, ordered_listing=False)
    world = World(tmp_path, folding, settings={"name_column": "title"})
    world.add(1, "up/1.png", body=b"one", title="Logo.png")
    world.add(2, "up/2.png", body=b"two", title="logo.PNG")
    world.go()

    assert world.parked() == {"collision": 1}
    assert sorted([world.get(1), world.get(2)]) == [b"one", b"two"]


@pytest.mark.parametrize(("title", "copies"), [("page.html", 0), ("other.png", 1)], ids=["another extension", "the same"])
def test_type_that_the_store_guesses_stays_what_readers_saw(tmp_path: Path, title: str, copies: int) -> None:
    """SeaweedFS tells a type by the key where an object was given none: where the new key would tell another, it is written down."""
    world = World(tmp_path, LIKE_SEAWEED, settings={"name_column": "title"})
    world.add(1, "up/1.png", body=b"bytes", title=title)
    seen = world.store.head("up/1.png").attributes.headers["content-type"]
    world.go()

    assert world.states() == {"deleted": 1}
    assert (seen, world.store.head(world.key(1)).attributes.headers["content-type"]) == ("image/png", "image/png")
    assert len([call for call in world.store.calls if call[0] == "copy"]) == copies


def test_folder_that_is_read_as_empty_is_not_moved(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """SeaweedFS gives no bytes for such a key, and the ETag of those that were sent: a copy of that would be an empty file for good."""
    world.settings = {"name_column": "title", "copy": "auto"}
    world.context = world.worker()
    world.add(1, FOLDER, body=b"bytes", title="1.png")
    world.add(2, "up/empty/", body=b"", title="2.png")
    honest = world.store.read

    def emptied(key: str, **given: Any) -> Any:  # noqa: ANN401 - as the store's own
        found = honest(key, **given)
        return replace(found, info=replace(found.info, size=0), body=b"") if key == FOLDER else found

    monkeypatch.setattr(world.store, "read", emptied)
    monkeypatch.setattr("app.stages.writing.SINGLE_COPY_BYTES", -1)  # the worker reads each, on both kinds of store
    world.go()

    assert (world.move(1).reason, world.states()) == (ParkedReason.FAILED, {"parked": 1, "deleted": 1})
    assert "folder" in str(world.move(1).detail)
    assert (world.key(1), world.store.contents()[FOLDER]) == (FOLDER, b"bytes")
    assert (world.key(2), world.get(2)) == ("clients/7/assets/2.png", b"")


def test_delete_that_is_refused_for_ever_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As changed, though each look shows the very version that was copied: the asset stays moved, its old object stays, the run ends."""
    world = World(tmp_path, CONDITIONAL)
    world.add(1, body=b"bytes")
    world.add(2)
    honest = world.store.delete

    def refuse(objects: Any, **given: Any) -> Any:  # noqa: ANN401 - as the store's own
        rest = [info for info in objects if info.key != "up/1.png"]
        answers = dict(honest(rest, **given))
        return answers | {info.key: ConditionFailedError(info.key) for info in objects if info not in rest}

    monkeypatch.setattr(world.store, "delete", refuse)
    world.go(ticks=400)

    move = world.move(1)
    assert (move.state, move.parked_from, move.reason) == (MoveState.PARKED, MoveState.RENAMED, ParkedReason.FAILED)
    assert (world.get(1), world.store.contents()["up/1.png"]) == (b"bytes", b"bytes")
    assert world.move(2).state is MoveState.DELETED


@pytest.mark.parametrize(("rule", "states", "told"), [("", {"parked": 1}, None), ("content_type=warn", {"deleted": 1}, "text/html")])
def test_type_that_cannot_be_kept_from_a_guess_is_a_loss(tmp_path: Path, rule: str, states: dict[str, int], told: str | None) -> None:
    """`application/octet-stream` is no type to such a store: with another extension readers would see another one (REKEY_FIDELITY)."""
    world = World(tmp_path, LIKE_SEAWEED, settings={"name_column": "title", "fidelity": rule})
    world.add(1, "up/3f9a", body=b"bytes", title="page.html")
    world.go()

    assert world.states() == states
    if told is None:
        assert (world.move(1).reason, world.key(1)) == (ParkedReason.FIDELITY, "up/3f9a")
    else:
        assert world.store.head(world.key(1)).attributes.headers["content-type"] == told
