"""The card and the samples of a run, and its upload to a stand-in of the hub."""

import json
import os
import subprocess
import sys

import pytest
import yaml
from safetensors.numpy import load_file

from finetune.reports.card import write_samples
from tests.conftest import ROOT
from tests.support.hub import HubStandIn

TOKEN = "hf_thisIsNobodysTokenAtAll"


def push(hub: HubStandIn, run, *words: str, token: str = TOKEN, home) -> subprocess.CompletedProcess:
    own = {name: value for name, value in os.environ.items() if not name.startswith("HF_")}
    settings = {"HF_ENDPOINT": hub.url, "HF_HOME": str(home), "HF_HUB_DISABLE_XET": "1", "NO_PROXY": "127.0.0.1"}
    if token:
        settings["HF_TOKEN"] = token
    command = [sys.executable, "-m", "finetune", "push", str(run), *words]
    return subprocess.run(command, cwd=ROOT, env=own | settings, capture_output=True, text=True, timeout=120)


def test_a_run_reaches_the_hub_whole_and_the_token_stays_secret(tiny_run, tmp_path):
    with HubStandIn({"models": {}, "datasets": {}}) as hub:
        hub.accept_uploads(tmp_path / "hub")
        done = push(hub, tiny_run, "me/gist", home=tmp_path / "home")
        assert done.returncode == 0, done.stderr
        assert done.stdout.strip() == f"{hub.url}/me/gist/commit/{hub.commit('models', 'me/gist')}"
        assert not [path for _, path, status in hub.asked if status == 501], "the stand-in does not know these"
        assert hub.tokens == {TOKEN}
    landed = tmp_path / "hub/me/gist"
    for name in ("adapter/adapter_model.safetensors", "bundle/manifest.json", "bundle/parity.json", "rouge.json"):
        assert (landed / name).read_bytes() == (tiny_run / name).read_bytes()
    merged, original = (load_file(folder / "model.safetensors") for folder in (landed, tiny_run / "merged"))
    assert merged.keys() == original.keys()
    assert all((merged[name] == original[name]).all() for name in merged)
    assert (landed / "README.md").read_text() == (tiny_run / "README.md").read_text()
    assert not (landed / "tensorboard").exists()
    everything = [done.stdout, done.stderr, *(path.read_bytes().decode("latin-1") for path in landed.rglob("*.*"))]
    assert not any(TOKEN in text for text in everything)


@pytest.mark.parametrize(
    ("words", "token", "named"),
    [
        (["me/gist"], "", "no token"),
        (["me/gist"], TOKEN, "does not let this token write"),
        (["me/a/gist"], TOKEN, "owner/name"),
    ],
)
def test_a_push_that_cannot_be_is_one_sentence(tiny_run, tmp_path, words, token, named):
    with HubStandIn({"models": {}, "datasets": {}}) as hub:
        done = push(hub, tiny_run, *words, token=token, home=tmp_path)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith("push: ")
    assert named in done.stderr
    assert "Traceback" not in done.stderr
    assert TOKEN not in done.stderr


def test_a_folder_that_is_no_run_is_not_pushed(tmp_path, capsys):
    from finetune.__main__ import main

    assert main(["push", str(tmp_path), "me/gist"]) == 1
    assert "is not a run" in capsys.readouterr().err


def test_the_card_says_what_the_run_measured(tiny_run):
    text = (tiny_run / "README.md").read_text()
    _, front, body = text.split("---\n", 2)
    metadata = yaml.safe_load(front)
    info, rouge = (json.loads((tiny_run / name).read_text()) for name in ("run.json", "rouge.json"))
    assert metadata["base_model"] == info["recipe"]["model"]["name"]
    assert metadata["pipeline_tag"] == "summarization"
    for system in ("lead", "base", "finetuned"):
        low, high = rouge[system]["ci95"]["rougeL"]
        assert f"{rouge[system]['rougeL']:.2f} [{low:.2f}, {high:.2f}]" in body
    for fact in (
        "40 pairs to train on",
        "24 to validate",
        info["hardware"],
        "| lora.rank | 4 |",
        "energy: ",
        "## Limits",
    ):
        assert fact in body, fact
    for folder in ("adapter", "merged"):
        assert (tiny_run / folder / "README.md").read_text() == text


def test_samples_stand_side_by_side_from_the_worst_to_the_best(tmp_path):
    references = [f"the old bridge number {i} closes" for i in range(30)]
    base = [text if i % 3 == 0 else "nothing alike" for i, text in enumerate(references)]
    tuned = [text if i % 3 == 1 else "nothing alike" for i, text in enumerate(references)]
    documents = [f"Document {i} with a | in it." for i in range(30)]
    write_samples(documents, {"base": base, "finetuned": tuned}, references, tmp_path)
    page = (tmp_path / "samples.md").read_text()
    headings = [line for line in page.splitlines() if line.startswith("## ")]
    assert len(headings) == 10
    assert (headings[0], headings[-1]) == ("## ROUGE-L 100.0 → 0.0", "## ROUGE-L 0.0 → 100.0")
    first = page.split("## ")[1]
    number = first.split("Document ")[1].split()[0]
    assert f"| reference | the old bridge number {number} closes |" in first
    assert f"| base | the old bridge number {number} closes |" in first
    assert "| fine-tuned | nothing alike |" in first
