"""The Kubernetes manifests, the compose file and the workflows agree with each other and with the code."""

import re
import shutil
import subprocess
from functools import cache

import kubernetes_validate
import pytest
import yaml

from tests.conftest import ROOT

BASE = ROOT / "deploy/kubernetes/base"
WORKFLOWS = sorted((ROOT / ".github/workflows").glob("*.yml"))
ACTION = ROOT / ".github/actions/environment/action.yml"


@cache
def manifests() -> dict[str, dict]:
    return {path.stem: yaml.safe_load(path.read_text()) for path in BASE.glob("*.yaml")}


def pod() -> dict:
    return manifests()["deployment"]["spec"]["template"]


def test_kustomization_lists_every_manifest():
    listed = manifests()["kustomization"]["resources"]
    assert sorted(listed) == sorted(f"{name}.yaml" for name in manifests() if name != "kustomization")


def test_selectors_match_the_pods():
    labels = pod()["metadata"]["labels"]
    selectors = [
        manifests()["deployment"]["spec"]["selector"]["matchLabels"],
        manifests()["service"]["spec"]["selector"],
        manifests()["disruption"]["spec"]["selector"]["matchLabels"],
        manifests()["network"]["spec"]["podSelector"]["matchLabels"],
    ]
    assert all(selector.items() <= labels.items() for selector in selectors)
    target = manifests()["autoscaler"]["spec"]["scaleTargetRef"]
    assert (target["kind"], target["name"]) == ("Deployment", manifests()["deployment"]["metadata"]["name"])


def test_autoscaler_uses_gauges_of_the_service():
    """Queued tokens show a burst; running rows show the load while the queue is empty (docs/scale.md)."""
    from bento import metrics
    from precis import Stats

    class Idle:
        def stats(self):
            return Stats(8, 0, 0, 0, 1, 1.0, 1)

    exposed = {family.name for family in metrics.EngineCollector(Idle()).collect()}
    scaled = {
        entry["pods"]["metric"]["name"]: entry["pods"]["target"]["averageValue"]
        for entry in manifests()["autoscaler"]["spec"]["metrics"]
    }
    assert scaled == {"precis_queue_tokens": "4k", "precis_rows_running": "4"}
    assert scaled.keys() <= exposed
    [query] = re.findall(r"seriesQuery: '\{__name__=~\"([^\"]+)", (ROOT / "docs/deploy.md").read_text())
    assert set(query.split("|")) == scaled.keys()


def test_ports_match_the_service():
    container = pod()["spec"]["containers"][0]
    assert container["ports"] == [{"name": "http", "containerPort": 3000}]
    assert manifests()["service"]["spec"]["ports"][0]["targetPort"] == "http"
    assert manifests()["network"]["spec"]["ingress"][0]["ports"][0]["port"] == "http"
    assert "EXPOSE 3000" in (ROOT / "Dockerfile").read_text()


def test_pod_grace_period_covers_the_drain():
    values = {entry["name"]: float(entry["value"]) for entry in pod()["spec"]["containers"][0]["env"]}
    ends = values["PRECIS_LINGER_SECONDS"] + values["PRECIS_GRACE_SECONDS"]
    assert pod()["spec"]["terminationGracePeriodSeconds"] >= ends + 5


def test_compose_and_pod_have_the_same_restrictions():
    service = yaml.safe_load((ROOT / "deploy/compose.yaml").read_text())["services"]["precis"]
    security = pod()["spec"]["containers"][0]["securityContext"]
    assert service["read_only"] is security["readOnlyRootFilesystem"] is True
    assert service["cap_drop"] == security["capabilities"]["drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert security["allowPrivilegeEscalation"] is False
    assert pod()["spec"]["securityContext"]["runAsNonRoot"] is True


@pytest.mark.skipif(shutil.which("kubectl") is None, reason="kubectl is not installed")
@pytest.mark.parametrize("overlay", ["base", "gpu"])
def test_rendered_manifests_are_valid(overlay):
    command = ["kubectl", "kustomize", str(BASE.parent / overlay)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    rendered = {document["kind"]: document for document in yaml.safe_load_all(done.stdout)}
    assert len(rendered) == len(manifests()) - 1
    for document in rendered.values():
        kubernetes_validate.validate(document, "1.35", strict=True)
    container = rendered["Deployment"]["spec"]["template"]["spec"]["containers"][0]
    assert re.fullmatch(r"ghcr\.io/\S+:v\S+", container["image"])
    assert container["image"].endswith("-cuda") == ("nvidia.com/gpu" in container["resources"]["limits"])


def steps() -> list[tuple[str, dict]]:
    result = [(ACTION.name, step) for step in yaml.safe_load(ACTION.read_text())["runs"]["steps"]]
    for path in WORKFLOWS:
        for job in yaml.safe_load(path.read_text())["jobs"].values():
            result += [(path.name, step) for step in job["steps"]]
    return result


def test_workflow_commands_are_make_targets():
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.M))
    commands = [(name, step["run"]) for name, step in steps() if "run" in step]
    assert len(commands) > 15
    for name, command in commands:
        word, target, *variables = command.split()
        assert word == "make", f"{name}: {command}"
        assert target in targets, f"{name}: {command}"
        assert all(re.fullmatch(r"[A-Z]+=\S+", variable) for variable in variables)


def test_deployment_page_names_existing_targets():
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.M))
    named = set(re.findall(r"\bmake ([a-z-]+)", (ROOT / "docs/deploy.md").read_text()))
    assert {"image", "image-test", "sbom", "audit"} <= named <= targets


def test_actions_are_pinned_by_commit():
    actions = [step["uses"] for _, step in steps() if "uses" in step]
    assert all(re.fullmatch(r"\./\.github/actions/environment|[\w-]+/[\w-]+@[0-9a-f]{40}", name) for name in actions)


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_workflows_have_least_permissions_timeouts_and_concurrency(path):
    workflow = yaml.safe_load(path.read_text())
    assert workflow["permissions"] == {}
    assert workflow["concurrency"]["group"]
    for job in workflow["jobs"].values():
        assert job["timeout-minutes"] <= 180
        writes = {name for name, right in job["permissions"].items() if right == "write"}
        assert not writes or job["if"].startswith(("github.event_name == 'push'", "startsWith(github.ref"))
