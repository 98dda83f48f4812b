"""The service's metrics: documented, and those that the Grafana dashboard uses."""

import json
import re

from prometheus_client import Metric

from bento import metrics
from tests.conftest import ROOT


class Idle:
    """An engine without work."""

    def stats(self):
        from precis import Stats

        return Stats(8, 0, 0, 0, 1, 1.0, 1)


def families() -> list[Metric]:
    """The service's own metrics."""
    own = [family for family in metrics.registry.collect() if family.name.startswith("precis_")]
    return own + list(metrics.EngineCollector(Idle()).collect())


def test_metrics_are_documented():
    """Each in its row of docs/deploy.md, with its type and help text; and each reason of a rejection."""
    page = (ROOT / "docs/deploy.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `(precis_\w+)` \| (\w+) \| ([^|]*) \| (.+) \|$", page, re.M)
    exposed = [
        (family.name + "_total" * (family.type == "counter"), family.type, family.documentation)
        for family in families()
    ]
    assert [(name, type_, meaning) for name, type_, _, meaning in rows] == exposed
    code = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "bento").rglob("*.py"))
    reasons = set(re.findall(r"rejections\.labels\(\"(\w+)\"\)", code))
    assert reasons == set(re.findall(r"`(\w+)`", re.search(r"^`reason` is.*?\n\n", page, re.M | re.S)[0])) - {"reason"}


def test_dashboard_metrics_exist_in_the_service():
    board = json.loads((ROOT / "deploy/grafana/precis.json").read_text())
    used = {
        name
        for panel in board["panels"]
        for target in panel["targets"]
        for name in re.findall(r"\b(?:precis|process)_\w+", target["expr"])
    }
    exposed = {family.name for family in [*metrics.registry.collect(), *families()]}
    assert used
    assert {re.sub("_(total|bucket)$", "", name) for name in used} <= exposed
