"""Redirects: only switched rows, and no link that leads to another asset."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import pytest

from app.errors import UsageError
from app.ledger.reading import ReportLedger
from app.reporting.redirects import check_prefix, redirect_lines
from tests.builders import World

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def world(tmp_path: Path) -> World:
    """A world whose deletes come at once."""
    return World(tmp_path, settings={"grace_seconds": 0})


def redirects(world: World, *, form: str = "csv", prefix: str = "/media/", new: str | None = None) -> tuple[list[str], dict[str, int]]:
    """The lines without their head, and what was left out; *new*: what the paths of clients' keys begin with."""
    left_out: Counter[str] = Counter()

    def prefix_of(key: str) -> str:
        return new if new is not None and key.startswith("clients/") else prefix

    made = redirect_lines(ReportLedger(world.engine), world.run, form=form, prefix_of=prefix_of, left_out=left_out)
    chunks = list(made)
    lines = b"".join(chunk for chunk, _ in chunks[1:]).decode().splitlines()
    assert sum(count for _, count in chunks) == len([line for line in lines if not line.startswith("#")])
    return lines, dict(left_out)


def test_switched_rows_are_listed_and_others_not(world: World) -> None:
    """Deleted, kept, still within the grace; not what was parked before its switch, nor what was in place."""
    world.add(1, "up/a b.png")
    world.add(2, "up/lost.png", body=None)
    world.add(3, "clients/7/assets/in place.png")
    world.add(4, "up/kept.png")
    world.add(5, "up/stuck.png")
    world.add(6, "up/then.png")
    world.moved(up_to="copy")
    world.do("rename")
    world.set_columns(4, state="kept", reason="named")
    world.set_columns(5, state="parked", parked_from="renamed", reason="locked")
    world.set_columns(1, state="deleted")

    assert redirects(world, prefix="https://cdn.example/media/")[0] == [
        f"https://cdn.example/media/up/{old},https://cdn.example/media/clients/7/assets/{old}"
        for old in ("a%20b.png", "kept.png", "stuck.png", "then.png")
    ]


def test_row_that_is_not_switched_yet_is_not_listed(world: World) -> None:
    """Its link still works."""
    world.add(1)
    world.moved(up_to="copy")

    assert redirects(world) == ([], {})


def test_old_path_that_is_another_assets_new_path_is_left_out(world: World) -> None:
    """A link to it would show one client another's asset."""
    world.add(1, "clients/8/assets/x.png", client=7)
    world.add(2, "up/x.png", client=8)
    world.go()
    assert [world.key(1), world.key(2)] == ["clients/7/assets/x.png", "clients/8/assets/x.png"]

    assert redirects(world) == (["/media/up/x.png,/media/clients/8/assets/x.png"], {"reused": 1})
    lines, _ = redirects(world, form="nginx")
    assert lines == [
        "# /media/clients/8/assets/x.png -> /media/clients/7/assets/x.png left out: another asset has this path now",
        '"/media/up/x.png" "/media/clients/8/assets/x.png";',
    ]


def test_second_asset_of_one_old_path_is_left_out(world: World) -> None:
    """A link leads to one place; nginx would refuse its configuration else."""
    world.add(1, "up/shared.png", client=7)
    world.add(2, "up/shared.png", client=8)
    world.add(3, "up//shared.png", client=9)
    world.moved()

    lines, left_out = redirects(world, form="nginx")
    assert lines[0] == '"/media/up/shared.png" "/media/clients/7/assets/shared.png";'
    assert left_out == {"twice": 2}


def test_path_that_differs_by_case_only_is_an_expression(world: World) -> None:
    """A map of nginx folds ASCII letters, and no others."""
    for number, name in enumerate(("Logo (1).png", "logo (1).png", "Été.png", "été.png"), start=1):
        world.add(number, f"up/{name}", client=number)
    world.moved()

    assert redirects(world, form="nginx")[0] == [
        '"~^/media/up/Logo \\\\(1\\\\)\\\\.png\\\\z" "/media/clients/1/assets/Logo%20%281%29.png";',
        '"~^/media/up/logo \\\\(1\\\\)\\\\.png\\\\z" "/media/clients/2/assets/logo%20%281%29.png";',
        '"/media/up/Été.png" "/media/clients/3/assets/%C3%89t%C3%A9.png";',
        '"/media/up/été.png" "/media/clients/4/assets/%C3%A9t%C3%A9.png";',
    ]


def test_path_with_dot_segments_is_left_out(world: World) -> None:
    """No browser ever asks for it."""
    world.add(1, "up/../x.png")
    world.moved()
    assert world.move(1).state == "renamed"

    assert redirects(world) == ([], {"unreachable": 1})


def test_head_tells_the_sizes_that_nginx_needs(world: World) -> None:
    """A bucket holds the longest path, the table all of them."""
    world.add(1, "up/" + "n" * 200)
    world.moved()
    head = next(redirect_lines(ReportLedger(world.engine), world.run, form="nginx", prefix_of=lambda _: "/", left_out=Counter()))[
        0
    ].decode()

    assert "map_hash_bucket_size 256;" in head
    assert "map_hash_max_size 2048;" in head
    assert world.run.id in head


@pytest.mark.parametrize("prefix", ["", "media/", "/media", "/me dia/", "/me;dia/", "/$x/", "//", "ftp://x/", "https://x"])
@pytest.mark.parametrize("local", [True, False])
def test_prefix_that_cannot_begin_a_path_is_refused(prefix: str, *, local: bool) -> None:
    """With an example."""
    with pytest.raises(UsageError, match="/media/"):
        check_prefix(prefix, flag="--prefix", local=local)


def test_host_in_the_prefix_is_not_for_a_nginx_of_its_own() -> None:
    """Nginx's $uri has none."""
    assert check_prefix("https://cdn.example:8443/a/", flag="--prefix", local=False) == "https://cdn.example:8443/a/"
    with pytest.raises(UsageError, match="--target-prefix"):
        check_prefix("https://cdn.example/", flag="--target-prefix", local=True)


def test_two_buckets_have_paths_of_their_own(world: World) -> None:
    """The same key in both is no clash; nginx leads to another host, and leaves out what another host is asked for."""
    world.add(1, "up/1.png")
    world.add(2, "clients/8/assets/2.png", client=7)
    world.add(3, "up/2.png", client=8)
    world.go()
    host = "https://new.example/"

    assert redirects(world, new=host)[0] == [
        f"/media/up/1.png,{host}clients/7/assets/1.png",
        f"/media/up/2.png,{host}clients/8/assets/2.png",
    ]
    assert redirects(world, new=host)[1] == {"reused": 1}
    lines, left_out = redirects(world, form="nginx", new=host)
    assert [line for line in lines if not line.startswith("#")] == [
        f'"/media/up/1.png" "{host}clients/7/assets/1.png";',
        f'"/media/up/2.png" "{host}clients/8/assets/2.png";',
    ]
    assert left_out == {"reused": 1}
    world.sql("DELETE FROM rekey_moves WHERE row_id = '[3]'")
    assert redirects(world, form="nginx", new=host)[1] == {"elsewhere": 1}
