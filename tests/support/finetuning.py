"""Runs of `python -m finetune` and what they record."""

import json
import sys
from pathlib import Path

from finetune.__main__ import main


def run_recipe(recipe: Path, output: Path, *overrides: str) -> dict:
    """Fine-tunes in this process and returns the content of run.json."""
    assert main([str(recipe), f"output={output}", *overrides]) == 0
    return json.loads((output / "run.json").read_text())


def finetune_command(recipe: Path, output: Path, *overrides: str) -> list[str]:
    """The command for a process of its own."""
    return [sys.executable, "-m", "finetune", str(recipe), f"output={output}", *overrides]


def losses(run: Path) -> list[tuple[int, str, float]]:
    """(step, "loss" or "eval_loss", value) of each report in a run's log."""
    log = json.loads((run / "run.json").read_text())["log"]
    return [(row["step"], key, row[key]) for row in log for key in ("loss", "eval_loss") if key in row]
