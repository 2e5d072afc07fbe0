"""Case 8: an answer says that a copy was made, and it was not, or not whole, or nobody can read it. In memory and on real stores."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from app import copy_proof
from app.errors import DeniedError, ProofError
from app.ledger.reopening import Selection
from app.minio_store import MinioStore
from app.probe import probe
from app.states import MoveState, ParkedReason
from app.testing import Fault
from app.testing.versions import CONDITIONAL
from tests.builders import World
from tests.cases.test_stores import Shop, _go, shop
from tests.cases.worlds import assert_moved, assert_report, fresh

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from app.testing import Behaviour
    from tests.chaos.wire import Request

__all__ = ["shop"]
EVERY_WAY = [("hash", 100), ("checksum", 100), ("hash", 0), ("checksum", 0)]
BODY = b"the only bytes"
EMPTY_ETAG = "d41d8cd98f00b204e9800998ecf8427e"
ERROR = b"<?xml version='1.0'?><Error><Code>InternalError</Code><Message>We encountered an internal error.</Message></Error>"


def _write_request(world: World) -> str:
    by_store = world.store.capabilities.copy_if_absent
    return "copy" if by_store else "put" if world.context.settings.inline_bytes else "complete_upload"


@pytest.mark.parametrize(("verify", "inline_bytes"), EVERY_WAY)
def test_case_8_success_without_a_proof_is_no_success(tmp_path: Path, behaviour: Behaviour, verify: str, inline_bytes: int) -> None:
    """Status 200 with an error inside, or without an ETag: whether it was carried out or not, the asset is moved once it is asked again."""
    for made in (Fault.refuse(ProofError), Fault.answer(ProofError)):
        world = fresh(tmp_path, behaviour, verify=verify, inline_bytes=inline_bytes)
        world.store.faults.add(made, on=_write_request(world))
        world.go()

        assert_moved(world)


def _lying(world: World, stored: bytes, *, times: int, says: Callable[[Any], Any] = lambda answer: answer) -> None:
    """Let the write of a copy store other bytes, so many times, and answer as if it had not."""
    name = _write_request(world)
    honest = getattr(world.store, name)
    left = [times]

    def lie(*args: Any, **more: Any) -> Any:  # noqa: ANN401 - as the store's own
        answer = honest(*args, **more)
        if left[0]:
            left[0] -= 1
            key = str(args[0] if name == "put" else args[1])
            there = world.store.app_put(key, stored)
            return there.etag if isinstance(answer, str) else says(replace(answer, etag=there.etag))
        return answer

    setattr(world.store, name, lie)


@pytest.mark.parametrize(("verify", "inline_bytes"), EVERY_WAY)
@pytest.mark.parametrize("stored", [b"", b"asset"], ids=["empty", "cut"])
def test_case_8_target_of_another_size_is_never_switched_to(
    tmp_path: Path, behaviour: Behaviour, verify: str, inline_bytes: int, stored: bytes
) -> None:
    """A gateway that drops the copy header stores nothing, and says so by an ETag of nothing: the row keeps naming its bytes."""
    world = fresh(tmp_path, behaviour, assets=1, verify=verify, inline_bytes=inline_bytes)
    _lying(world, stored, times=100)
    world.go()

    assert (world.key(1), world.get(1)) == ("up/1.png", b"asset 1")
    assert world.move(1).state is MoveState.PARKED
    assert_report(world)


@pytest.mark.parametrize("verify", ["hash", "checksum"])
def test_case_8_target_that_is_empty_though_its_etag_says_otherwise_is_seen_before_the_switch(tmp_path: Path, verify: str) -> None:
    """The ETag proves the bytes that were meant: the look before the switch sees what is there."""
    world = fresh(tmp_path, CONDITIONAL, assets=1, verify=verify)
    source = world.store.stat("up/1.png").etag
    _lying(world, b"", times=1, says=lambda answer: replace(answer, etag=source))
    world.go()

    assert world.get(1) == b"asset 1"
    assert_report(world)


@pytest.mark.parametrize("inline_bytes", [100, 0])
def test_case_8_other_bytes_of_the_same_size_are_found_by_reading(tmp_path: Path, behaviour: Behaviour, inline_bytes: int) -> None:
    """REKEY_VERIFY=checksum: it is written once more over that very copy, and compared again."""
    world = fresh(tmp_path, behaviour, assets=1, verify="checksum", inline_bytes=inline_bytes)
    _lying(world, b"asset X", times=1)
    world.moved(up_to="copy")
    assert (world.move(1).state, world.move(1).attempts) == (MoveState.PLANNED, 1)
    assert "its bytes are not those of its source" in str(world.move(1).detail)
    world.go()

    assert_moved(world, assets=1)


def test_comparison_that_takes_long_renews_its_lease(tmp_path: Path, behaviour: Behaviour, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nine seconds a block: the reconciler hands the move to nobody else (S7)."""
    monkeypatch.setattr(copy_proof, "BLOCK_BYTES", 2)
    world = fresh(tmp_path, behaviour, assets=1, verify="checksum")
    world.seed()
    taken: list[int] = []

    def slow(name: str, key: str) -> None:
        if name == "read_range" and key.startswith("clients/"):
            world.later(9)
            taken.extend(move_id for _, ids in world.tick().messages for move_id in ids)

    world.store.on_call = slow
    world.do("copy")

    assert (world.move(1).state, world.move(1).suspect, taken) == (MoveState.COPIED, False, [])


def _unreadable(world: World) -> None:
    """New keys can be written and looked at, and not read."""
    honest = world.store.read

    def read(key: str, **more: Any) -> Any:  # noqa: ANN401 - as the store's own
        if key.startswith("clients/"):
            raise DeniedError(key, "AccessDenied")
        return honest(key, **more)

    world.store.read = read  # type: ignore[method-assign]


@pytest.mark.parametrize("verify", ["read", "checksum"])
@pytest.mark.parametrize("inline_bytes", [100, 0])
def test_case_8_target_that_cannot_be_read_is_never_switched_to(
    tmp_path: Path, behaviour: Behaviour, verify: str, inline_bytes: int
) -> None:
    """A HEAD finds it and a GET is denied: parked, and moved once that is mended, without another copy."""
    world = fresh(tmp_path, behaviour, assets=1, verify=verify, inline_bytes=inline_bytes)
    honest = world.store.read
    _unreadable(world)
    world.go()
    parked = world.move(1)
    assert (parked.state, parked.reason, world.key(1)) == (MoveState.PARKED, ParkedReason.DENIED, "up/1.png")

    world.store.read = honest  # type: ignore[method-assign]
    world.context.reopening.retry(world.run, Selection())
    world.go()
    assert_moved(world, assets=1)


def _says_error_in_200(passage: Any, request: Request) -> None:  # noqa: ANN401 - a passage of the door
    passage._answer(request, b"200 OK", ERROR)


def _denies(passage: Any, request: Request) -> None:  # noqa: ANN401 - a passage of the door
    passage._answer(request, b"403 Forbidden", ERROR.replace(b"InternalError", b"AccessDenied"))


def _writes(request: Request) -> bool:
    return request.method == "PUT" and "clients/" in request.target


@pytest.mark.parametrize("inline_bytes", [100, 1], ids=["small", "large"])
def test_case_8_error_inside_of_a_200_is_no_copy(shop: Shop, inline_bytes: int) -> None:
    """The store hears nothing of it; asked again, it copies."""
    shop.world.settings = {**shop.world.settings, "inline_bytes": inline_bytes}
    shop.world.context = shop.world.worker()
    shop.add(1, "up/1.png", BODY)
    shop.door._harm["error_in_200"] = (_writes, _says_error_in_200)
    shop.door.plan("error_in_200", _writes)
    _go(shop)

    assert len(shop.door.harmed) == 1
    assert (shop.contents(), shop.world.states()) == ({"clients/7/assets/1.png": BODY}, {"deleted": 1})


@pytest.mark.parametrize("method", ["PUT", "GET"])
def test_case_8_reply_that_ends_in_the_middle_is_no_copy(shop: Shop, method: str) -> None:
    """Of the write it is unknown whether it was done; of a read there are too few bytes."""
    shop.add(1, "up/1.png", BODY)
    shop.door.plan("truncate", lambda request: request.method == method and ("clients/" in request.target or "up/1" in request.target))
    _go(shop)

    assert (shop.contents(), shop.world.states()) == ({"clients/7/assets/1.png": BODY}, {"deleted": 1})


def _behind(shop: Shop) -> MinioStore:
    own = shop.world.store
    assert isinstance(own, MinioStore)
    who = own._client._credentials()
    return MinioStore(endpoint=shop.door.endpoint, access_key=who.access_key, secret_key=who.secret_key, bucket=shop.bucket.bucket)


def test_case_8_gateway_that_drops_the_copy_header_is_found_by_the_probe(shop: Shop) -> None:
    """It stores an empty object and answers 200 with its ETag."""

    def empties(passage: Any, request: Request) -> None:  # noqa: ANN401 - a passage of the door
        key = request.target.partition("?")[0].removeprefix(f"/{shop.bucket.bucket}/")
        shop.bucket.put(key, b"")
        head = f'HTTP/1.1 200 OK\r\nETag: "{EMPTY_ETAG}"\r\nContent-Length: 0\r\n\r\n'
        passage._client.sendall(head.encode())

    shop.door._harm["empties"] = (lambda _: True, empties)
    shop.door.plan("empties", lambda request: b"x-amz-copy-source:" in request.head.lower(), times=1000)
    store = _behind(shop)
    try:
        with pytest.raises(ProofError):
            probe(store)
    finally:
        store.close()
    assert shop.door.harmed
    assert shop.contents() == {}, "nothing of the service's is touched"


def test_case_8_server_that_answers_200_for_what_is_absent_is_found_by_the_probe(shop: Shop) -> None:
    """A page of its own under status 200 would be moved in the source's place."""

    def page(passage: Any, request: Request) -> None:  # noqa: ANN401 - a passage of the door
        head = f'HTTP/1.1 200 OK\r\nETag: "{"0" * 32}"\r\nLast-Modified: Sat, 01 Jan 2022 00:00:00 GMT\r\nContent-Length: 6\r\n\r\n'
        passage._client.sendall(head.encode() + (b"" if request.method == "HEAD" else b"<html>"))

    shop.door._harm["page"] = (lambda _: True, page)
    shop.door.plan("page", lambda request: request.method == "GET" and "/absent" in request.target, times=1000)
    store = _behind(shop)
    try:
        with pytest.raises(ProofError, match="a GET of a key that no object has"):
            probe(store)
    finally:
        store.close()


@pytest.mark.parametrize("verify", ["read", "checksum"])
def test_case_8_copy_that_only_a_head_finds_is_parked(shop: Shop, verify: str) -> None:
    """Whoever follows the row would be denied it."""
    shop.world.settings = {**shop.world.settings, "verify": verify}
    shop.world.context = shop.world.worker()
    shop.add(1, "up/1.png", BODY)
    shop.door._harm["denies"] = (lambda _: True, _denies)
    shop.door.plan("denies", lambda request: request.method == "GET" and "/clients/" in request.target, times=1000)
    _go(shop)

    assert (shop.world.key(1), shop.world.move(1).reason) == ("up/1.png", ParkedReason.DENIED)
    assert shop.contents()["up/1.png"] == BODY


def test_case_8_checksums_pass_what_is_equal(shop: Shop) -> None:
    """Small ones and one in several blocks, byte for byte."""
    shop.world.settings = {**shop.world.settings, "verify": "checksum", "inline_bytes": 1000}
    shop.world.context = shop.world.worker()
    bodies = {1: b"", 2: BODY, 3: bytes(range(256)) * 40_000}
    for number, body in bodies.items():
        shop.add(number, f"up/{number}.png", body)
    _go(shop)

    assert shop.contents() == {f"clients/7/assets/{number}.png": body for number, body in bodies.items()}
