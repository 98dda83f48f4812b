"""The Grafana dashboard uses metrics that the service exposes."""

import json
import re

from bento import metrics
from tests.conftest import ROOT


def test_dashboard_metrics_exist_in_the_service():
    board = json.loads((ROOT / "deploy/grafana/precis.json").read_text())
    used = {
        name
        for panel in board["panels"]
        for target in panel["targets"]
        for name in re.findall(r"\b(?:precis|process)_\w+", target["expr"])
    }

    class Idle:
        def stats(self):
            from precis import Stats

            return Stats(8, 0, 0, 0, 1, 1.0, 1)

    exposed = {family.name for family in metrics.registry.collect()}
    exposed |= {family.name for family in metrics.EngineCollector(Idle()).collect()}
    assert used
    assert {re.sub("_(total|bucket)$", "", name) for name in used} <= exposed
