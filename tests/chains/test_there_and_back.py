"""A chain there and back, on real stores, under every key that went wrong for somebody: each asset has its own bytes, or is parked."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from app.minio_store import MinioStore
from tests.chains.odd import NAMES, OLD_KEYS, UNBORN

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from app.object_store import ObjectInfo, Packed
    from tests.chains.live import Chain

FOLDERS = {"trail/folder/", "trail/empty/", "trail/doubled//"}  # SeaweedFS keeps a folder of the name, and of its bytes nothing
# What no store copies parts from: MinIO from no key that ends in a slash, SeaweedFS from none that something lies below.
NO_PARTS = {"minio": FOLDERS, "seaweed": set(UNBORN)}
NAMED = dict(enumerate(NAMES, 1001))  # rows with an odd name, each of a client of its own
KEYED = dict(enumerate(OLD_KEYS, 1))  # rows with an odd old key


@pytest.fixture(params=[False, True], ids=["in one bucket", "into another"])
def split(request: pytest.FixtureRequest) -> bool:
    """From one bucket into another the worker copies by parts, where the store's copy is not safe; within one by GET and PUT."""
    into_another: bool = request.param
    return into_another


def test_assets_with_odd_old_keys_and_odd_names_go_there_and_back(make_chain: Callable[..., Chain], split: bool) -> None:  # noqa: FBT001
    """Each moves to its very own key, byte for byte, and comes back; or is parked with its reason, and nothing else is touched."""
    chain = make_chain(name_column="title", **({"inline_bytes": 3} if split else {}))
    for number, key in KEYED.items():
        chain.add(number, key, _body(number), title=f"{number}.txt")
    for number, name in NAMED.items():
        chain.add(number, f"plain/{number}", _body(number), client=number, title=name)
    before, named, uploads = chain.contents(), chain.keys(), chain.uploads()  # SeaweedFS shows .uploads/x.png as one
    read = {number: chain.get(key) for number, key in named.items()}

    chain.go()

    parked = chain.reasons()
    assert parked.keys() == _unmovable(chain) | _unnamed(chain)
    assert {parked[number] for number in _unnamed(chain)} == {"bad_name", "too_long"}
    assert {parked[number] for number in chain.refused} <= {"bad_name", "too_long", "missing_source", "failed"}
    assert {parked[number] for number in _unmovable(chain) - chain.refused} <= {"failed" if chain.store_name == "seaweed" else "bad_name"}
    expected = {number: key if number in parked else _new_key(number) for number, key in named.items()}
    assert chain.keys() == expected
    assert {number: chain.get(key) for number, key in expected.items()} == read
    stay = {key: before[key] for key in before.keys() & {key for number in parked for key in _spellings(named[number])}}
    assert chain.contents() == stay | {expected[number]: read[number] for number in named if number not in parked}
    chain.back()
    left = chain.reasons()
    assert {number: chain.get(key) for number, key in chain.keys().items()} == read
    assert {named[number]: reason for number, reason in left.items()} == (UNBORN if chain.store_name == "seaweed" and not split else {})
    assert {number: key for number, key in chain.keys().items() if number not in left} == {n: k for n, k in named.items() if n not in left}
    if not left:
        assert chain.contents() == before
    assert chain.uploads() == uploads


def test_small_objects_go_there_together_on_the_operators_word_and_back(
    make_chain: Callable[..., Chain], store_name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """REKEY_COPY=server on MinIO, within a bucket and into another: under odd names and from odd keys each has its own bytes."""
    if store_name != "minio":
        pytest.skip("it takes no snowballs, and copies by itself")
    sent: list[int] = []
    put = MinioStore.put_snowball

    def noted(store: MinioStore, name: str, objects: Sequence[Packed], **more: Any) -> Sequence[ObjectInfo]:  # noqa: ANN401 - the deadline
        sent.append(len(objects))
        return put(store, name, objects, **more)

    monkeypatch.setattr(MinioStore, "put_snowball", noted)
    chain = make_chain(name_column="title", copy_mode="server")
    for number, key in KEYED.items():
        if key not in FOLDERS:
            chain.add(number, key, _body(number), title=f"{number}.txt")
    for number, name in NAMED.items():
        chain.add(number, f"plain/{number}", _body(number), client=number, title=name)
    before, named = chain.contents(), chain.keys()
    read = {number: chain.get(key) for number, key in named.items()}

    chain.go()

    parked = chain.reasons()
    expected = {number: key if number in parked else _new_key(number) for number, key in named.items()}
    assert parked.keys() == chain.refused | _unnamed(chain)
    assert sum(sent) > len(named) / 2
    assert chain.keys() == expected
    assert {number: chain.get(key) for number, key in expected.items()} == read
    chain.back()
    assert chain.keys() == named
    assert chain.contents() == before


def _body(number: int) -> bytes:
    return f"body {number}".encode()


def _new_key(number: int) -> str:
    return f"clients/{number}/assets/{NAMED[number]}" if number in NAMED else f"clients/7/assets/{number}.txt"


def _spellings(key: str) -> set[str]:
    """A key, and the one by which SeaweedFS lists the folder that it has made of it."""
    return {key, key.replace("//", "/")}


def _unmovable(chain: Chain) -> set[int]:
    """Rows whose old key the store takes for none, or has made a folder of (SeaweedFS), or copies no parts from."""
    kept = (FOLDERS if chain.store_name == "seaweed" else set()) | (NO_PARTS[chain.store_name] if chain.target else set())
    return chain.refused | {number for number, key in KEYED.items() if key in kept}


def _unnamed(chain: Chain) -> set[int]:
    """Rows whose name makes no key: for all stores, and for one that would take a backslash in it for a slash."""
    refused = {name for name in NAMES if "/" in name or name in {".", ".."} or not name.strip() or len(name.encode()) > 255}
    refused |= {name for name in NAMES if "\\" in name} if chain.store_name == "seaweed" else set()
    return {number for number, name in NAMED.items() if name in refused}
