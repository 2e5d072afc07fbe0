"""docs/deploy: the manifests are what Kubernetes takes, and they and the units name what the product has."""

from __future__ import annotations

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
