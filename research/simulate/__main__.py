"""Compares the queueing simulation with the real service, and predicts more than one machine.

    python -m research.simulate [--seconds 40] [--predict]

t5-small's shape in int8; texts of 50 to 450 tokens, 8 to 64 new ones, Poisson arrivals. The engine's costs are
measured; then the service of this machine gets three loads over HTTP, and the simulation the same arrivals. Draws
docs/images/scale.png and writes research/simulate/results.json; the last line is JSON.
"""

import argparse
import json
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path

from rich.console import Console
from rich.table import Table

from benchmarks.server import ROOT
from finetune.files import write_json
from precis.runtime.threads import default_threads
from research.simulate.predict import RANDOM, draw_results, predict
from research.simulate.queueing import Costs

RESULTS = Path(__file__).with_name("results.json")
PICTURE = ROOT / "docs/images/scale.png"
console = Console()


def measure(seconds: float, folder: Path) -> dict:
    """Costs of the engine, and latencies of the service and the simulation."""
    from benchmarks.models import ensure_bundle
    from benchmarks.peers import Setup
    from research.simulate.costs import compare_with_service, measure_costs

    bundle = ensure_bundle(Setup(folder, "cpu", default_threads()), "int8")
    costs = measure_costs(bundle, default_threads())
    console.print(costs)
    costs, latencies = compare_with_service(bundle, costs, seconds, folder)
    return {"costs": asdict(costs), "check": latencies}


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m research.simulate", description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=40.0, help="of each load on the real service")
    parser.add_argument("--predict", action="store_true", help="only predict, from the costs that were measured last")
    options = parser.parse_args(argv)
    if options.predict:
        result = json.loads(RESULTS.read_text())
    else:
        with tempfile.TemporaryDirectory() as scratch:
            result = measure(options.seconds, Path(scratch))
    result |= predict(Costs(**result["costs"]))
    table = Table("p95 in seconds", *result["tails"][f"10 replicas, {RANDOM}"], title="by load, as a share of capacity")
    for name, row in result["tails"].items():
        table.add_row(name, *map(str, row.values()))
    console.print(table)
    draw_results(result, PICTURE)
    write_json(RESULTS, result)
    print(json.dumps(result))
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
