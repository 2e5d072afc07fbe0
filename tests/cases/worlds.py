"""Runs in memory that are played again and again, each time with one thing going wrong at another place; and the independent recount."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

from tests.builders import World

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from app.testing import Behaviour

READS = ("stat", "head", "read", "tags", "list_page")
WRITES = ("put", "copy", "create_upload", "copy_part", "put_part", "complete_upload", "delete")


class KilledError(BaseException):
    """SIGKILL: nothing of the worker runs any more, not even what catches exceptions."""


def fresh(folder: Path, behaviour: Behaviour, *, assets: int = 2, **settings: Any) -> World:  # noqa: ANN401 - any setting
    """A world with some assets of client 7."""
    own = folder / str(next(_NUMBERS))
    own.mkdir()
    world = World(own, behaviour, settings={"grace_seconds": 10, "settle_seconds": 5, **settings})
    for number in range(1, assets + 1):
        world.add(number, body=body_of(number))
    return world


_NUMBERS = itertools.count()


def body_of(number: int) -> bytes:
    """What the service uploaded for a row."""
    return f"asset {number}".encode()


def places(folder: Path, behaviour: Behaviour, names: Sequence[str], **settings: Any) -> Iterator[tuple[str, int]]:  # noqa: ANN401
    """Each request of these names that a run without a fault sends: its name, and which one of that name it is."""
    world = fresh(folder, behaviour, **settings)
    world.go()
    for name in names:
        yield from ((name, number) for number in range(sum(1 for sent, _ in world.store.calls if sent == name)))


def go_on(world: World, *, killed: bool = False) -> None:
    """Drive the run to its end; *killed*: a worker dies on the way, once, with the message that it had in hand."""
    try:
        world.go()
    except KilledError:
        assert killed
        world.go()


def assert_moved(world: World, *, assets: int = 2) -> None:
    """Every row names its own bytes, nothing else is there, and the report says so (O2, O3): for runs in which nothing is to be parked."""
    assert world.states() == {"deleted": assets}
    assert {number: world.get(number) for number in range(1, assets + 1)} == {number: body_of(number) for number in range(1, assets + 1)}
    assert sorted(world.store.contents()) == sorted(world.key(number) for number in range(1, assets + 1))
    assert_report(world)


def assert_report(world: World) -> None:
    """The report equals a recount of table and bucket (O3)."""
    report = world.report()
    rows = {number: key for number, key in world.sql("SELECT id, object_key FROM assets")}  # noqa: C416 - rows of the driver
    objects = world.store.contents()
    moved = [number for number, key in rows.items() if key.startswith("clients/")]
    outcomes = ("deleted", "kept", "in_place", "parked", "superseded", "cancelled", "rolled_back", "open")
    assert sum(report[name] for name in outcomes) == report["rows"]
    assert report["renamed"] + report["in_place"] == len(moved)
    assert report["deleted"] == sum(1 for number in moved if f"up/{number}.png" not in objects) - report["in_place"]
    assert report["parked"] == sum(report["parked_reasons"].values())


def assert_second_run_changes_nothing(world: World) -> None:
    """No write, no switch (O4, S9)."""
    writes, rows = len(world.writes()), world.sql("SELECT id, object_key FROM assets ORDER BY id")
    world.store.faults.clear()
    first, world.run_id = world.run_id, ""
    world.go()

    assert len(world.writes()) == writes
    assert world.sql("SELECT id, object_key FROM assets ORDER BY id") == rows
    assert set(world.states()) <= {"in_place", "parked"}
    world.run_id = first


def spoil(world: World, name: str, number: int, how: Callable[[Any], Any]) -> None:
    """Let the answer to one request say something else, once: the *number*-th of those called *name*."""
    honest, seen = getattr(world.store, name), itertools.count()

    def lie(*args: Any, **kwargs: Any) -> Any:  # noqa: ANN401 - as the store's own
        answer = honest(*args, **kwargs)
        return how(answer) if next(seen) == number else answer

    setattr(world.store, name, lie)


def needed(world: World) -> Mapping[str, str]:
    """The objects that a row names, with who needs them: nothing may delete one."""
    return {
        world.context.rules.equivalence.canonical(key): f"row {number}" for number, key in world.sql("SELECT id, object_key FROM assets")
    }


def forbid_deleting_what_is_named(world: World) -> None:
    """Fail at the very request that deletes an object which a row names at that moment."""

    def look(name: str, key: str) -> None:
        if name in {"delete", "delete_key"}:
            canonical = world.context.rules.equivalence.canonical(key)
            assert canonical not in needed(world), f"{needed(world)[canonical]} names {key!r}, which is deleted"

    world.store.on_call = look
