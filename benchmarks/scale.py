"""Beyond one batch: texts longer than the model reads, and ten thousand requests; and the picture of throughput."""

import resource
import time
from pathlib import Path

import matplotlib

from precis import Engine, GenerationParams

matplotlib.use("Agg")
from matplotlib import pyplot as plt

LENGTHS = (512, 1024, 2048, 4096)  # tokens
SHORT_REQUESTS = 10_000


def long_texts(engine: Engine) -> dict[str, float]:
    """Seconds for one text, by its tokens, in sentences of 20 words; the best of three."""
    return {str(length): _long_text(engine, length) for length in LENGTHS}


def _long_text(engine: Engine, length: int) -> float:
    sentences = (" ".join(f"w{10 + (i * 20 + j) % 30000}" for j in range(19)) + " w5.\n" for i in range(length // 20))
    text = "".join(sentences)
    best = float("inf")
    for _ in range(3):
        began = time.perf_counter()
        engine.generate([text], GenerationParams(max_new_tokens=32, min_new_tokens=32))
        best = min(best, time.perf_counter() - began)
    return round(best, 3)


def many_requests(engine: Engine) -> dict[str, float]:
    """Seconds and peak memory of SHORT_REQUESTS short requests, a thousand at a time."""
    text = " ".join(f"w{i}" for i in range(20, 40))
    peaks, seconds = [], []
    for _ in range(SHORT_REQUESTS // 1000):
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


def draw_throughput(result: dict, path: Path) -> None:
    """Draws summaries a second by batch, greedy and with four beams."""
    figure, axes = plt.subplots(1, 2, figsize=(9, 3.4), layout="constrained", sharey=True)
    for axis, key, title in zip(axes, ("greedy", "beams4"), ("greedy", "4 beams"), strict=True):
        for name, row in result[key].items():
            width = 2.4 if name.startswith("Precis") else 1.2
            axis.plot(list(row), list(row.values()), marker="o", label=name, linewidth=width)
        axis.set(title=title, xlabel="batch")
    axes[0].set(ylabel="summaries a second")
    axes[0].legend(fontsize=8)
    figure.savefig(path, dpi=120)
    plt.close(figure)
