"""Two assets that want one new key: the second is parked, or gets a key with a suffix; what is foreign there is not touched (case 30)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from app.key_suffix import suffix_of
from app.ledger.reopening import Selection
from app.states import MoveState, ParkedReason
from app.testing.versions import CONDITIONAL, LIKE_MINIO
from tests.builders import ASSETS, World

if TYPE_CHECKING:
    from pathlib import Path

    from app.testing import Behaviour

LOGO = "clients/7/assets/logo.png"


@pytest.fixture(params=[CONDITIONAL, LIKE_MINIO], ids=["conditional", "minio"])
def behaviour(request: pytest.FixtureRequest) -> Behaviour:
    """A store of each kind."""
    found: Behaviour = request.param
    return found


@pytest.fixture
def world(behaviour: Behaviour, tmp_path: Path) -> World:
    """A world in which collisions get a suffix."""
    return World(tmp_path, behaviour, settings={"on_collision": "suffix"})


def own_key(number: int, old_key: str) -> str:
    """The key with the suffix of row *number*, which is called logo.png."""
    return f"clients/7/assets/logo-{suffix_of('assets', f'[{number}]', old_key)}.png"


def add_logos(world: World, *numbers: int) -> None:
    """Rows of one client, each with a logo of its own."""
    for number in numbers:
        world.add(number, f"up/{number}/logo.png", body=f"of {number}".encode())


def test_second_row_is_parked_by_default(behaviour: Behaviour, tmp_path: Path) -> None:
    """Nothing is overwritten, and the others go on."""
    world = World(tmp_path, behaviour)
    add_logos(world, 1, 2)
    world.add(3)
    world.go()

    assert [world.key(number) for number in (1, 2, 3)] == [LOGO, "up/2/logo.png", "clients/7/assets/3.png"]
    assert world.parked() == {"collision": 1}
    assert (world.get(1), world.get(2)) == (b"of 1", b"of 2")


def test_second_row_gets_a_suffix_of_its_own(world: World) -> None:
    """And the third another one; the first has the plain name."""
    add_logos(world, 1, 2, 3)
    world.go()

    assert [world.key(number) for number in (1, 2, 3)] == [LOGO, own_key(2, "up/2/logo.png"), own_key(3, "up/3/logo.png")]
    assert [world.get(number) for number in (1, 2, 3)] == [b"of 1", b"of 2", b"of 3"]
    assert len(world.store.contents()) == 3
    assert world.states() == {"deleted": 3}


def test_second_run_finds_keys_with_a_suffix_in_place(world: World) -> None:
    """S9: nothing is written, and no suffix gets a suffix."""
    add_logos(world, 1, 2)
    world.go()
    written, keys = len(world.writes()), [world.key(1), world.key(2)]
    world.run_id = ""
    world.go()

    assert world.states() == {"in_place": 2}
    assert (len(world.writes()), [world.key(1), world.key(2)]) == (written, keys)


def test_row_that_comes_when_the_name_is_taken_gets_a_suffix_too(world: World) -> None:
    """The one that has the name is in place by then: seen by its row, not by a live move."""
    add_logos(world, 1)
    world.go()
    add_logos(world, 2)
    world.run_id = ""
    world.go()

    assert world.key(2) == own_key(2, "up/2/logo.png")
    assert (world.get(1), world.get(2)) == (b"of 1", b"of 2")
    assert world.states() == {"in_place": 1, "deleted": 1}


def test_rows_that_another_run_parked_get_their_suffix_by_a_run_that_gives_them(behaviour: Behaviour, tmp_path: Path) -> None:
    """The operator changes the setting and starts anew."""
    world = World(tmp_path, behaviour)
    add_logos(world, 1, 2)
    world.go()
    assert world.parked() == {"collision": 1}
    world.settings = {"on_collision": "suffix"}
    world.context, world.run_id = world.worker(), ""
    world.go()

    assert world.key(2) == own_key(2, "up/2/logo.png")
    assert world.get(2) == b"of 2"


def test_foreign_object_is_not_touched_and_gets_nobody_a_suffix(world: World) -> None:
    """No row names it: whose it is has to be seen by a person."""
    add_logos(world, 1)
    world.store.app_put(LOGO, b"a stranger's")
    world.go()

    assert world.parked() == {"target_exists": 1}
    assert world.store.app_get(LOGO) == b"a stranger's"


def test_equal_object_that_nobody_names_is_adopted(world: World) -> None:
    """A half-finished earlier attempt of any tool: no second copy is written (S3)."""
    add_logos(world, 1, 2)
    world.store.app_put(own_key(2, "up/2/logo.png"), b"of 2")
    world.later(100)
    written = len(world.writes())
    world.go()

    assert world.states() == {"deleted": 2}
    assert world.key(2) == own_key(2, "up/2/logo.png")
    landed = [key for name, key in world.writes()[written:] if name in {"put", "copy"}]
    assert landed.count(own_key(2, "up/2/logo.png")) == 1  # the one that the store refused
    assert world.get(2) == b"of 2"


def test_rollback_gives_the_old_keys_back_and_the_next_run_the_same_suffix(world: World) -> None:
    """There, back and there again."""
    add_logos(world, 1, 2)
    world.go()
    forward, first = world.context, world.key(2)
    world.take_back(world.run_id)
    world.go()
    assert [world.key(1), world.key(2)] == ["up/1/logo.png", "up/2/logo.png"]
    world.context, world.run_id = forward, ""
    world.go()

    assert [world.key(1), world.key(2)] == [LOGO, first]
    assert (world.get(1), world.get(2)) == (b"of 1", b"of 2")


def test_row_that_names_another_object_by_the_switch_gets_the_suffix_of_that(world: World) -> None:
    """It is planned anew; what was copied for it goes."""
    add_logos(world, 1, 2)
    world.seed()
    world.do("copy")
    world.store.app_put("up/new/logo.png", b"new")
    world.save_key(2, "up/new/logo.png")
    world.go()

    assert world.key(2) == own_key(2, "up/new/logo.png")
    assert world.get(2) == b"new"
    assert own_key(2, "up/2/logo.png") not in world.store.contents()


def test_row_that_another_one_takes_the_name_from_at_the_switch_gets_a_suffix(world: World) -> None:
    """The service inserts a row at the new key between copy and switch: our copy stays there, since that row names it."""
    add_logos(world, 1)
    world.seed()
    world.do("copy")
    world.sql("INSERT INTO assets (id, client_id, object_key) VALUES (9, 7, :key)", key=LOGO)
    world.go()

    assert world.key(1) == own_key(1, "up/1/logo.png")
    assert world.get(1) == b"of 1"
    assert world.store.app_get(LOGO) == b"of 1"


def test_retry_of_a_move_with_a_suffix_keeps_it(world: World) -> None:
    """Parked for a missing source, which is uploaded then."""
    add_logos(world, 1)
    world.add(2, "up/2/logo.png", body=None)
    world.go()
    assert world.parked() == {"missing_source": 1}
    assert world.move(2).new_key == own_key(2, "up/2/logo.png")
    world.store.app_put("up/2/logo.png", b"of 2")
    world.context.reopening.retry(world.run, Selection())
    world.go()

    assert (world.key(2), world.get(2)) == (own_key(2, "up/2/logo.png"), b"of 2")


def test_two_rows_never_get_one_suffixed_key(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two hashes may be the same: then the ledger parks the second, and nothing is overwritten (H25)."""
    monkeypatch.setattr("app.planning.suffix_of", lambda *_: "0000000000")
    add_logos(world, 1, 2, 3)
    world.go()

    assert [world.key(number) for number in (1, 2, 3)] == [LOGO, "clients/7/assets/logo-0000000000.png", "up/3/logo.png"]
    assert [world.get(number) for number in (1, 2, 3)] == [b"of 1", b"of 2", b"of 3"]
    assert world.parked() == {"collision": 1}


def test_suffix_fits_into_the_key_column(behaviour: Behaviour, tmp_path: Path) -> None:
    """The name is cut for it; the plain key of the first row is not."""
    table = ASSETS.replace("object_key TEXT", "object_key VARCHAR(34)")
    world = World(tmp_path, behaviour, table=table, settings={"on_collision": "suffix"})
    for number in (1, 2):
        world.add(number, f"up/{number}/screenshot.png", body=b"%d" % number)
    world.go()

    assert world.key(1) == "clients/7/assets/screenshot.png"
    assert world.key(2) == f"clients/7/assets/sc-{suffix_of('assets', '[2]', 'up/2/screenshot.png')}.png"
    assert len(world.key(2)) == 34


def test_unique_key_column_is_no_hindrance(behaviour: Behaviour, tmp_path: Path) -> None:
    """Case 30, with UNIQUE."""
    table = ASSETS.replace("object_key TEXT", "object_key TEXT UNIQUE")
    world = World(tmp_path, behaviour, table=table, settings={"on_collision": "suffix"})
    add_logos(world, 1, 2)
    world.go()

    assert [world.key(1), world.key(2)] == [LOGO, own_key(2, "up/2/logo.png")]


def test_two_rows_that_are_given_one_key_while_they_move_are_told_apart_by_the_ledger(world: World) -> None:
    """Both are re-pointed to names that collide; the second is recorded with its suffix (H9, H25)."""
    for number in (1, 2):
        world.add(number)
    world.seed()
    world.do("copy")
    for number in (1, 2):
        world.store.app_put(f"up/{number}/logo.png", b"of %d" % number)
        world.save_key(number, f"up/{number}/logo.png")
    world.go()

    assert [world.key(1), world.key(2)] == [LOGO, own_key(2, "up/2/logo.png")]
    assert (world.get(1), world.get(2)) == (b"of 1", b"of 2")


def test_missing_row_in_place_does_not_ask_for_a_suffix(world: World) -> None:
    """A row that has its form is never given another key, even where its object is missing."""
    world.add(1, "up/logo.png")
    world.add(2, LOGO, body=None)
    world.go()

    assert world.key(2) == LOGO
    assert world.move(2).state is MoveState.PARKED
    assert world.move(2).reason in {ParkedReason.MISSING_SOURCE, ParkedReason.COLLISION}
    assert world.key(1) == own_key(1, "up/logo.png")
