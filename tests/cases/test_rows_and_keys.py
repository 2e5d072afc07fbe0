"""Cases about keys that mean one object, live readers and writers, and rows that hold nonsense; in memory, on both kinds of store."""

from __future__ import annotations

import random
from collections import Counter
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from app.errors import StoreRequestError, StoreUnavailableError
from app.object_keys import Equivalence
from app.report import is_done
from app.states import KeptReason, MoveState
from app.testing import Fault
from app.testing.versions import CONDITIONAL, LIKE_MINIO
from tests.builders import World
from tests.cases.worlds import (
    KilledError,
    assert_moved,
    assert_report,
    assert_second_run_changes_nothing,
    body_of,
    forbid_deleting_what_is_named,
    fresh,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from app.testing import Behaviour

NEW = "clients/7/assets/Logo.png"
FOLDS = {
    "folds_leading_slash": f"/{NEW}",
    "folds_double_slash": "clients/7//assets/Logo.png",
    "folds_backslash": "clients/7\\assets/Logo.png",
    "folds_case": "clients/7/ASSETS/LOGO.PNG",
}


@pytest.mark.parametrize("fold", FOLDS)
@pytest.mark.parametrize("honours", [True, False], ids=["conditions honoured", "ignored on copies and deletes"])
def test_case_1_one_object_under_two_spellings_is_never_deleted(tmp_path: Path, fold: str, honours: bool) -> None:  # noqa: FBT001
    """The store takes both keys for one object: no copy, no delete, the row's text is corrected."""
    world = _spelt(tmp_path, replace(CONDITIONAL if honours else _ignoring(), **{fold: True}), FOLDS[fold])

    assert (world.states(), world.writes()) == ({"in_place": 1}, [])
    assert (world.key(1), world.get(1)) == (NEW, b"the only bytes")
    assert len(world.store.contents()) == 1


@pytest.mark.parametrize("fold", FOLDS)
@pytest.mark.parametrize("honours", [True, False], ids=["conditions honoured", "ignored on copies and deletes"])
def test_case_1_two_objects_whose_keys_look_alike_are_moved(tmp_path: Path, fold: str, honours: bool) -> None:  # noqa: FBT001
    """The store keeps both keys apart, whatever other stores do with them."""
    world = _spelt(tmp_path, CONDITIONAL if honours else _ignoring(), FOLDS[fold])

    assert world.states() == {"deleted": 1}
    assert world.store.contents() == {NEW: b"the only bytes"}
    assert world.key(1) == NEW


def _ignoring() -> Behaviour:
    """Like MinIO, which folds nothing else but the leading slash."""
    return replace(LIKE_MINIO, folds_leading_slash=False, refuses_double_slash=False)


def _spelt(folder: Path, behaviour: Behaviour, key: str) -> World:
    world = World(folder, behaviour, settings={"name_column": "title"})
    world.add(1, key, body=b"the only bytes", title="Logo.png")
    forbid_deleting_what_is_named(world)
    world.go()
    return world


def test_case_1_rows_with_and_without_a_leading_slash(tmp_path: Path, behaviour: Behaviour) -> None:
    """One object or two, as the store says: each client gets its own copy of what its row named, and only then the old ones go."""
    world = World(tmp_path, behaviour)
    world.add(1, "/up/b.png", body=b"with", client=7)
    world.add(2, "up/b.png", body=b"without", client=8)
    one = Equivalence.of(behaviour.capabilities()).same("/up/b.png", "up/b.png")
    forbid_deleting_what_is_named(world)
    world.go()

    assert world.store.contents() == {"clients/7/assets/b.png": b"without" if one else b"with", "clients/8/assets/b.png": b"without"}
    assert (world.key(1), world.key(2)) == ("clients/7/assets/b.png", "clients/8/assets/b.png")


def test_case_24_a_reader_has_the_whole_grace(tmp_path: Path, behaviour: Behaviour) -> None:
    """Readers that keep a key for ten minutes, resolved at any moment of the run: none fails, and each gets its asset's bytes."""
    grace = 600
    world = fresh(tmp_path, behaviour, assets=4, grace_seconds=grace)
    held: list[tuple[float, int, str]] = []
    reads = Counter[str]()
    while not (world.is_over() and world.moves()):
        now = world.clock.boot()
        held = [each for each in held if now - each[0] <= grace]
        held += [(now, number, world.key(number)) for number in range(1, 5)]
        for _, number, key in held:
            assert world.store.app_get(key) == body_of(number)
            reads[key.split("/")[0]] += 1
        if all(world.key(number).startswith("clients/") for number in range(1, 5)):
            world.store.on_call = _not_before(world, [each for each in held if each[2].startswith("up/")], grace)
        world.go(until=1, seconds=20.0)

    assert reads["up"] > 100
    assert_moved(world, assets=4)


def _not_before(world: World, held: list[tuple[float, int, str]], grace: int) -> Callable[[str, str], None]:
    """No delete of a key within the grace of a reader who holds it."""

    def look(name: str, key: str) -> None:
        assert not (name == "delete" and any(key == mine and world.clock.boot() - since < grace for since, _, mine in held))

    return look


def test_case_26_what_is_in_place_is_not_moved_onto_itself(tmp_path: Path, behaviour: Behaviour) -> None:
    """Half of the rows are at their new key, every message comes twice: nothing is written for them, and they count as in place."""
    world = fresh(tmp_path, behaviour, assets=3)
    for number in (11, 12, 13):
        world.add(number, f"clients/7/assets/{number}.png", body=body_of(number))
    forbid_deleting_what_is_named(world)
    while not (world.is_over() and world.moves()):
        world.go(until=1)
        world.messages *= 2

    assert world.states() == {"deleted": 3, "in_place": 3}
    assert {key for name, key in world.writes() if name != "delete"} == {f"clients/7/assets/{number}.png" for number in (1, 2, 3)}
    assert all(world.get(number) == body_of(number) for number in (1, 2, 3, 11, 12, 13))
    assert_second_run_changes_nothing(world)


@pytest.mark.parametrize("tick", range(8))
def test_case_27_a_new_reference_at_any_moment_keeps_the_object(tmp_path: Path, behaviour: Behaviour, tick: int) -> None:
    """Rows of two clients share an object, and a third comes to name it: it stays until nobody does, and each has its own copy."""
    world = World(tmp_path, behaviour, settings={"grace_seconds": 10, "settle_seconds": 5})
    world.add(1, "up/shared.png", body=b"shared", client=7)
    world.add(2, "up/shared.png", body=None, client=8)
    forbid_deleting_what_is_named(world)
    world.go(until=tick)
    if "up/shared.png" in world.store.contents():  # else the service would name what is not there
        world.add(3, "up/shared.png", body=None, client=9)
    world.go()
    copies = {f"clients/{client}/assets/shared.png": b"shared" for client in (7, 8)}

    assert copies.items() <= world.store.contents().items()
    for (key,) in world.sql("SELECT object_key FROM assets"):
        assert world.store.app_get(key) == b"shared"
    assert {move.reason for move in world.moves() if move.state is MoveState.KEPT} <= {KeptReason.NAMED}
    assert ("up/shared.png" in world.store.contents()) == any(
        key == "up/shared.png" for (key,) in world.sql("SELECT object_key FROM assets")
    )


OPERATIONS = {
    "500": lambda: Fault.refuse(StoreRequestError),
    "503": Fault.slow_down,
    "lost": Fault.lose_reply,
    "killed": lambda: Fault(carried_out=False, error=lambda _key: KilledError()),  # type: ignore[arg-type,return-value]
    "killed after": lambda: Fault(carried_out=True, error=lambda _key: KilledError()),  # type: ignore[arg-type,return-value]
}


class _Chance:
    """Three requests in a hundred fail, in one way or another; for more of them nobody would need a counter of errors."""

    def __init__(self, world: World, seed: int) -> None:
        self.world, self.random, self.made = world, random.Random(seed), Counter[str]()
        world.store.on_call = self.perhaps

    def perhaps(self, name: str, key: str) -> None:
        """Plan a fault for this very request."""
        if name != "delete_key" and self.random.random() < 0.03:
            kind = self.random.choice(sorted(OPERATIONS))
            self.made[kind] += 1
            self.world.store.faults.add(OPERATIONS[kind](), on=name, key=key)


@pytest.mark.parametrize("seed", range(4))
def test_case_32_the_report_tells_the_truth_whatever_fails(tmp_path: Path, behaviour: Behaviour, seed: int) -> None:
    """Errors, lost replies and kills at random: what is reported is what table and bucket hold, and 0 means that all is moved."""
    world = fresh(tmp_path, behaviour, assets=60)
    chance = _Chance(world, seed)
    ended = False
    while not ended:
        with suppress(KilledError, StoreUnavailableError):  # of the latter the seed's, which its task outlives
            world.go(until=1)
        ended = bool(world.moves()) and not world.run.is_live

    assert sum(chance.made.values()) > 3
    assert_report(world)
    report = world.report()
    rows = {number: key for number, key in world.sql("SELECT id, object_key FROM assets")}  # noqa: C416 - rows of the driver
    assert all(world.store.app_get(key) == body_of(number) for number, key in rows.items())
    unmoved = [number for number, key in rows.items() if not key.startswith("clients/")]
    assert is_done(report) == (not unmoved and not report["parked"])


NAMES: tuple[Any, ...] = (None, "", "   ", ".", "..", "a/b", "/", "\t")


@pytest.mark.parametrize("settings", [{"name_column": "title"}, {}], ids=["by name", "by key"])
def test_case_33_nonsense_in_a_row_is_parked_and_touches_nothing(tmp_path: Path, behaviour: Behaviour, settings: dict[str, Any]) -> None:
    """A name, a key or a client that is missing, empty, blank or a dot: one reason a row, no request for it, its mates move."""
    world = World(tmp_path, behaviour, settings=settings)
    world.add(1, "up/1.png", body=b"good", title="1.png")
    world.store.app_put("clients/7/assets", b"a neighbour")
    world.store.app_put("up/clean", b"another")
    bad: list[tuple[Any, Any, Any]] = [(None, 7, "x.png"), ("", 7, "x.png"), ("up/clean", None, "x.png"), ("up/clean", " ", "x.png")]
    bad += [("up/clean", 7, name) for name in NAMES] if settings else [(f"up/{name}", 7, "") for name in ("", " ", ".", "..")]
    for number, (key, client, name) in enumerate(bad, start=101):
        world.sql(
            "INSERT INTO assets (id, client_id, object_key, title) VALUES (:id, :client, :key, :name)",
            id=number,
            client=client,
            key=key,
            name=name,
        )
    before = world.sql("SELECT id, object_key FROM assets WHERE id > 100 ORDER BY id")
    world.go()

    assert world.states() == {"deleted": 1, "parked": len(bad)}
    assert set(world.parked()) == {"bad_name"}
    assert world.sql("SELECT id, object_key FROM assets WHERE id > 100 ORDER BY id") == before
    assert world.store.contents() == {
        "clients/7/assets": b"a neighbour",
        "clients/7/assets/1.png": b"good",
        "up/clean": b"another",
    }
    assert {key for _, key in world.writes()} == {"up/1.png", "clients/7/assets/1.png"}


def test_case_31_a_name_that_is_a_whole_key_is_not_put_below_itself(tmp_path: Path, behaviour: Behaviour) -> None:
    """The name column gets the full new key, as by a first run that saved it: no ``clients/7/assets/clients/7/``, and nobody is blocked."""
    world = World(tmp_path, behaviour, settings={"name_column": "title"})
    world.add(1, title="logo.png")
    world.add(2, title="clients/7/assets/other.png")
    world.go()
    assert (world.states(), world.parked()) == ({"deleted": 1, "parked": 1}, {"bad_name": 1})
    world.sql("UPDATE assets SET title = object_key WHERE id = 1")
    writes = len(world.writes())
    world.run_id = ""
    world.go()

    assert len(world.writes()) == writes
    assert world.states() == {"in_place": 1, "parked": 1}
    assert sorted(world.store.contents()) == ["clients/7/assets/logo.png", "up/2.png"]


def test_case_31_seeding_twice_plans_each_row_once(tmp_path: Path, behaviour: Behaviour) -> None:
    """Two seeds at once, and a seed that is repeated after a kill."""
    world = fresh(tmp_path, behaviour, assets=5)
    world.messages += [(None, []), (None, []), (None, [])]
    world.go()

    assert_moved(world, assets=5)
    assert_second_run_changes_nothing(world)
