"""docs/deploy: the manifests are what Kubernetes takes, and they and the units name what the product has."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import kubernetes_validate  # type: ignore[import-untyped]
import pytest
import yaml  # type: ignore[import-untyped]

from app.settings import Settings
from app.settings_table import env_name
from workers.profiles import QUEUES

DEPLOY = Path(__file__).parents[2] / "docs" / "deploy"
MANIFESTS = DEPLOY / "kubernetes"
NEWEST = kubernetes_validate.latest_version()
COMPONENT = "app.kubernetes.io/component"


def documents() -> list[dict[str, Any]]:
    """All of all files."""
    return [each for path in sorted(MANIFESTS.glob("*.yaml")) for each in yaml.safe_load_all(path.read_text(encoding="utf-8"))]


def named(each: dict[str, Any]) -> str:
    """For a test's name."""
    return f"{each['kind']}-{each['metadata']['name']}"


def of_kind(*kinds: str) -> list[dict[str, Any]]:
    """Those of these kinds."""
    return [each for each in documents() if each["kind"] in kinds]


PODS = of_kind("Deployment", "Job")


@pytest.mark.parametrize("document", [each for each in documents() if not each["apiVersion"].startswith("keda")], ids=named)
def test_manifest_is_valid(document: dict[str, Any]) -> None:
    """Strictly: a misspelt field is refused too."""
    kubernetes_validate.validate(document, NEWEST, strict=True)


def test_validator_refuses_a_misspelt_field() -> None:
    """Else the test above would say nothing."""
    document = of_kind("Deployment")[0]
    document["spec"]["template"]["spec"]["containers"][0]["livenesProbe"] = {}

    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(document, NEWEST, strict=True)


@pytest.mark.parametrize("document", PODS, ids=named)
def test_pod_has_no_more_rights_than_the_image_needs(document: dict[str, Any]) -> None:
    """As in Compose; and time enough to stop."""
    pod = document["spec"]["template"]["spec"]
    (container,) = pod["containers"]

    assert pod["securityContext"]["runAsNonRoot"] is True
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert (pod["automountServiceAccountToken"], pod["enableServiceLinks"]) == (False, False)
    assert pod["terminationGracePeriodSeconds"] > Settings.model_fields["lease_seconds"].default


def test_each_stage_has_a_deployment_with_its_own_health_check_and_a_budget() -> None:
    """Beat is there once, and has no secret but the broker's."""
    by_name = {each["metadata"]["labels"][COMPONENT]: each for each in of_kind("Deployment")}
    stages = {queue for queue in QUEUES if queue != "own"}

    assert set(by_name) == stages | {"beat", "metrics"}
    for name in stages | {"beat"}:
        (container,) = by_name[name]["spec"]["template"]["spec"]["containers"]
        assert container["args"] == ["python", "-m", "workers", name]
        for probe in ("readinessProbe", "livenessProbe"):
            assert container[probe]["exec"]["command"] == ["python", "-m", "workers", "health", name]
    assert by_name["beat"]["spec"]["replicas"] == 1
    (secrets,) = [each["secret"] for each in by_name["beat"]["spec"]["template"]["spec"]["volumes"] if "secret" in each]
    assert [item["key"] for item in secrets["items"]] == ["broker-url"]
    assert {each["spec"]["selector"]["matchLabels"][COMPONENT] for each in of_kind("PodDisruptionBudget")} == stages


def test_settings_and_secrets_that_the_pods_name_are_there() -> None:
    """Every variable is a setting, every file a key of the secret that is mounted, every map and secret one of the manifests."""
    settings = {env_name(name) for name in Settings.model_fields}
    maps = {each["metadata"]["name"]: each["data"] for each in of_kind("ConfigMap")}
    secrets = {each["metadata"]["name"]: set(each["stringData"]) for each in of_kind("Secret")}
    for document in PODS:
        pod = document["spec"]["template"]["spec"]
        (container,) = pod["containers"]
        given = {each["name"]: each["value"] for each in container.get("env", [])}
        for source in container.get("envFrom", []):
            given |= maps[source["configMapRef"]["name"]]
        (mounted,) = [each["secret"] for each in pod["volumes"] if "secret" in each]
        keys = {item["key"] for item in mounted.get("items", [])} or secrets[mounted["secretName"]]
        assert {name.removesuffix("_FILE") for name in given} <= settings
        files = {value.rpartition("/")[2] for name, value in given.items() if name.endswith("_FILE")}
        assert files <= keys <= secrets[mounted["secretName"]], named(document)


def test_scaling_goes_by_queues_and_deployments_that_there_are() -> None:
    """In both ways."""
    deployments = {each["metadata"]["name"] for each in of_kind("Deployment")}
    prefix = Settings.model_fields["queue_prefix"].default
    scaled = of_kind("ScaledObject")

    assert {each["spec"]["scaleTargetRef"]["name"] for each in [*scaled, *of_kind("HorizontalPodAutoscaler")]} <= deployments
    for each in scaled:
        (trigger,) = each["spec"]["triggers"]
        assert trigger["metadata"]["listName"] == f"{prefix}{each['metadata']['name'].rpartition('-')[2]}"
    for each in of_kind("HorizontalPodAutoscaler"):
        (metric,) = each["spec"]["metrics"]
        assert metric["external"]["metric"]["selector"]["matchLabels"]["queue"] in QUEUES


UNITS = DEPLOY / "systemd"


def unit(path: Path) -> dict[str, list[str]]:
    """The values of each key of a unit, whatever its section."""
    found: dict[str, list[str]] = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        if line and not line.startswith(("#", "[")):
            name, _, value = line.partition("=")
            found.setdefault(name, []).append(value)
    return found


@pytest.mark.parametrize("path", sorted(UNITS.glob("*.service")), ids=lambda path: path.name)
def test_unit_stops_in_time_and_names_what_there_is(path: Path) -> None:
    """Settings by their names, each secret from a file that systemd hands over; no watchdog, since nothing would feed it."""
    values = unit(path)
    given = dict(each.split("=", 1) for line in values["Environment"] for each in line.split())
    credentials = {line.partition(":")[0] for line in values["LoadCredential"]}
    own = {name for name in given if name.startswith("REKEY_")}

    assert int(values["TimeoutStopSec"][0]) > Settings.model_fields["lease_seconds"].default
    assert (values["KillSignal"], "WatchdogSec" in values) == (["SIGTERM"], False)
    assert {name.removesuffix("_FILE") for name in own} <= {env_name(name) for name in Settings.model_fields}
    assert {value.removeprefix("%d/") for name, value in given.items() if name.endswith("_FILE")} == credentials
    assert values["ExecStart"][0].partition(" -m ")[2] in {"workers %i", "workers beat", "celery -A app flower"}


def test_units_are_what_systemd_takes(tmp_path: Path) -> None:
    """Without a word of warning."""
    if shutil.which("systemd-analyze") is None:
        pytest.skip("there is no systemd-analyze on PATH")
    for path in UNITS.glob("*.service"):
        text = path.read_text(encoding="utf-8").replace("/opt/asset-rekey/bin/python", sys.executable)
        (tmp_path / path.name.replace("@.", "@copy.")).write_text(text, encoding="utf-8")
    done = subprocess.run(
        ["systemd-analyze", "verify", *map(str, tmp_path.glob("*.service"))], capture_output=True, text=True, check=False, timeout=60
    )

    assert (done.returncode, done.stderr) == (0, "")
