"""The Docker engine of the tests, where there is one, and the image under test as docker-compose.yml builds it."""

from __future__ import annotations

import fcntl
import functools
import os
import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
IMAGE = "asset-rekey:test"
FILLED = {
    "REKEY_TABLE": "assets",
    "POSTGRES_PASSWORD": "postgres0word",
    "REKEY_S3_ACCESS_KEY": "storeuser",
    "REKEY_S3_SECRET_KEY": "store0word",
    "FLOWER_BASIC_AUTH": "admin:flower0word",
}


@functools.cache
def missing() -> str | None:
    """Why Compose cannot be asked here."""
    if shutil.which("docker") is None:
        return "there is no docker client on PATH"
    if subprocess.run(["docker", "compose", "version"], capture_output=True, check=False).returncode:
        return "the docker client has no Compose v2"
    return None


@functools.cache
def no_engine() -> str | None:
    """Why no container can be started here."""
    if missing():
        return missing()
    return "no docker engine answers" if subprocess.run(["docker", "info"], capture_output=True, check=False).returncode else None


def compose(
    *args: str, environ: Mapping[str, str] = FILLED, seconds: float = 60, files: tuple[str, ...] = ("docker-compose.yml",)
) -> subprocess.CompletedProcess[str]:
    """Run ``docker compose`` with *environ* in the place of .env."""
    if missing():
        pytest.skip(missing() or "")
    named = [flag for file in files for flag in ("--file", str(ROOT / file))]
    command = ["docker", "compose", *named, "--env-file", os.devnull, *args]
    return subprocess.run(command, env=as_typed(environ), cwd=ROOT, capture_output=True, text=True, timeout=seconds, check=False)


def as_typed(environ: Mapping[str, str]) -> dict[str, str]:
    """The environment of a command that a user types, with *environ* in the place of .env."""
    plain = {name: value for name, value in os.environ.items() if not name.startswith(("REKEY_", "FLOWER_", "POSTGRES_", "COMPOSE_"))}
    return plain | {"COMPOSE_ENV_FILES": os.devnull} | environ


def build_image() -> None:
    """Build the image, once for all test processes: the second finds every layer made."""
    if no_engine():
        pytest.skip(no_engine() or "")
    with (Path(tempfile.gettempdir()) / f"asset-rekey-{os.getuid()}.build").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        made = compose("build", "seed", environ=FILLED | {"REKEY_IMAGE": IMAGE}, seconds=900)
    assert made.returncode == 0, made.stderr
