"""Plots of pre-training."""

from pathlib import Path

import matplotlib

matplotlib.use("Agg")
from matplotlib import pyplot as plt


def pretraining_curves(history: list[dict[str, float]], tasks: list[str], path: Path) -> None:
    """Writes a plot of each pre-training task's held-out loss over time, from rows of `research.pretrain.training`."""
    figure, axes = plt.subplots(figsize=(7, 4), layout="constrained")
    for task in tasks:
        axes.plot([row["seconds"] / 60 for row in history], [row[task] for row in history], label=task, marker=".")
    axes.set(xlabel="minutes", ylabel="held-out cross-entropy (nats a token)", title="Pre-training the base")
    axes.legend(ncols=2)
    axes.grid(alpha=0.3)
    figure.savefig(path, dpi=120)
    plt.close(figure)
