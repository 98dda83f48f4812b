"""Plots of training curves and of token lengths."""

from pathlib import Path

import matplotlib
import numpy as np

matplotlib.use("Agg")
from matplotlib import pyplot as plt


def training_curve(log: list[dict[str, float]], path: Path) -> None:
    """Writes a plot of training and validation loss over steps, from the Trainer's log rows, to `path`."""
    figure, axes = plt.subplots(figsize=(6, 3.5), layout="constrained")
    for key, label, marker in (("loss", "training", ""), ("eval_loss", "validation", "o")):
        rows = [(row["step"], row[key]) for row in log if key in row]
        if rows:
            axes.plot(*zip(*rows, strict=True), label=label, marker=marker)
    axes.set(xlabel="optimizer step", ylabel="cross-entropy (nats a token)", title="Fine-tuning")
    axes.legend()
    axes.grid(alpha=0.3)
    figure.savefig(path, dpi=120)
    plt.close(figure)


def length_histogram(lengths: dict[str, np.ndarray], limits: dict[str, int], path: Path) -> None:
    """Writes histograms of the token counts of documents and summaries, with the recipe's limits, to `path`."""
    figure, panels = plt.subplots(1, len(lengths), figsize=(8, 3), layout="constrained")
    for axes, (name, counts) in zip(panels, lengths.items(), strict=True):
        axes.hist(counts, bins=40)
        axes.axvline(limits[name], color="tab:red", linestyle="--", label=f"limit: {limits[name]}")
        axes.set(xlabel=f"{name} tokens", ylabel="training pairs")
        axes.legend()
    figure.savefig(path, dpi=120)
    plt.close(figure)
