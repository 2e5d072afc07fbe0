"""The demonstration's choice of files: what comes first, and who gets what."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import pytest

from app.demo import files, stock
from app.errors import UsageError

if TYPE_CHECKING:
    from pathlib import Path


def make(folder: Path, *names: str, body: bytes = b"x") -> list[Path]:
    """Files of these names."""
    made = []
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(body)
        made.append(path)
    return made


def test_find_puts_pictures_styles_and_texts_before_code(tmp_path: Path) -> None:
    """What people upload comes first, what nobody knows the kind of comes last."""
    make(tmp_path, "a.py", "b.bin", "c.json", "d.txt", "e.css", "f.png")

    assert [path.name for path in files.find([tmp_path])] == ["f.png", "e.css", "d.txt", "c.json", "a.py", "b.bin"]


def test_find_leaves_out_caches_and_links(tmp_path: Path) -> None:
    """Only files that somebody wrote, each once."""
    make(tmp_path, "real.txt", "__pycache__/real.cpython-311.pyc")
    (tmp_path / "link.txt").symlink_to(tmp_path / "real.txt")
    (tmp_path / "loop").symlink_to(tmp_path)

    assert files.find([tmp_path, tmp_path]) == [tmp_path / "real.txt"]


def test_deal_gives_no_client_a_name_twice(tmp_path: Path) -> None:
    """Names that many folders have go to different clients, whatever their case, and to nobody once all have one."""
    made = make(tmp_path, *(f"{number}/__init__.py" for number in range(8)), *(f"{number}/Logo.png" for number in range(3)), "9/logo.png")
    dealt = files.deal(made, wanted=12, clients=5)
    names = Counter((client, file.name.casefold()) for client, file in dealt.assets)

    assert set(names.values()) == {1}
    assert Counter(name for _, name in names) == {"__init__.py": 5, "logo.png": 4}
    assert dealt.notes == [
        "9 of the 12 assets asked for: there are no more files",
        "left out 3 of a name that each of the 5 clients has already",
    ]


def test_deal_spreads_the_files_over_all_clients(tmp_path: Path) -> None:
    """Everybody gets as many as the others."""
    dealt = files.deal(make(tmp_path, *(f"{number}.txt" for number in range(100))), wanted=100, clients=50)

    assert Counter(client for client, _ in dealt.assets) == dict.fromkeys(range(1, 51), 2)
    assert dealt.notes == []


def test_deal_leaves_out_files_that_are_too_large(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A film in somebody's folder does not fill memory or disk, and the user is told."""
    monkeypatch.setattr(files, "MAX_FILE_BYTES", 2**20)
    monkeypatch.setattr(files, "MAX_BYTES", 2**21)
    made = [*make(tmp_path, "film.mp4", body=bytes(2**20 + 1)), *make(tmp_path, "a.png", "b.png", "c.png", body=bytes(2**20))]
    dealt = files.deal(made, wanted=3)

    assert [file.name for _, file in dealt.assets] == ["a.png", "b.png"]
    assert dealt.notes == [
        "2 of the 3 assets asked for: there are no more files",
        "left out 1 of more than 1 MiB",
        "left out 1 beyond 2 MiB in all",
    ]


def test_deal_leaves_out_a_file_that_went_since_it_was_found(tmp_path: Path) -> None:
    """Somebody's folder may change while we look."""
    dealt = files.deal([tmp_path / "gone.txt", *make(tmp_path, "here.txt", body=b"12345")], wanted=1)

    assert [(file.name, file.size, file.content_type) for _, file in dealt.assets] == [("here.txt", 5, "text/plain")]


@pytest.mark.parametrize(
    ("name", "expected"),
    [("a.tar.gz", "application/gzip"), ("a.svg", "image/svg+xml"), ("Makefile", "binary/octet-stream"), ("a.so", "binary/octet-stream")],
)
def test_content_type_is_what_an_upload_would_say(name: str, expected: str) -> None:
    """An encoded file is what it is on the disk; an unknown one has the type that S3 gives to an upload without any."""
    assert files.content_type(name) == expected


def test_environment_has_two_thousand_files_for_fifty_clients() -> None:
    """The default demonstration needs nobody's files but this environment's own."""
    dealt = files.deal(files.find_own(), wanted=2000)

    assert len(dealt.assets) == 2000
    assert {client for client, _ in dealt.assets} == set(range(1, 51))
    assert max(Counter((client, file.name) for client, file in dealt.assets).values()) == 1


@pytest.mark.parametrize("name", ["nowhere", "empty"])
def test_choose_refuses_a_folder_without_files(tmp_path: Path, name: str) -> None:
    """The line names the flag and the folder."""
    (tmp_path / "empty").mkdir()

    with pytest.raises(UsageError, match=rf"--from: .*{name}"):
        stock.choose(stock.Wish(assets=1, folder=tmp_path / name))
