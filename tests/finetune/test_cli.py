"""The command line: --help, --list, --check, --dry-run, and options before or after positional arguments."""

import json
import re
import subprocess
import sys

import pytest

from finetune.__main__ import main
from finetune.reports.recipe_docs import recipe_titles
from tests.conftest import ROOT


def test_list_names_every_fine_tuning_recipe(capsys):
    assert main(["--list"]) == 0
    listed = [line.split()[0] for line in capsys.readouterr().out.splitlines()]
    readable = {
        "embedded",
        "t5-small-xsum",
        "t5-base-xsum",
        "flan-t5-small",
        "flan-t5-base",
        "t5-large-qlora",
        "own-data",
    }
    assert {path.removeprefix("recipes/").removesuffix(".yaml") for path in listed} == readable
    assert all(title for _, title in recipe_titles())


def test_check_prints_counts_and_memory_and_trains_nothing(tiny_recipe, tmp_path, capsys):
    output = tmp_path / "run"
    # options may stand anywhere
    assert main([str(tiny_recipe), "training.batch_size=8", "--check", f"output={output}"]) == 0
    output_text = " ".join(capsys.readouterr().err.split())
    # 64 tokens of prefix and document at the most; 40 training pairs, 24 validation pairs
    assert re.search(r"pairs 40 24", output_text)
    assert "560,256 parameters" not in output_text  # with the adapter's; the base alone has fewer
    assert re.search(r"551,552 parameters, 8,704 of them trained in 3 steps of 8 pairs", output_text), output_text
    assert "Estimated memory" in output_text
    assert {path.name for path in tmp_path.iterdir()} == {"run.check"}
    assert {path.name for path in (tmp_path / "run.check").iterdir()} == {"data.md", "data.png"}
    assert (tmp_path / "run.check/data.png").read_bytes()[:4] == b"\x89PNG"


def test_dry_run_runs_every_part_and_keeps_nothing(tiny_recipe, tmp_path, capsys):
    assert main(["--dry-run", str(tiny_recipe), f"output={tmp_path / 'run'}", "training.max_steps=500"]) == 0
    streams = capsys.readouterr()
    assert "step 2 of 2" in streams.err
    assert "nothing was kept" in streams.out
    assert not list(tmp_path.iterdir())


def test_no_recipe_is_a_usage_error():
    done = subprocess.run([sys.executable, "-m", "finetune"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 2
    assert "--list" in done.stderr


def test_recipe_mistake_is_reported_before_torch_is_imported():
    command = [sys.executable, "-X", "importtime", "-m", "finetune", "recipes/embedded.yaml", "lora.rnak=3"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 1
    assert "Unknown key lora.rnak in the recipe; the nearest valid one is lora.rank." in done.stderr
    assert "| torch" not in done.stderr


@pytest.mark.parametrize("arguments", [["--help"], ["push", "--help"]])
def test_help_shows_examples(capsys, arguments):
    with pytest.raises(SystemExit) as exit_:
        main(arguments)
    assert exit_.value.code == 0
    assert "examples:\n  python -m finetune" in capsys.readouterr().out


@pytest.mark.parametrize(
    "arguments",
    [
        ["push", "RUN", "me/gist", "--public"],
        ["push", "RUN", "--public", "me/gist"],
        ["push", "--public", "RUN", "me/gist"],
        ["--public", "push", "RUN", "me/gist"],
    ],
)
def test_push_options_may_stand_anywhere(tmp_path, capsys, arguments):
    """The folder holds no run, which is reported once the arguments are understood."""
    assert main([str(tmp_path) if argument == "RUN" else argument for argument in arguments]) == 1
    assert "is not a run" in capsys.readouterr().err


def test_check_counts_steps_as_the_trainer_does(tiny_recipe, tmp_path, capsys):
    """40 pairs in steps of 6: seven an epoch, the last one smaller."""
    settings = [f"output={tmp_path / 'run'}", "data.validation_documents=2", "training.max_steps=null"]
    settings += ["training.epochs=1.5", "training.batch_size=3", "training.gradient_accumulation=2"]
    assert main(["--check", str(tiny_recipe), *settings]) == 0
    counted = re.search(r"trained in (\d+) steps of 6 pairs", " ".join(capsys.readouterr().err.split()))[1]
    assert main([str(tiny_recipe), *settings]) == 0
    assert int(counted) == json.loads((tmp_path / "run/run.json").read_text())["training_steps"] == 11
