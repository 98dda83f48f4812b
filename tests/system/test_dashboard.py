"""The Grafana dashboard asks for metrics that the service has."""

import json
import re

from bento import metrics
from tests.conftest import ROOT


def test_every_metric_on_the_dashboard_is_one_of_the_services():
    board = json.loads((ROOT / "deploy/grafana/precis.json").read_text())
    asked = {
        name
        for panel in board["panels"]
        for target in panel["targets"]
        for name in re.findall(r"\b(?:precis|process)_\w+", target["expr"])
    }

    class Idle:
        def stats(self):
            from precis import Stats

            return Stats(8, 0, 0, 0, 1, 1.0, 1)

    ours = {family.name for family in metrics.registry.collect()}
    ours |= {family.name for family in metrics.EngineCollector(Idle()).collect()}
    assert asked
    assert {re.sub("_(total|bucket)$", "", name) for name in asked} <= ours
