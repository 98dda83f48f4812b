"""What the console shows during training."""

import io

from rich.console import Console

from tests.conftest import ROOT
from tests.support.finetuning import run_recipe


def test_terminal_shows_loss_rouge_speed_and_remaining_time(tiny_recipe, tmp_path, monkeypatch):
    screen = io.StringIO()
    terminal = Console(file=screen, force_terminal=True, width=140)
    monkeypatch.setattr("finetune.reports.progress_table.console", terminal)
    # The tiny model has no word right, and a metric that is 0 everywhere is refused.
    settings = ["training.metric=rouge1", "data.validation_documents=4"]
    run_recipe(tiny_recipe, tmp_path / "run", f"model.name={ROOT / 'models/base'}", *settings)
    seen = screen.getvalue()
    for word in ("validation loss", "ROUGE-1", "ROUGE-L", "tokens/s", "3/3", "0:00:00"):
        assert word in seen, word
