"""The whole stack of docker-compose.yml as a project of its own, driven by the commands that a user types."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.engine import FILLED, IMAGE, ROOT, as_typed
from tests.integration.processes import free_port, wait_until

STAGES = ("seed", "copy", "rename", "delete")
SERVERS = ("redis", "postgres", "minio")
PROJECT = "rekey-test"
SECRETS = "docs/compose/secrets.yml"
RECOUNT = "docker compose run --rm --no-deps --entrypoint python rekey - <tests/integration/recount.py"
# In a container of the image, by plain SQL and S3: more assets.
MORE = """
import hashlib, io, os, sys
import psycopg
from minio import Minio

numbers = range(int(sys.argv[1]), int(sys.argv[2]) + 1)
read = lambda name: open(os.environ[name + "_FILE"]).read().strip()
store = Minio("minio:9000", read("REKEY_S3_ACCESS_KEY"), read("REKEY_S3_SECRET_KEY"), secure=False)
for number in numbers:
    store.put_object("assets", f"more/{number}.bin", io.BytesIO(b"x" * number), number)
with psycopg.connect(read("REKEY_DATABASE_URL")) as connection, connection.cursor() as cursor:
    cursor.executemany("insert into assets values (%s, %s, %s, %s, %s)", [
        (i, i % 7, f"{i}.bin", f"more/{i}.bin", hashlib.sha256(b"x" * i).hexdigest()) for i in numbers
    ])
"""


class Stack:
    """The stack, with its secrets in files, and the examples in its table."""

    def __init__(self, secrets: Path) -> None:
        given = {
            "broker_url": "redis://redis:6379/0",
            "database_url": f"postgresql://rekey:{FILLED['POSTGRES_PASSWORD']}@postgres/rekey",
            "s3_access_key": FILLED["REKEY_S3_ACCESS_KEY"],
            "s3_secret_key": FILLED["REKEY_S3_SECRET_KEY"],
            "flower_basic_auth": FILLED["FLOWER_BASIC_AUTH"],
        }
        secrets.chmod(0o755)
        for name, secret in given.items():
            (secrets / name).write_text(f"{secret}\n", encoding="utf-8")
        self.flower, self.metrics = free_port(), free_port()
        self.environ = FILLED | {
            "COMPOSE_PROJECT_NAME": PROJECT,
            "COMPOSE_FILE": f"docker-compose.yml:{SECRETS}",
            "SECRETS_FOLDER": str(secrets),
            "REKEY_IMAGE": IMAGE,
            "FLOWER_HOST_PORT": str(self.flower),
            "METRICS_HOST_PORT": str(self.metrics),
            "REKEY_NAME_COLUMN": "file_name",
            "REKEY_COPY_CONCURRENCY": "4",  # so that the first of several workers does not hold all messages of so short a run
            "REKEY_GRACE_SECONDS": "2",
            "REKEY_SETTLE_SECONDS": "1",
            "REKEY_RECONCILE_SECONDS": "1",
            "REKEY_HINT_SECONDS": "5",
            "REKEY_REQUEST_TIMEOUT_SECONDS": "3",
            "REKEY_LEASE_SECONDS": "6",
            "REKEY_VISIBILITY_TIMEOUT_SECONDS": "10",
        }

    def ask(self, command: str, *, seconds: float = 300, **given: str) -> subprocess.CompletedProcess[str]:
        """What a command of the shell answers."""
        environ = as_typed(self.environ | given)
        return subprocess.run(["bash", "-c", command], env=environ, cwd=ROOT, capture_output=True, text=True, timeout=seconds, check=False)

    def __call__(self, command: str, *, seconds: float = 300) -> str:
        """What it prints, if all went well."""
        answer = self.ask(command, seconds=seconds)
        assert answer.returncode == 0, f"{command}\n{answer.stdout}\n{answer.stderr}"
        return answer.stdout

    @contextmanager
    def begin(self, command: str) -> Iterator[subprocess.Popen[str]]:
        """Type a command that goes on for the length of a block."""
        with subprocess.Popen(
            ["bash", "-c", f"exec {command}"],
            env=as_typed(self.environ),
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        ) as process:
            try:
                yield process
            finally:
                process.kill()

    def status(self) -> dict[str, Any]:
        """How the newest run is."""
        found: dict[str, Any] = json.loads(self("docker compose exec seed rekey status --json"))
        return found

    def wait_for(self, copied: int) -> int:
        """Wait until so many assets are copied; how many then."""
        found: list[int] = []

        def there() -> bool:
            answer = self.ask("docker compose exec seed rekey status --json")  # there may be no run yet
            found.append(json.loads(answer.stdout)["copied"] if answer.returncode == 0 else 0)
            return found[-1] >= copied

        wait_until(there, seconds=120, told=self.told)
        return found[-1]

    def told(self) -> str:
        """What a failure should show: each container, what it said last, and the run."""
        asked = ("docker compose ps --all", "docker compose logs --no-color --tail 20", "docker compose exec seed rekey status")
        return "\n".join(f"$ {each}\n{answer.stdout}{answer.stderr}" for each in asked for answer in [self.ask(each)])

    def states(self) -> dict[str, str]:
        """State or health of each service."""
        lines = self("docker compose ps --all --format json").splitlines()
        return {line["Service"]: line["Health"] or f"{line['State']} {line['ExitCode']}" for line in map(json.loads, lines)}


class Page:
    """docs/containers-transcript.md as it is typed: words, commands, and what these have printed."""

    def __init__(self, stack: Stack) -> None:
        self._stack = stack
        self._lines: list[str] = []
        self.printed = ""

    def say(self, words: str) -> None:
        """Words of the page's own."""
        self._lines += ["", words, ""]

    def type(self, command: str, *, quiet: bool = False) -> str:
        """A command, whose output belongs on the page unless it is *quiet*: then only how long it took does."""
        begun = time.monotonic()
        printed = self._stack(command)
        self._note(command, f"({time.monotonic() - begun:.0f} s)" if quiet else printed)
        return printed

    def note(self, command: str, printed: str) -> None:
        """A command that was typed elsewhere, with what it printed in the end."""
        self._note(command, printed)

    def _note(self, command: str, printed: str) -> None:
        shown = [line.rstrip() for line in printed.rstrip().splitlines() if not line.startswith(" Container ")]  # Compose's own progress
        self._lines += [line.replace(PROJECT, "asset-rekey") for line in ["```console", f"$ {command}", *shown, "```"]]

    def text(self, title: str) -> str:
        """The whole page."""
        return "\n".join([title, *self._lines]) + "\n"
