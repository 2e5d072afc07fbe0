"""Which folders `rekey dev` takes for its own, without a server: it writes into, and makes private, no other."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, NoReturn

import pytest

from app.embedded import detached
from app.errors import ServerStartError, UsageError

if TYPE_CHECKING:
    from pathlib import Path

PART = {"place": {"ports": [1], "user": "u", "secret": "s"}, "identity": None, "settings": {}, "remains": []}


@pytest.fixture(autouse=True)
def _no_server(monkeypatch: pytest.MonkeyPatch) -> None:
    """None starts."""

    def fail(*_: object, **__: object) -> NoReturn:
        raise ServerStartError("broker")

    monkeypatch.setattr(detached, "start_broker", fail)


def everything(folder: Path) -> tuple[int, dict[str, str]]:
    """What is in a folder, and who may look into it."""
    return folder.stat().st_mode, {path.name: path.read_text() for path in folder.iterdir() if path.is_file()}


@pytest.mark.parametrize(
    "files",
    [
        {"lock": "", "thesis.txt": "years of work"},
        {"lock": "pid 4711\n"},
        {"lock": "", "state.json": "{}"},
        {"lock": "", "state.json": '{"theme": "dark"}'},
        {"state.json": "[]"},
        {"state.json": '{"theme": {"place": 1}}', "thesis.txt": "years of work"},
    ],
)
def test_folder_of_somebody_else_is_refused_and_left_as_it_is(tmp_path: Path, files: dict[str, str]) -> None:
    """Many programs have a file called lock, and some one called state.json."""
    tmp_path.chmod(0o755)
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    before = everything(tmp_path)

    with pytest.raises(UsageError, match="holds other things: name a folder for the servers alone"):
        detached.up(tmp_path)
    if "state.json" in files:
        with pytest.raises(UsageError, match="holds other things"):
            detached.down(tmp_path)
    else:
        assert detached.down(tmp_path) == ()
    assert everything(tmp_path) == before


def test_folder_called_lock_is_no_mark(tmp_path: Path) -> None:
    """Nor anything else that cannot be read."""
    (tmp_path / "lock").mkdir()

    with pytest.raises(UsageError, match="holds other things"):
        detached.up(tmp_path)


@pytest.mark.parametrize("made", [False, True])
def test_folder_in_which_no_server_came_up_is_taken_again(tmp_path: Path, made: bool) -> None:  # noqa: FBT001 - a parameter
    """Nothing but the lock tells whose it is then."""
    folder = tmp_path / "dev"
    if made:
        folder.mkdir()
        (folder / "lock").touch()  # as a command leaves it that was killed at once
    for _ in range(2):
        with pytest.raises(ServerStartError):
            detached.up(folder)

    assert folder.stat().st_mode & 0o777 == 0o700


def test_folder_of_a_former_version_is_known_by_its_state(tmp_path: Path) -> None:
    """Its lock was empty."""
    (tmp_path / "lock").touch()
    (tmp_path / "assets.db").touch()
    (tmp_path / "state.json").write_text(json.dumps({"broker": PART}))

    assert detached.down(tmp_path) == ()
    with pytest.raises(ServerStartError):
        detached.up(tmp_path)
