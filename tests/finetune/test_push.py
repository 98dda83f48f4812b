"""Uploads of a run to a stand-in for the hub."""

import json
import os
import shutil
import subprocess
import sys

import pytest
from safetensors.numpy import load_file

from finetune.__main__ import main
from finetune.push import operations
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


def test_push_uploads_the_complete_run_and_never_shows_the_token(tiny_run, tmp_path):
    with HubStandIn({"models": {}, "datasets": {}}) as hub:
        hub.accept_uploads(tmp_path / "hub")
        done = push(hub, tiny_run, "me/gist", home=tmp_path / "home")
        assert done.returncode == 0, done.stderr
        assert done.stdout.strip() == f"{hub.url}/me/gist/commit/{hub.commit('models', 'me/gist')}"
        unknown = {path for _, path, status in hub.requests if status == 501}
        assert unknown <= {"/api/agent-harnesses"}, "which huggingface-hub 2 asks, and does without"
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
        (["me/gist"], "hf_a…z", "the token holds characters that no token has"),
        (["me/gist"], TOKEN, "does not let this token write"),
        (["me/a/gist"], TOKEN, "owner/name"),
    ],
)
def test_failed_push_is_reported_in_one_sentence(tiny_run, tmp_path, words, token, named):
    with HubStandIn({"models": {}, "datasets": {}}) as hub:
        done = push(hub, tiny_run, *words, token=token, home=tmp_path)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith("push: ")
    assert named in done.stderr
    assert "Traceback" not in done.stderr
    assert not token or token not in done.stderr


def test_metadata_that_the_hub_refuses_is_one_sentence(tiny_run, tmp_path):
    run = shutil.copytree(tiny_run, tmp_path / "run")
    card = (run / "README.md").read_text()
    (run / "README.md").write_text(card.replace("library_name:", "base_model: /home/me/model\nlibrary_name:", 1))
    with HubStandIn({"models": {}, "datasets": {}}) as hub:
        hub.accept_uploads(tmp_path / "hub")
        done = push(hub, run, "me/gist", home=tmp_path / "home")
    assert done.returncode == 1
    sentence = done.stderr.splitlines()[-1]
    assert sentence.startswith('push: Invalid metadata in README.md. - "base_model" with value "/home/me/model"')


def test_only_files_of_the_merged_model_are_pushed(tiny_run, tmp_path):
    run = shutil.copytree(tiny_run, tmp_path / "run")
    (run / "merged/.cache").mkdir()
    assert [each.path_in_repo for each in operations(run)] == [each.path_in_repo for each in operations(tiny_run)]


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads every file")
def test_file_that_cannot_be_read_is_named(tiny_run, tmp_path, capsys, monkeypatch):
    run = shutil.copytree(tiny_run, tmp_path / "run")
    (run / "samples.md").chmod(0)
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    assert main(["push", str(run), "me/gist"]) == 1
    assert capsys.readouterr().err == f"push: {run / 'samples.md'}: Permission denied.\n"


def test_folder_without_a_run_is_not_pushed(tmp_path, capsys):
    assert main(["push", str(tmp_path), "me/gist"]) == 1
    assert "is not a run" in capsys.readouterr().err


def test_bundle_of_an_earlier_training_is_not_pushed(tiny_run, tmp_path, capsys):
    run = shutil.copytree(tiny_run, tmp_path / "run")
    info = json.loads((run / "run.json").read_text())
    (run / "run.json").write_text(json.dumps(info | {"training_seconds": info["training_seconds"] + 1}))
    assert main(["push", str(run), "me/gist"]) == 1
    assert f"{run / 'bundle'} was exported from an earlier training" in capsys.readouterr().err
