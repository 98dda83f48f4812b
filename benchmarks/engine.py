"""Our engine compared with its peers: PyTorch `generate`, Optimum's ONNX Runtime classes and CTranslate2.

    python -m benchmarks.engine [--quick [--beams 4]] [--device cuda] [--parts PART ...]

t5-small's shape with random weights, greedy, 400 input and 64 new tokens. Every system has a process of its own with
the same number of threads, and they take turns. Parts: `greedy`, `beams4` (4 beams), `mixed` (our engine under Poisson
arrivals of all lengths). On a CPU the best round counts; a full run draws
docs/images/engine.png and writes benchmarks/results/engine.json. On a GPU the median counts. The last line is JSON.
"""

import argparse
import json
import statistics
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from importlib.util import find_spec
from pathlib import Path

from rich.console import Console
from rich.table import Table

from benchmarks.peers import MIXED_LIMIT, Setup, ctranslate2_model
from benchmarks.turns import Answers, System, attempt, processor, take_turns
from finetune.files import write_json
from precis.runtime.threads import default_threads

RESULT = Path(__file__).parent / "results/engine.json"
PICTURE = Path(__file__).parent.parent / "docs/images/engine.png"
PARTS = ("greedy", "beams4", "mixed")
DEFAULT_PARTS = {"cpu": PARTS, "cuda": ("greedy", "mixed")}
console = Console()


@dataclass(frozen=True)
class Sizes:
    """What is measured, and how much."""

    systems: tuple[str, ...]
    batches: tuple[int, ...]
    rounds: int
    mixed: tuple[int, int, int]  # requests of the mixed load, of its warm-up, and its rounds
    shape: str = "small"
    source: int = 400  # tokens
    new: int = 64  # tokens
    rows: int | None = None  # sequences that our engine decodes at once
    warm_up: int = 2  # rounds of each batch that are not counted: the first one compiles or captures it


CPU_SYSTEMS = ("Precis int8", "Precis fp32", "CTranslate2 int8", "CTranslate2 fp32", "Optimum fp32", "PyTorch fp32")
GPU_SYSTEMS = ("Precis fp16", "PyTorch fp16", "Compiled fp16")
TINY_SYSTEMS = ("Precis fp32", "PyTorch fp32", "Compiled fp32")
SIZES = {
    "cpu": Sizes(CPU_SYSTEMS, batches=(1, 8, 32), rounds=2, mixed=(320, 32, 3), warm_up=0),
    "cuda": Sizes(GPU_SYSTEMS, batches=(1, 8, 32, 128), rounds=3, mixed=(512, 512, 1), rows=128),
    "tiny": Sizes(TINY_SYSTEMS, batches=(1, 2), rounds=1, mixed=(8, 8, 1), shape="tiny", source=40, new=8, rows=8),
}


def load(systems: list[System], setup: Setup, sizes: Sizes, failed: dict[str, str]) -> None:
    """Lets the systems load what is written for them, and warms them up. Those that fail are removed."""
    import torch

    from benchmarks import models

    torch.set_num_threads(1)  # the peers export at the same time
    models.ensure_model(setup)
    early = [system for system in systems if system.name.startswith(("Optimum", "PyTorch", "Compiled"))]
    for system in early:
        system.send("load")
    for precision in {system.name.split()[1] for system in systems if system.name.startswith("Precis")}:
        models.ensure_bundle(setup, precision)
    for system in systems:
        kind, _, precision = system.name.partition(" ")
        if kind == "CTranslate2" and find_spec("ctranslate2"):
            ctranslate2_model(setup, precision)
        if system not in early:
            system.send("load")
    for system in list(systems):
        attempt(system, systems, failed)
    if setup.device == "cpu":
        for system in list(systems):
            # Memory is allocated on first use, which should not count. All rows of our engine run after a few steps.
            batch = sizes.batches[-1] if system.name.startswith(("Precis", "Optimum")) else 1
            new, beams = (20, 4) if system.name.startswith("Precis") else (2, 1)
            attempt(system, systems, failed, "batch", batch, sizes.source, new, beams)


def compare_systems(result: dict, setup: Setup, sizes: Sizes, parts: list[str], keep: Callable[[], None]) -> None:
    """Measures our bundles and the peers on the batches that `result` lacks; adds the rates of each part to it."""
    pick = min if setup.device == "cpu" else statistics.median
    failed: dict[str, str] = result.setdefault("failed", {})
    searches = [(part, beams) for part, beams in (("greedy", 1), ("beams4", 4)) if part in parts]
    names = [name for name in sizes.systems if name not in failed]
    batches = {part: missing_batches(result.setdefault(part, {}), names, sizes.batches) for part, _ in searches}
    if not any(batches.values()):
        return

    def keep_rates(part: str, answers: Answers) -> None:
        for name, row in rates(answers, pick).items():
            result[part].setdefault(name, {}).update(row)
        keep()

    started = [System(name, setup) for name in names]  # they import while this process does
    systems = list(started)
    load(systems, setup, sizes, failed)
    for part, beams in searches:
        command, save = (sizes.source, sizes.new, beams), partial(keep_rates, part)
        answers = take_turns(systems, batches[part], command, sizes.rounds, failed, save, sizes.warm_up)
        show("4 beams" if beams == 4 else "greedy", result[part], sizes.batches)
        if setup.device == "cpu" and sizes.shape == "small" and not failed:
            result |= cpu_figures(answers, result[part], "" if beams == 1 else f"_{part}")
    for system in started:
        system.close()
    if failed and setup.device == "cpu":
        raise SystemExit("\n".join(f"{name} failed: {reason}" for name, reason in failed.items()))


def missing_batches(rows: dict[str, dict], names: list[str], batches: tuple[int, ...]) -> list[int]:
    """Those of `batches` of which a system of `names` has no rate in `rows`."""
    return [batch for batch in batches if any(str(batch) not in rows.get(name, {}) for name in names)]


def cpu_figures(answers: Answers, row: dict[str, dict[str, float]], suffix: str) -> dict[str, dict]:
    """Our share of time outside ONNX Runtime, and ratios to the peers by the rates `row`; `suffix` ends their names."""
    outside = {
        name: {
            str(batch): round(1 - best["inside"] / best["seconds"], 3)
            for batch, rounds in by_batch.items()
            for best in [min(rounds, key=lambda answer: answer["seconds"])]
        }
        for name, by_batch in answers.items()
        if name.startswith("Precis")
    }
    console.print(figures := {f"outside_onnxruntime{suffix}": outside})
    for key, ours, theirs in (
        ("ctranslate2_int8", "Precis int8", "CTranslate2 int8"),
        ("ctranslate2_fp32", "Precis fp32", "CTranslate2 fp32"),
        ("optimum", "Precis int8", "Optimum fp32"),
        ("pytorch", "Precis int8", "PyTorch fp32"),
    ):
        if theirs in row:
            ratios = {batch: round(rate / row[theirs][batch], 2) for batch, rate in row[ours].items()}
            figures[f"ratio_to_{key}{suffix}"] = ratios
    return figures


def rates(answers: Answers, pick: Callable[[list[float]], float]) -> dict[str, dict[str, float]]:
    """Summaries a second by system and batch; `pick` chooses from the seconds of the rounds."""
    return {
        name: {
            str(batch): round(batch / pick([answer["seconds"] for answer in rounds]), 3)
            for batch, rounds in row.items()
        }
        for name, row in answers.items()
    }


def show(title: str, rows: dict[str, dict[str, float]], batches: tuple[int, ...]) -> None:
    """Prints rates by system and batch."""
    table = Table("summaries a second", *(f"batch {batch}" for batch in batches), title=title)
    for name, row in rows.items():
        table.add_row(name, *(f"{row[str(batch)]:.2f}" if str(batch) in row else "–" for batch in batches))
    console.print(table)


def measure_engine(result: dict, setup: Setup, sizes: Sizes, parts: list[str], keep: Callable[[], None]) -> None:
    """Measures the parts that need our engine alone; adds them to `result`."""
    from benchmarks import mixed, models
    from precis import Engine

    if "mixed" in parts and "mixed_load" not in result:
        bundle = models.ensure_bundle(setup, "int8" if setup.device == "cpu" else "fp16", MIXED_LIMIT)
        engine = Engine.load(bundle, device=setup.device, threads=setup.threads, rows=setup.rows)
        result["mixed_load"] = mixed.compare(engine, *sizes.mixed)
        engine.close()
        console.print(result["mixed_load"])
        keep()


def draw_throughput(result: dict, path: Path) -> None:
    """Draws summaries a second by batch, greedy and with four beams."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 3.4), layout="constrained")
    axes = figure.subplots(1, 2, sharey=True)
    for axis, key, title in zip(axes, ("greedy", "beams4"), ("greedy", "4 beams"), strict=True):
        for name, row in result[key].items():
            width = 2.4 if name.startswith("Precis") else 1.2
            axis.plot(list(row), list(row.values()), marker="o", label=name, linewidth=width)
        axis.set(title=title, xlabel="batch")
    axes[0].set(ylabel="summaries a second")
    axes[0].legend(fontsize=8)
    figure.savefig(path, dpi=120)


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.engine", description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="one part, greedy in one round; nothing is written")
    parser.add_argument("--beams", type=int, choices=(1, 4), default=1, help="of --quick; 4: int8, three rounds")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--parts", nargs="+", choices=PARTS, help="only these; others keep their results")
    parser.add_argument("--scratch", type=Path, help="keeps the models here, so that several calls can share them")
    parser.add_argument("--output", type=Path, help="file for the results, which are added as they are measured")
    parser.add_argument("--tiny", action="store_true", help="a tiny model and few texts, to try that everything runs")
    options = parser.parse_args(argv)
    parts = list(options.parts or DEFAULT_PARTS[options.device])
    sizes = SIZES["tiny" if options.tiny else options.device]
    if options.quick:
        part, precision, rounds = {1: ("greedy", "", 1), 4: ("beams4", "int8", 3)}[options.beams]
        systems = tuple(name for name in sizes.systems if precision in name)
        parts, sizes = [part], replace(sizes, rounds=rounds, systems=systems)
    to_repository = options.device == "cpu" and not options.quick and not options.tiny
    output = options.output or (RESULT if to_repository else None)
    result = json.loads(output.read_text()) if output and output.exists() else {}
    if not options.output:  # a part is measured as a whole
        replaced = {"failed", *("mixed_load" if part == "mixed" else part for part in parts)}
        result = {key: value for key, value in result.items() if key not in replaced}
    result |= {"machine": processor(), "threads": default_threads()}
    result |= {"source_tokens": sizes.source, "new_tokens": sizes.new, "rounds": sizes.rounds}

    def keep() -> None:
        if output:
            write_json(output, result)

    with tempfile.TemporaryDirectory() as temporary:
        setup = Setup(options.scratch or Path(temporary), options.device, default_threads(), sizes.shape, sizes.rows)
        console.print(f"a random model of the shape {sizes.shape}, and its bundles")
        if {"greedy", "beams4"} & {*parts}:
            compare_systems(result, setup, sizes, parts, keep)
        measure_engine(result, setup, sizes, parts, keep)
    keep()
    if to_repository and {"greedy", "beams4"} <= {*result}:
        draw_throughput(result, PICTURE)
    print(json.dumps(result))
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
