"""The training curve as a picture."""

from pathlib import Path

import matplotlib

matplotlib.use("Agg")
from matplotlib import pyplot as plt


def training_curve(log: list[dict[str, float]], path: Path) -> None:
    """Training and validation loss against steps, from the Trainer's log rows."""
    figure, axes = plt.subplots(figsize=(6, 3.5), layout="constrained")
    for key, label, marker in (("loss", "training", ""), ("eval_loss", "validation", "o")):
        rows = [(row["step"], row[key]) for row in log if key in row]
        if rows:
            axes.plot(*zip(*rows, strict=True), label=label, marker=marker)
    axes.set(xlabel="optimizer step", ylabel="cross-entropy (nats a token)", title="LoRA fine-tuning")
    axes.legend()
    axes.grid(alpha=0.3)
    figure.savefig(path, dpi=120)
    plt.close(figure)
