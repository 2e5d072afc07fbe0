"""Cases about single requests: an answer that lies, one that is lost, a worker that dies at it. Each at every place of a run."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from app.errors import MissingObjectError
from app.object_store import ListedPage, ReadObject
from app.testing import Fault
from tests.cases.worlds import (
    READS,
    WRITES,
    KilledError,
    assert_moved,
    assert_second_run_changes_nothing,
    forbid_deleting_what_is_named,
    fresh,
    go_on,
    places,
    spoil,
)

if TYPE_CHECKING:
    from pathlib import Path

    from app.testing import Behaviour

LARGE = {"inline_bytes": 4}  # every object goes by parts


def empty(answer: Any) -> Any:  # noqa: ANN401 - an answer of the store
    """As if the object had no bytes."""
    if isinstance(answer, ListedPage):
        return replace(answer, objects=[replace(info, size=0) for info in answer.objects])
    if isinstance(answer, ReadObject):
        return replace(answer, info=replace(answer.info, size=0))
    return replace(answer, size=0)


@pytest.mark.parametrize("says", ["503", "empty"])
def test_case_10_a_check_that_fails_only_repeats(tmp_path: Path, behaviour: Behaviour, says: str) -> None:
    """Whichever look at the copy or the source fails once, with every message coming twice: no key that a row names is deleted."""
    for name, number in places(tmp_path, behaviour, ("stat", "head", "list_page")):
        world = fresh(tmp_path, behaviour)
        forbid_deleting_what_is_named(world)
        if says == "empty":
            spoil(world, name, number, empty)
        else:
            world.store.faults.add(Fault.slow_down(), on=name, skip=number)
        while not world.is_over() or not world.moves():
            world.go(until=1)
            world.messages *= 2

        assert_moved(world)


@pytest.mark.parametrize("settings", [{}, LARGE], ids=["small", "large"])
def test_case_16_one_404_for_a_present_object_is_believed_by_nobody(tmp_path: Path, behaviour: Behaviour, settings: dict[str, Any]) -> None:
    """On each HEAD, GET, listing and copy of a run in turn; later the store is normal, and so is the outcome."""
    for name, number in places(tmp_path, behaviour, (*READS, "copy", "copy_part"), **settings):
        world = fresh(tmp_path, behaviour, **settings)
        forbid_deleting_what_is_named(world)
        error = MissingObjectError("up/1.png") if name in {"copy", "copy_part"} else MissingObjectError  # which names the source
        world.store.faults.add(Fault.refuse(error), on=name, skip=number)
        world.go()

        assert_moved(world)


@pytest.mark.parametrize("settings", [{}, LARGE], ids=["small", "large"])
def test_case_16_a_listing_without_a_present_object_is_believed_by_nobody(
    tmp_path: Path, behaviour: Behaviour, settings: dict[str, Any]
) -> None:
    """Drives are out: the page comes, and lacks what is there."""
    for name, number in places(tmp_path, behaviour, ("list_page",), **settings):
        world = fresh(tmp_path, behaviour, **settings)
        spoil(world, name, number, lambda page: replace(page, objects=[]))
        world.go()

        assert_moved(world)


@pytest.mark.parametrize("settings", [{}, LARGE], ids=["small", "large"])
@pytest.mark.parametrize("then", ["reply lost", "reply lost and worker killed"])
def test_case_18_a_write_that_was_done_and_never_answered_converges(
    tmp_path: Path,
    behaviour: Behaviour,
    then: str,
    settings: dict[str, Any],
) -> None:
    """On each COPY, PUT and DELETE of a run in turn: no failure in the report, nothing done twice, nothing left over."""
    killed = then.endswith("killed")
    for name, number in places(tmp_path, behaviour, WRITES, **settings):
        world = fresh(tmp_path, behaviour, **settings)
        fault = Fault(carried_out=True, error=lambda _key: KilledError()) if killed else Fault.lose_reply()  # type: ignore[arg-type,return-value]
        world.store.faults.add(fault, on=name, skip=number)
        go_on(world, killed=killed)

        assert_moved(world)
        assert_second_run_changes_nothing(world)


def test_case_31_a_worker_killed_at_any_request_blocks_nobody(tmp_path: Path, behaviour: Behaviour) -> None:
    """Before each request of a run in turn; case 18 kills after it. A second run plans nothing."""
    for name, number in places(tmp_path, behaviour, (*READS, *WRITES)):
        world = fresh(tmp_path, behaviour)
        fault = Fault(carried_out=False, error=lambda _key: KilledError())  # type: ignore[arg-type,return-value]
        world.store.faults.add(fault, on=name, skip=number)
        go_on(world, killed=True)

        assert_moved(world)
        assert_second_run_changes_nothing(world)
