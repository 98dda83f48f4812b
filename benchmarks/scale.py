"""What happens beyond a batch: mixed load, texts longer than the model reads, ten thousand requests."""

import json
import resource
import time
from pathlib import Path

import matplotlib

from benchmarks import mixed, shapes
from precis import Engine, GenerationParams

matplotlib.use("Agg")
from matplotlib import pyplot as plt

LENGTHS = (512, 1024, 2048, 4096)
SHORT = 10_000
CALLS = 320
ROUNDS = 3  # of the mixed load, both ways in turn; the best of each counts, since other work only ever adds


def measured(folder: Path, threads: int, parts: list[str]) -> dict:
    """The measurements of this module that `parts` name, on the int8 bundle; `folder` is the benchmark's."""
    found = {}
    if "mixed" in parts:
        found["mixed_load"] = _mixed(folder, threads)
    engine = Engine.load(folder / "int8", threads=threads)
    if "long" in parts:
        found["seconds_by_input_tokens"] = {str(length): _long(engine, length) for length in LENGTHS}
    if "many" in parts:
        found["short_requests"] = _many(engine)
    engine.close()
    print(json.dumps(found, indent=1), flush=True)
    return found


def _mixed(folder: Path, threads: int) -> dict:
    """The running batch beside static ones at 80% of what the running batch can do."""
    bundle = folder / "int8-1024"
    if not (bundle / "manifest.json").exists():
        ids = [[3, *range(10 + i, 400 + i), 1] for i in range(16)]
        shapes.write_bundle(folder / "model", bundle, ids, limit=1024)
    engine = Engine.load(bundle, threads=threads)
    work = mixed.calls(CALLS, 2)
    mixed.capacity(engine, work[:32])
    rate = 0.8 * mixed.capacity(engine, work)
    times = mixed.arrivals(len(work), rate, 3)
    tried = [(mixed.continuous(engine, work, times), mixed.static(engine, work, times)) for _ in range(ROUNDS)]
    engine.close()
    continuous, static = (min(runs, key=lambda run: run["p95_s"]) for runs in zip(*tried, strict=True))
    return {"arrivals_per_second": round(rate, 2), "continuous": continuous, "static": static}


def _long(engine: Engine, length: int) -> float:
    """Seconds for one text of so many tokens, in sentences of 20 words; the best of three."""
    sentences = (" ".join(f"w{10 + (i * 20 + j) % 30000}" for j in range(19)) + " w5.\n" for i in range(length // 20))
    text = "".join(sentences)
    best = float("inf")
    for _ in range(3):
        began = time.perf_counter()
        engine.generate([text], GenerationParams(max_new_tokens=32, min_new_tokens=32))
        best = min(best, time.perf_counter() - began)
    return round(best, 3)


def _many(engine: Engine) -> dict[str, float]:
    """Seconds and peak memory of SHORT requests, a thousand at a time."""
    text = " ".join(f"w{i}" for i in range(20, 40))
    peaks, seconds = [], []
    for _ in range(SHORT // 1000):
        began = time.perf_counter()
        engine.generate([text] * 1000, GenerationParams(max_new_tokens=4))
        seconds.append(time.perf_counter() - began)
        peaks.append(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
    return {
        "first_thousand_s": round(seconds[0], 2),
        "last_thousand_s": round(seconds[-1], 2),
        "peak_mib_after_1000": round(peaks[0]),
        "peak_mib_after_10000": round(peaks[-1]),
    }


def picture(result: dict, path: Path) -> None:
    """Throughput against batch, greedy and with four beams."""
    figure, axes = plt.subplots(1, 2, figsize=(9, 3.4), layout="constrained", sharey=True)
    for axis, key, title in zip(axes, ("greedy", "beams4"), ("greedy", "4 beams"), strict=True):
        for name, row in result[key].items():
            ours = name.startswith("Precis")
            axis.plot(list(row), list(row.values()), marker="o", label=name, linewidth=2.4 if ours else 1.2)
        axis.set(title=title, xlabel="batch")
    axes[0].set(ylabel="summaries a second")
    axes[0].legend(fontsize=8)
    figure.savefig(path, dpi=120)
    plt.close(figure)
