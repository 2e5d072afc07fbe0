"""Credentials that the store takes no longer: the run waits for them, and no asset is parked for it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from app.errors import CredentialsError, DeniedError, StoreUnavailableError
from app.states import ParkedReason
from app.testing import Fault
from app.testing.versions import LIKE_MINIO
from tests.builders import World

if TYPE_CHECKING:
    from pathlib import Path

READS = ("stat", "head", "read", "list_page")
WRITES = ("put", "copy", "put_snowball", "delete")


def _refuse(world: World, *requests: str) -> None:
    for request in requests:
        world.store.faults.add(Fault.refuse(CredentialsError), on=request, times=None)


@pytest.mark.parametrize("mode", ["auto", "server"])
@pytest.mark.parametrize("stage", ["copy", "rename", "delete"])
def test_run_stands_still_until_the_credentials_are_mended(tmp_path: Path, stage: str, mode: str) -> None:
    """A secret that was changed under running workers is no asset's fault, whatever is asked for first."""
    world = World(tmp_path, LIKE_MINIO, settings={"copy_mode": mode})
    for number in range(1, 4):
        world.add(number)
    world.seed()
    for earlier in ["copy", "rename"][: ["copy", "rename", "delete"].index(stage)]:
        world.do(earlier)
    before = world.states()
    _refuse(world, *READS, *WRITES)
    result = world.do(stage)
    there = world.states()
    world.store.faults.clear()
    world.go()

    assert isinstance(result.outage, StoreUnavailableError)
    assert "REKEY_S3_SECRET_KEY" in str(result.outage)
    assert there == before
    assert (world.states(), world.parked()) == ({"deleted": 3}, {})


def test_one_key_whose_signature_something_spoils_is_parked(tmp_path: Path) -> None:
    """A proxy that rewrites odd paths: the others go on."""
    world = World(tmp_path, LIKE_MINIO)
    for number in range(1, 4):
        world.add(number)
    world.store.faults.add(Fault.refuse(CredentialsError), on="read", key="up/2.png", times=None)
    world.go()

    assert (world.states(), world.parked()) == ({"deleted": 2, "parked": 1}, {ParkedReason.DENIED: 1})


def test_store_is_asked_once_for_many_refusals(tmp_path: Path) -> None:
    """Of a batch whose objects are denied one by one, to credentials that may not list either."""
    world = World(tmp_path, LIKE_MINIO)
    for number in range(1, 21):
        world.add(number)
    world.seed()
    for request in ("read", "list_page"):
        world.store.faults.add(Fault.refuse(DeniedError), on=request, times=None)
    world.store.calls.clear()
    world.do("copy")

    assert world.parked() == {ParkedReason.DENIED: 20}
    assert [name for name, _ in world.store.calls].count("list_page") == 1
