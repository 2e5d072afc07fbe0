"""docker-compose.yml, .env.example and the image: what they promise, and the whole stack at work where there is an engine."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from app.settings import declared, env_name
from tests.engine import FILLED, IMAGE, ROOT, build_image, compose
from tests.integration.processes import free_port, wait_until

pytestmark = pytest.mark.timeout(1300)  # the image is built, and the whole stack comes up

COMPOSE_FILE = (ROOT / "docker-compose.yml").read_text(encoding="utf-8")
ENV_EXAMPLE = (ROOT / ".env.example").read_text(encoding="utf-8")
STAGES = ("seed", "copy", "rename", "delete")
OURS = (*STAGES, "beat", "flower", "init", "enqueue", "rekey")
PREPARE = """
import io, os, sys
import psycopg
from minio import Minio

count = int(sys.argv[1])
with psycopg.connect(os.environ["REKEY_DATABASE_URL"]) as connection:
    connection.execute("create table assets (id bigint primary key, client_id int not null, object_key text not null)")
    connection.execute("insert into assets select i, i %% 7, 'uploads/' || i || '.bin' from generate_series(1, %s) i", (count,))
store = Minio("minio:9000", os.environ["REKEY_S3_ACCESS_KEY"], os.environ["REKEY_S3_SECRET_KEY"], secure=False)
for number in range(1, count + 1):
    store.put_object("assets", f"uploads/{number}.bin", io.BytesIO(b"x" * number), number)
"""


def services(**given: str) -> dict[str, Any]:
    """The services as Compose understands them."""
    answer = compose("--profile", "run", "config", "--format", "json", environ=FILLED | given)
    assert answer.returncode == 0, answer.stderr
    found: dict[str, Any] = json.loads(answer.stdout)["services"]
    return found


def test_compose_file_passes_every_setting_on() -> None:
    """A setting that is not in the file could not be set by .env."""
    assert [name for name in map(env_name, (setting.name for setting in declared())) if f"  {name}: " not in COMPOSE_FILE] == []


def test_example_of_the_environment_names_only_what_the_compose_file_reads() -> None:
    """And leaves exactly the required ones for the operator to fill in."""
    named = re.findall(r"^#?([A-Z_0-9]+)=(.*)$", ENV_EXAMPLE, flags=re.MULTILINE)
    active = re.findall(r"^([A-Z_0-9]+)=", ENV_EXAMPLE, flags=re.MULTILINE)

    assert [name for name, _ in named if f"${{{name}:" not in COMPOSE_FILE] == []
    assert sorted(active) == sorted(FILLED)


@pytest.mark.parametrize("name", sorted(FILLED))
def test_required_variable_that_is_missing_is_named(name: str) -> None:
    """With what to do about it."""
    answer = compose("config", "--quiet", environ={other: value for other, value in FILLED.items() if other != name})

    assert answer.returncode != 0
    assert re.search(rf"set {name}.* in .env", answer.stderr)


def test_each_stage_has_a_worker_service_of_its_own() -> None:
    """With its concurrency, its number of containers, and time to stop."""
    found = services(COPY_REPLICAS="4", REKEY_COPY_CONCURRENCY="50")

    assert {name: found[name]["command"] for name in STAGES} == {name: ["python", "-m", "workers", name] for name in STAGES}
    assert found["copy"]["deploy"]["replicas"] == 4
    assert found["copy"]["environment"]["REKEY_COPY_CONCURRENCY"] == "50"
    assert {found[name]["stop_grace_period"] for name in STAGES} == {"45s"}
    for name in STAGES:
        waits = {other: rule["condition"] for other, rule in found[name]["depends_on"].items()}
        assert waits == {"redis": "service_healthy", "minio": "service_healthy", "init": "service_completed_successfully"}


def test_nothing_but_flower_is_published_and_that_on_loopback() -> None:
    """Behind its login."""
    found = services()

    published = {name: service["ports"] for name, service in found.items() if service.get("ports")}
    assert list(published) == ["flower"]
    assert [port["host_ip"] for port in published["flower"]] == ["127.0.0.1"]
    assert found["flower"]["environment"]["FLOWER_BASIC_AUTH"] == FILLED["FLOWER_BASIC_AUTH"]


def test_beat_and_flower_get_no_secrets_of_the_stages() -> None:
    """Only the broker's address."""
    found = services()

    for name in ("beat", "flower"):
        assert [key for key in found[name]["environment"] if key.startswith(("REKEY_S3", "REKEY_DATABASE", "POSTGRES"))] == []


def test_our_containers_have_no_rights_to_spare() -> None:
    """Read-only, without capabilities, as a user of their own."""
    found = services()
    dockerfile = (ROOT / "workers" / "Dockerfile").read_text(encoding="utf-8")

    for name in OURS:
        assert (found[name]["read_only"], found[name]["cap_drop"]) == (True, ["ALL"]), name
        assert found[name]["security_opt"] == ["no-new-privileges:true"], name
    assert re.findall(r"^USER (.*)$", dockerfile, flags=re.MULTILINE) == ["10001"]


def test_redis_keeps_its_messages() -> None:
    """It neither evicts them nor loses them over a restart."""
    command = " ".join(services()["redis"]["command"])

    assert "--maxmemory-policy noeviction" in command
    assert "--appendonly yes" in command


def test_images_can_be_replaced() -> None:
    """A registry of one's own, or a community build of MinIO."""
    names = {"REDIS_IMAGE": "redis", "POSTGRES_IMAGE": "postgres", "MINIO_IMAGE": "minio", "REKEY_IMAGE": "copy"}

    found = services(**{variable: f"registry.test/{name}:1" for variable, name in names.items()})

    assert {name: found[name]["image"] for name in names.values()} == {name: f"registry.test/{name}:1" for name in names.values()}


def test_dockerfile_needs_no_buildkit() -> None:
    """It builds by plain ``docker build`` and without a frontend to pull."""
    dockerfile = (ROOT / "workers" / "Dockerfile").read_text(encoding="utf-8")

    assert "# syntax" not in dockerfile
    assert "--mount" not in dockerfile


class Stack:
    """The whole stack as a project of its own."""

    def __init__(self) -> None:
        self.environ = FILLED | {
            "REKEY_IMAGE": IMAGE,
            "FLOWER_HOST_PORT": str(free_port()),
            "REKEY_GRACE_SECONDS": "2",
            "REKEY_SETTLE_SECONDS": "1",
            "REKEY_RECONCILE_SECONDS": "1",
        }

    def __call__(self, *args: str, seconds: float = 300) -> str:
        """Run ``docker compose`` on it and give what it says."""
        answer = compose("--project-name", "rekey-test", *args, environ=self.environ, seconds=seconds)
        assert answer.returncode == 0, f"{answer.stdout}\n{answer.stderr}"
        return answer.stdout

    def states(self) -> dict[str, str]:
        """State or health of each service."""
        lines = self("ps", "--all", "--format", "json").splitlines()
        return {line["Service"]: line["Health"] or f"{line['State']} {line['ExitCode']}" for line in map(json.loads, lines)}


@pytest.fixture(scope="module")
def stack() -> Iterator[Stack]:
    """The stack, built and healthy."""
    build_image()
    made = Stack()
    try:
        made("up", "--detach", "--wait", "--wait-timeout", "280", seconds=300)
        yield made
    finally:
        made("--profile", "run", "down", "--volumes", "--remove-orphans")


def test_stack_comes_up_healthy_and_moves_assets(stack: Stack) -> None:
    """From nothing to a finished run."""
    assert stack.states() == dict.fromkeys((*STAGES, "beat", "flower", "redis", "postgres", "minio"), "healthy") | {"init": "exited 0"}
    stack("run", "--rm", "-T", "--entrypoint", "python", "rekey", "-c", PREPARE, "60")

    report = json.loads(stack("run", "--rm", "-T", "enqueue", "--watch", "--json").splitlines()[-1])

    assert (report["state"], report["rows"], report["deleted"]) == ("finished", 60, 60)


def test_stopped_stack_ends_well(stack: Stack) -> None:
    """Each of our containers hears the signal and exits with 0, none has to be killed."""
    ours = (*STAGES, "beat", "flower")
    wait_until(lambda: stack.states()["copy"] == "healthy")

    stack("stop", *ours)

    assert {name: state for name, state in stack.states().items() if name in ours} == dict.fromkeys(ours, "exited 0")


def test_image_holds_no_compiler_and_runs_as_a_user(stack: Stack, tmp_path: Path) -> None:
    """Nothing to build an exploit with, and no write access to the program."""
    look = "command -v gcc || command -v cc || command -v make; id -u; touch /opt/rekey/x 2>/dev/null && echo writable; true"

    assert stack("run", "--rm", "-T", "--no-deps", "--entrypoint", "sh", "rekey", "-c", look).split() == ["10001"]
