"""Cases about keys, played on real stores: names that climb, encodings, accents, lengths, what XML cannot carry, folders, collisions."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from tests.builders import ASSETS

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.chains.live import Chain

TEXT_CLIENTS = ASSETS.replace("client_id INTEGER", "client_id TEXT")
COMPOSED, APART = "\N{LATIN SMALL LETTER E WITH ACUTE}", "e\N{COMBINING ACUTE ACCENT}"
LOGO = "clients/7/assets/logo.png"


class UntouchableStore:
    """A store that nobody may ask anything."""

    def __init__(self, capabilities: Any) -> None:  # noqa: ANN401 - of the real one
        self.capabilities = capabilities

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - never comes to that
        raise AssertionError(f"the store was asked: {name}")


def test_case_2_names_that_climb_are_refused_without_a_request(make_chain: Callable[..., Chain]) -> None:
    """One reason a row, while planning; client 8's object is what it was, and the rest of the batch moves."""
    chain = make_chain(table=TEXT_CLIENTS, name_column="title")
    names = ["../../8/assets/logo.png", "..", ".", "a/./b.png", "2024//x.png", "/x.png", "x.png/", "", "   "]
    for number, name in enumerate(names, 1):
        chain.add(number, f"up/{number}", b"of 7", client="7", title=name)
    clients = ["7/../8", "", "..", "8/", None]
    for number, client in enumerate(clients, 101):
        chain.add(number, f"up/{number}", b"of nobody", client=client, title="logo.png")
    chain.of("clients/").put("clients/8/assets/logo.png", b"of 8")
    chain.add(201, "up/good.png", b"good", client="7", title="good.png")
    before = chain.contents()
    world, live = chain.world, chain.world.context
    world.context = replace(live, store=UntouchableStore(live.store.capabilities))  # type: ignore[arg-type] # as far as it is asked
    world.seed()
    world.context = live

    assert set(chain.reasons()) == {*range(1, len(names) + 1), *range(101, 101 + len(clients))}
    assert set(chain.reasons().values()) == {"bad_name"}
    chain.go()
    del before["up/good.png"]
    assert chain.contents() == before | {"clients/7/assets/good.png": b"good"}
    assert all(move.detail and move.attempts == 0 for move in world.moves() if str(move.state) == "parked")


def test_case_2_an_old_key_with_dots_in_it_is_refused_or_moved_as_the_store_says(chain: Chain) -> None:
    """Both stores refuse such a key; the object that a cleaned path would name is another row's, and stays untouched."""
    taken = chain.add(1, "up/./a.png", b"dotted")
    chain.bucket.put("up/a.png", b"plain, without a row")
    chain.go()

    assert (taken, chain.reasons()) == (False, {1: "bad_name"})
    assert chain.contents() == {"up/a.png": b"plain, without a row"}
    assert chain.keys() == {1: "up/./a.png"}


def test_case_3_each_encoding_is_a_key_of_its_own(chain: Chain) -> None:
    """Blanks, plus, percent, hash and question mark in old and new key: nothing is decoded once too often, there or back."""
    names = ["a b.txt", "a+b.txt", "a%20b.txt", "a%2Bb.txt", "100%.pdf", "Q#1?x=1&y=2~[é].txt"]
    for number, name in enumerate(names, 1):
        chain.add(number, name, name.encode())
    chain.go()

    assert chain.contents() == {f"clients/7/assets/{name}": name.encode() for name in names}
    assert chain.keys() == {number: f"clients/7/assets/{name}" for number, name in enumerate(names, 1)}
    assert chain.world.states() == {"deleted": len(names)}
    chain.back()
    assert chain.contents() == {name: name.encode() for name in names}
    assert chain.keys() == dict(enumerate(names, 1))


def test_case_4_accents_as_one_letter_or_two_are_two_keys(chain: Chain) -> None:
    """Twins arrive each with its own bytes; a row whose object is there only in the other form is parked, never matched by guess."""
    chain.add(1, f"up/{COMPOSED}.png", b"composed")
    chain.add(2, f"up/{APART}.png", b"apart")
    chain.world.add(3, f"up/only-{APART}.png", body=None)
    chain.bucket.put(f"up/only-{COMPOSED}.png", b"the other form")
    chain.go()

    assert chain.reasons() == {3: "missing_source"}
    assert chain.contents() == {
        f"clients/7/assets/{COMPOSED}.png": b"composed",
        f"clients/7/assets/{APART}.png": b"apart",
        f"up/only-{COMPOSED}.png": b"the other form",
    }
    assert chain.keys() == {
        1: f"clients/7/assets/{COMPOSED}.png",
        2: f"clients/7/assets/{APART}.png",
        3: f"up/only-{APART}.png",
    }


@pytest.mark.parametrize(
    ("template", "old_key", "title"),
    [
        ("clients/{client_id}/assets/{file_name}", "up/3f9a", "\N{BENGALI LETTER KA}" * 90),
        ("clients/{client_id}/assets/{key}", "/".join(["k" * 252] * 4)[:1010], "unused"),
    ],
    ids=["a segment of 270 bytes in 90 letters", "1010 bytes and the prefix"],
)
def test_case_6_lengths_are_measured_in_bytes_while_planning(
    make_chain: Callable[..., Chain], template: str, old_key: str, title: str
) -> None:
    """Parked at once, without a single attempt; one byte less would go."""
    chain = make_chain(name_column="title", template=template)
    assert chain.add(1, old_key, b"long", title=title)
    chain.add(2, old_key[:900] + "2", b"short enough", title="\N{BENGALI LETTER KA}" * 85)
    chain.go()

    parked = chain.world.move(1)
    assert chain.reasons() == {1: "too_long"}
    assert (parked.attempts, parked.looks, parked.claims, parked.new_key) == (0, 0, 0, "")
    assert chain.get(old_key) == b"long"
    assert chain.get(chain.keys()[2]) == b"short enough"
    assert len(chain.listed()) == 2


def test_case_7_what_xml_cannot_carry_is_deleted_singly_and_never_its_neighbour(make_chain: Callable[..., Chain]) -> None:
    """250 due deletes, some of them with names that a multi-delete would refuse whole, or would take for another object."""
    chain = make_chain(batch_size=250, where="id < 1000", name_column="title")
    odd = ["up/dle\x10.png", "up/x\ry.png", "up/&<>\"'.png", "up/back\\slash.png", "up/ end ", "up/c1\x85.png", "up/none\uffff.png"]
    keys = odd + [f"up/{number}.png" for number in range(250 - len(odd))]
    for number, key in enumerate(keys, 1):
        chain.add(number, key, str(number).encode(), title=f"{number}.png")
    neighbours = {"up/x\ny.png": b"LF", "up/dle.png": b"without", "up/ end": b"cut"}
    for number, (key, body) in enumerate(neighbours.items(), 1001):
        chain.add(number, key, body, title="no.png")
    chain.go()

    assert chain.world.states() == {"deleted": 250}
    assert chain.contents() == neighbours | {f"clients/7/assets/{n}.png": str(n).encode() for n in range(1, 251)}


def test_case_22_a_folder_is_deleted_or_stays_whole(make_chain: Callable[..., Chain]) -> None:
    """Keys that end in a slash, with and without bytes: moved and absent afterwards, or parked with everything in its place."""
    chain = make_chain(name_column="title")
    chain.add(1, "up/folder/", b"5byte", title="1.png")
    chain.add(2, "up/empty/", b"", title="2.png")
    chain.add(3, "up/folder/inside.png", b"inside", title="3.png")
    chain.add(4, "up/empty/left.png", b"stays", title="4.png")
    chain.world.sql("DELETE FROM assets WHERE id = 4")
    before = {key: chain.get(key) for key in chain.keys().values()}
    chain.go()

    named = chain.keys()
    assert {number: chain.get(key) for number, key in named.items()} == dict(enumerate(before.values(), 1))
    assert named[3] == "clients/7/assets/3.png"
    assert chain.get("up/folder/inside.png") is None
    assert chain.get("up/empty/left.png") == b"stays"
    if chain.store_name == "minio":
        assert chain.world.states() == {"deleted": 3}
        assert (chain.get("up/folder/"), chain.get("up/empty/")) == (None, None)
    else:  # SeaweedFS has kept a folder and none of the bytes: parked; one that is as empty as what was uploaded is moved
        assert chain.reasons() == {1: "failed"}
        assert (named[1], named[2]) == ("up/folder/", "clients/7/assets/2.png")
        assert chain.get("up/empty/") == chain.get("up/") == b"", "a folder is left, as of any name with something below it"


@pytest.mark.parametrize(("store_name", "on_collision"), [("minio", "suffix"), ("seaweed", "park")], indirect=["store_name"])
def test_case_30_two_assets_that_want_one_name(make_chain: Callable[..., Chain], on_collision: str) -> None:
    """Nothing is overwritten: the second is parked, or gets a key of its own; what is foreign at a new key is what it was.

    With UNIQUE on the key column where the second is parked, which is where a switch could meet it; the others go on.
    """
    table = ASSETS.replace("object_key TEXT", "object_key TEXT UNIQUE") if on_collision == "park" else ASSETS
    chain = make_chain(table=table, on_collision=on_collision)
    chain.add(1, "up/1/logo.png", b"first")
    chain.add(2, "up/2/logo.png", b"second")
    chain.add(3, "up/3/taken.png", b"third")
    chain.add(4, "up/4/free.png", b"fourth")
    chain.of("clients/").put("clients/7/assets/taken.png", b"foreign")
    chain.go()

    named = chain.keys()
    read = {number: chain.get(key) for number, key in named.items()}
    assert read == {1: b"first", 2: b"second", 3: b"third", 4: b"fourth"}
    assert chain.get("clients/7/assets/taken.png") == b"foreign"
    assert (named[1], named[4]) == (LOGO, "clients/7/assets/free.png")
    if on_collision == "park":
        assert chain.reasons() == {2: "collision", 3: "target_exists"}
        assert (named[2], named[3]) == ("up/2/logo.png", "up/3/taken.png")
    else:
        assert chain.reasons() in ({}, {3: "target_exists"})
        assert named[2].startswith("clients/7/assets/logo-")
    kept = {named[number]: body for number, body in read.items()}
    assert chain.contents() == kept | {"clients/7/assets/taken.png": b"foreign"}
    chain.back()
    assert chain.contents() == {
        "up/1/logo.png": b"first",
        "up/2/logo.png": b"second",
        "up/3/taken.png": b"third",
        "up/4/free.png": b"fourth",
        "clients/7/assets/taken.png": b"foreign",
    }
