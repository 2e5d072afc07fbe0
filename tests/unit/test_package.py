"""The wheel: what is in it, that it works alone in an environment of its own, and that its version stands in one place."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
import venv
import zipfile
from email import message_from_bytes
from importlib.metadata import Distribution
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from app.cli import COMMANDS

ROOT = Path(__file__).parents[2]
VERSION = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from this folder by the back-end that the pins name."""
    folder = tmp_path_factory.mktemp("wheel")
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(folder)],
        cwd=ROOT,
        check=True,
        capture_output=True,
    )
    (made,) = folder.glob("*.whl")
    return made


@pytest.fixture(scope="module")
def programs(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the commands in a new environment that has the wheel and what that asks for, out of the tests' environment."""
    place = tmp_path_factory.mktemp("alone")
    venv.create(place / "venv", symlinks=True)
    python = place / "venv/bin/python"
    subprocess.run(
        [sys.executable, "-m", "pip", "--python", str(python), "install", "--quiet", "--no-deps", "--no-index", str(wheel)],
        check=True,
        capture_output=True,
    )
    (packages,) = place.glob("venv/lib/*/site-packages")
    for distribution in asked_for(next(packages.glob("asset_rekey-*.dist-info"))):
        for top in {file.parts[0] for file in distribution.files or () if file.parts[0] not in {"..", "__pycache__"}}:
            (packages / top).symlink_to(Path(str(distribution.locate_file(top))))
    return python.parent


def asked_for(about: Path) -> list[Distribution]:
    """What is installed of all that a package asks for, and what that asks for in turn; nothing that happens to be there besides."""
    found: dict[tuple[str, str], Distribution] = {}
    left = [(Distribution.at(about), "")]
    while left:
        distribution, extra = left.pop()
        for requirement in map(Requirement, distribution.requires or ()):
            if requirement.marker is None or requirement.marker.evaluate({"extra": extra}):
                for wanted in ("", *requirement.extras):
                    if (requirement.name, wanted) not in found:
                        found[requirement.name, wanted] = here = Distribution.from_name(requirement.name)
                        left.append((here, wanted))
    return list({distribution.name: distribution for distribution in found.values()}.values())


def test_wheel_has_what_the_product_needs_and_nothing_of_its_tests(wheel: Path) -> None:
    """The three packages whole, the file for services, the licence; no test, page or image file."""
    with zipfile.ZipFile(wheel) as opened:
        names = opened.namelist()
    top = {name.partition("/")[0] for name in names}
    sources = {str(path.relative_to(ROOT)) for package in ("app", "tasks", "workers") for path in (ROOT / package).rglob("*.py")}
    sources.remove("app/client/asset_rekey_client.py")  # there at the top, by the name that services import it by

    assert top == {"app", "tasks", "workers", "asset_rekey_client.py", f"asset_rekey-{VERSION}.dist-info"}
    assert sources - set(names) == set()
    assert [name for name in names if name.endswith("/LICENSE")]
    assert [name for name in names if "test_" in name.rpartition("/")[2] or "__pycache__" in name] == []


def test_wheel_says_which_version_and_which_commands(wheel: Path) -> None:
    """As pyproject.toml and the head of the changelog do."""
    with zipfile.ZipFile(wheel) as opened:
        about = message_from_bytes(opened.read(f"asset_rekey-{VERSION}.dist-info/METADATA"))
        commands = opened.read(f"asset_rekey-{VERSION}.dist-info/entry_points.txt").decode()
    (newest, *_) = re.findall(r"^## (\S+)", (ROOT / "docs" / "changelog.md").read_text(encoding="utf-8"), re.MULTILINE)

    assert (about["Name"], about["Version"], newest) == ("asset-rekey", VERSION, VERSION)
    assert about["Requires-Python"] == ">=3.11"
    assert set(re.findall(r"^(\w+) = ", commands, re.MULTILINE)) == {"rekey", "enqueue"}


def test_commands_work_where_nothing_else_is(programs: Path, tmp_path: Path) -> None:
    """From an empty folder, and from one with packages of the same names, as services have them."""
    for name in ("app", "tasks", "workers"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text("raise RuntimeError('somebody else')", encoding="utf-8")

    def said(*command: str) -> str:
        environ = {"PATH": "/usr/bin:/bin"}
        done = subprocess.run(
            [str(programs / command[0]), *command[1:]], cwd=tmp_path, env=environ, capture_output=True, text=True, check=False
        )
        assert (done.returncode, done.stderr) == (0, ""), done.stderr
        return done.stdout

    assert said("rekey", "--version") == f"rekey {VERSION}\n"
    listed = said("rekey", "--help")
    assert [name for name in COMMANDS if name not in listed] == []
    assert "--watch" in said("enqueue", "--help")
    assert said("python", "-I", "-c", "import app, asset_rekey_client; print(app.__file__)").startswith(str(programs.parent))


def test_product_needs_no_more_than_it_asks_for(programs: Path, tmp_path: Path) -> None:
    """Every module can be imported, the dashboard and the broker's transport too. The embedded servers are an extra."""
    look = """
import pkgutil, app, tasks, workers
import flower.command, kombu.transport.redis
for package in (app, tasks, workers):
    for module in pkgutil.walk_packages(package.__path__, package.__name__ + "."):
        if not module.name.endswith("__main__"):
            __import__(module.name)
"""
    done = subprocess.run([str(programs / "python"), "-I", "-c", look], cwd=tmp_path, capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stderr
