"""Our engine beside its peers: PyTorch `generate`, Optimum's ONNX Runtime classes and CTranslate2.

python -m benchmarks.engine [--quick]

t5-small's shape with random weights, 400 input and 64 new tokens. Every system has a process of its own with the same
number of threads, and they take turns, so that a noisy machine disturbs all alike; the others sleep meanwhile. The
whole run adds 4 beams, mixed load, long texts and ten thousand short requests, draws docs/engine.png and writes
benchmarks/results/engine.json, part by part where `--parts` says so. The last line is JSON.
"""

import argparse
import importlib
import json
import platform
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from rich.console import Console
from rich.table import Table

from benchmarks.peers import COMPUTE_TYPES, SYSTEMS, converted, imported, peer
from finetune.files import write_json
from precis.runtime.threads import default_threads

SOURCE, NEW = 400, 64
BATCHES = (1, 8, 32)
PAUSE = 0.25  # seconds; the threads of whoever was measured last (OpenMP's spin for 0.2) have gone to sleep
RESULT = Path(__file__).parent / "results/engine.json"
PICTURE = Path(__file__).parent.parent / "docs/engine.png"
PARTS = ["greedy", "beams4", "mixed", "long", "many"]
console = Console()


def texts(count: int, length: int = SOURCE) -> list[list[int]]:
    """Token ids as the model reads them: prefix, words, end."""
    draw = random.Random(1)
    return [[3, *(draw.randrange(10, 32000) for _ in range(length - 2)), 1] for _ in range(count)]


class System:
    """A peer in its own process, which answers one command a line."""

    def __init__(self, name: str, command: list[str]) -> None:
        self.name = name
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def ask(self, *command) -> dict:
        """Sends a command, if any, and waits for the answer."""
        if command:
            self.tell(*command)
        while line := self._process.stdout.readline():
            if line.startswith("{"):
                return json.loads(line)
        raise SystemExit(f"{self.name} stopped: see above.")

    def tell(self, *command) -> None:
        self._process.stdin.write(json.dumps(command) + "\n")
        self._process.stdin.flush()

    def close(self) -> None:
        self._process.kill()  # it has nothing to keep, and some take seconds to end
        self._process.wait()


def serve(name: str, folder: Path, threads: int) -> None:
    """The other side of System. The first command says that there is something to be loaded."""
    for module in imported(name):
        importlib.import_module(module)
    if not sys.stdin.readline():  # whoever asks has gone
        return
    system = peer(name, folder, threads)
    print("{}", flush=True)
    for line in sys.stdin:
        batch, beams, new = json.loads(line)
        inputs = texts(batch)
        inside = 0.0
        if name.startswith("Precis"):
            inside = -system.inside()
        began = time.perf_counter()
        found = system.run(inputs, new, beams)
        seconds = time.perf_counter() - began
        assert found == [new] * batch, "every system writes as many tokens"
        if name.startswith("Precis"):
            inside += system.inside()
        print(json.dumps({"seconds": seconds, "inside": inside}), flush=True)


def measure(systems: list[System], beams: int, rounds: int) -> dict[str, dict[int, dict[str, float]]]:
    """Best times of each system and batch, the systems taking turns."""
    found: dict[str, dict[int, dict[str, float]]] = {system.name: {} for system in systems}
    for batch in BATCHES:
        for turn in range(rounds):
            for system in systems:
                time.sleep(PAUSE)
                answer = system.ask(batch, beams, NEW)
                best = found[system.name].get(batch)
                if best is None or answer["seconds"] < best["seconds"]:
                    found[system.name][batch] = answer
            console.print(f"  batch {batch}, {beams} beams: round {turn + 1} of {rounds}", style="dim")
    return found


def rates(found: dict[str, dict[int, dict[str, float]]]) -> dict[str, dict[str, float]]:
    return {
        name: {str(batch): round(batch / answer["seconds"], 3) for batch, answer in times.items()}
        for name, times in found.items()
    }


def show(title: str, given: dict[str, dict[str, float]]) -> None:
    table = Table("summaries a second", *(f"batch {batch}" for batch in BATCHES), title=title)
    for name, row in given.items():
        table.add_row(name, *(f"{row[str(batch)]:.2f}" for batch in BATCHES))
    console.print(table)


def ratios(given: dict[str, dict[str, float]], ours: str, theirs: str) -> dict[str, float]:
    return {batch: round(rate / given[theirs][batch], 2) for batch, rate in given[ours].items()}


def start(name: str, folder: Path, threads: int) -> System:
    return System(name, [sys.executable, "-m", "benchmarks.engine", "--system", name, str(folder), str(threads)])


def load(systems: list[System], folder: Path) -> None:
    """Lets the systems load what is written for them; they are ready to be measured then."""
    slow = [system for system in systems if system.name.startswith(("Optimum", "PyTorch"))]
    for system in slow:  # Optimum exports the model meanwhile
        system.tell("load")
    write_bundles(folder)
    for compute_type in COMPUTE_TYPES.values():
        converted(folder / "model", compute_type)
    for system in systems:
        if system not in slow:
            system.tell("load")
    for system in systems:
        system.ask()
    for system in systems:
        # Memory is handed out on first use, which is nobody's speed, and ONNX Runtime keeps it. Our rows all run
        # after a few steps.
        batch = BATCHES[-1] if system.name.startswith(("Precis", "Optimum")) else 1
        system.ask(batch, 1, 20 if system.name.startswith("Precis") else 2)


def side_by_side(systems: list[System], folder: Path, threads: int, parts: list[str], rounds: int) -> dict:
    """Our bundles and the peers, greedy and with 4 beams as `parts` say."""
    from benchmarks import roofline

    load(systems, folder)
    limits = roofline.ceilings(threads)
    result = {"machine": processor(), "threads": threads, "ceilings": limits}
    if "greedy" in parts:
        found = measure(systems, 1, rounds)
        result["greedy"] = rates(found)
        show("greedy", result["greedy"])
        ours = [name for name in SYSTEMS if name.startswith("Precis")]
        result["outside_onnxruntime"] = {
            name: {
                str(batch): round(1 - answer["inside"] / answer["seconds"], 3) for batch, answer in found[name].items()
            }
            for name in ours
        }
        result["roofline_share"] = {
            name: {
                str(batch): round(roofline.seconds(batch, SOURCE, NEW, name[-4:], limits) / answer["seconds"], 2)
                for batch, answer in found[name].items()
            }
            for name in ours
        }
        for key in ("outside_onnxruntime", "roofline_share"):
            console.print(key, result[key])
        for ours, theirs in (("int8", "int8"), ("fp32", "fp32")):
            key = f"ratio_to_ctranslate2_{theirs}"
            result[key] = ratios(result["greedy"], f"Precis {ours}", f"CTranslate2 {theirs}")
        for name in ("Optimum", "PyTorch"):
            result[f"ratio_to_{name.lower()}"] = ratios(result["greedy"], "Precis int8", f"{name} fp32")
    if "beams4" in parts:
        result["beams4"] = rates(measure(systems, 4, 1))
        show("4 beams", result["beams4"])
    for system in systems:
        system.close()
    return result


def write_bundles(folder: Path) -> None:
    """Our bundles of the benchmark's model, unless they are there."""
    import torch

    from benchmarks import shapes

    torch.set_num_threads(1)  # the peers convert beside it
    for name, calibration in (("fp32", None), ("int8", texts(4))):
        if not (folder / name / "manifest.json").exists():
            shapes.write_bundle(folder / "model", folder / name, calibration)


def processor() -> str:
    """The processor's name."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    return next((line.partition(": ")[2] for line in lines if line.startswith("model name")), platform.machine())


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.engine", description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="greedy alone, one round, nothing is written")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS, help="only these; others stay as they were")
    parser.add_argument("--scratch", type=Path, help="keeps the models here, so that several calls can share them")
    parser.add_argument("--system", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args(argv)
    if options.system:
        name, folder, threads = options.system
        serve(name, Path(folder), int(threads))
        return 0
    parts, threads = ["greedy"] if options.quick else options.parts, default_threads()
    result = {}
    if not options.quick and RESULT.exists():
        result = json.loads(RESULT.read_text())
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.scratch or Path(temporary)
        beside = bool({"greedy", "beams4"} & {*parts})
        systems = [start(name, folder, threads) for name in SYSTEMS if beside]  # they import while we do
        from benchmarks import scale, shapes

        console.print("a random model of t5-small's shape, and its bundles")
        if not (folder / "model").exists():
            shapes.write_model(folder / "model")
        if beside:
            result |= side_by_side(systems, folder, threads, parts, 1 if options.quick else 2)
        if {"mixed", "long", "many"} & {*parts}:
            write_bundles(folder)
            result |= scale.measured(folder, threads, parts)
    if not options.quick:
        RESULT.parent.mkdir(exist_ok=True)
        write_json(RESULT, result)
        if {"greedy", "beams4"} <= {*result}:
            scale.picture(result, PICTURE)
    print(json.dumps(result))
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
