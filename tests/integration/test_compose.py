"""docker-compose.yml, .env.example and the image: what they promise. tests/integration/test_stack.py has the whole stack at work."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from app.settings import declared, env_name
from tests.engine import FILLED, ROOT, compose

COMPOSE_FILE = (ROOT / "docker-compose.yml").read_text(encoding="utf-8")
ENV_EXAMPLE = (ROOT / ".env.example").read_text(encoding="utf-8")
STAGES = ("seed", "copy", "rename", "delete")
SERVERS = ("redis", "postgres", "minio")
OURS = (*STAGES, "own", "beat", "flower", "metrics", "init", "example", "enqueue", "rekey")
PROFILES = ("--profile", "run", "--profile", "own", "--profile", "demo")
SECRETS = "docs/compose/secrets.yml"


def services(**given: str) -> dict[str, Any]:
    """The services as Compose understands them."""
    answer = compose(*PROFILES, "config", "--format", "json", environ=FILLED | given)
    assert answer.returncode == 0, answer.stderr
    found: dict[str, Any] = json.loads(answer.stdout)["services"]
    return found


def test_compose_file_passes_every_setting_on() -> None:
    """A setting that is not in the file could not be set by .env."""
    assert [name for name in map(env_name, (setting.name for setting in declared())) if f"  {name}: " not in COMPOSE_FILE] == []


def test_example_of_the_environment_names_only_what_the_compose_files_read() -> None:
    """And leaves exactly the required ones for the operator to fill in."""
    read = COMPOSE_FILE + (ROOT / SECRETS).read_text(encoding="utf-8")
    named = re.findall(r"^#?([A-Z_0-9]+)=(.*)$", ENV_EXAMPLE, flags=re.MULTILINE)
    active = re.findall(r"^([A-Z_0-9]+)=", ENV_EXAMPLE, flags=re.MULTILINE)

    assert [name for name, _ in named if f"${{{name}:" not in read] == []
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


def test_nothing_but_flower_and_metrics_is_published_and_that_on_loopback() -> None:
    """The first behind its login; the second shows numbers."""
    found = services()

    published = {name: service["ports"] for name, service in found.items() if service.get("ports")}
    assert sorted(published) == ["flower", "metrics"]
    assert {port["host_ip"] for ports in published.values() for port in ports} == {"127.0.0.1"}
    assert found["flower"]["environment"]["FLOWER_BASIC_AUTH"] == FILLED["FLOWER_BASIC_AUTH"]


def test_beat_flower_and_metrics_get_no_secrets_that_they_do_not_need() -> None:
    """Only the broker's address, and for the metrics the ledger's."""
    found = services()

    for name in ("beat", "flower"):
        assert [key for key in found[name]["environment"] if key.startswith(("REKEY_S3", "REKEY_DATABASE", "POSTGRES"))] == []
    assert [key for key in found["metrics"]["environment"] if "ACCESS_KEY" in key or "SECRET" in key] == []


def test_own_stage_and_examples_are_started_by_their_profiles_alone() -> None:
    """Who has no function of his own, and tables of his own, gets neither."""
    started = compose("config", "--services").stdout.split()
    own = services(REKEY_AFTER_SWITCH="my_hooks:purge", HOOKS_FOLDER="/srv/hooks")["own"]

    assert sorted(started) == sorted({*STAGES, *SERVERS, "init", "beat", "flower", "metrics"})
    assert (own["command"], own["environment"]["REKEY_AFTER_SWITCH"]) == (["python", "-m", "workers", "own"], "my_hooks:purge")
    mounted = {(each["source"], each["target"], each["read_only"]) for each in own["volumes"]}
    assert mounted == {("/srv/hooks", own["environment"]["PYTHONPATH"], True)}


def test_secrets_in_files_are_in_no_environment_of_ours() -> None:
    """Each container is told the places of those that it needs."""
    environ = {"SECRETS_FOLDER": "/srv/secrets", "REKEY_BROKER_URL": "redis://:broker0word@redis/0"} | FILLED
    answer = compose(*PROFILES, "config", "--format", "json", environ=environ, files=("docker-compose.yml", SECRETS))
    assert answer.returncode == 0, answer.stderr
    found = json.loads(answer.stdout)["services"]

    words = ("0word", FILLED["REKEY_S3_ACCESS_KEY"])
    assert [name for name in OURS if any(word in json.dumps(found[name]["environment"]) for word in words)] == []
    for name in OURS:
        told = {value for key, value in found[name]["environment"].items() if key.endswith("_FILE") and value}
        assert told == {f"/run/secrets/{secret['source']}" for secret in found[name]["secrets"]}, name


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
