"""The locks, and which of them make env picks."""

import os
import subprocess
import tomllib

import pytest
from packaging.requirements import Requirement

from tests.conftest import ROOT

EXTRAS = {
    "cpu": ("train", "serve", "cpu", "bench", "dev"),
    "gpu": ("train", "serve", "gpu", "bench", "dev"),
    "serve": ("serve", "cpu"),
}


def lock(name: str) -> dict[str, str]:
    lines = (ROOT / f"requirements/{name}.txt").read_text().split()
    return dict(line.split("==") for line in lines)


@pytest.mark.parametrize("name", EXTRAS)
def test_a_lock_pins_all_that_its_extras_ask_for(name):
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    asked = project["dependencies"] + [text for extra in EXTRAS[name] for text in extras[extra]]
    pinned = lock(name)
    for requirement in map(Requirement, asked):
        assert requirement.specifier.contains(pinned[requirement.name.lower()]), requirement


def test_the_locks_never_hold_both_runtimes_and_differ_in_nothing_else():
    cpu, gpu, serve = lock("cpu"), lock("gpu"), lock("serve")
    assert ("onnxruntime" in cpu, "onnxruntime-gpu" in cpu) == (True, False)
    assert ("onnxruntime" in gpu, "onnxruntime-gpu" in gpu) == (False, True)
    del cpu["onnxruntime"], gpu["onnxruntime-gpu"]
    assert cpu == gpu
    assert set(serve.items()) <= set(lock("cpu").items())


def test_serving_needs_nothing_of_training():
    assert not {"torch", "transformers", "optimum", "optimum-onnx", "peft", "datasets"} & lock("serve").keys()


def test_bento_and_container_read_the_serving_lock():
    assert "requirements/serve.txt" in (ROOT / "Dockerfile").read_text()
    assert "requirements/serve.txt" in (ROOT / "bentofile.yaml").read_text()


@pytest.mark.parametrize(("answer", "flavour"), [(0, "gpu"), (9, "cpu")])
def test_the_gpu_lock_is_picked_where_a_driver_answers(tmp_path, answer, flavour):
    driver = tmp_path / "nvidia-smi"
    driver.write_text(f"#!/bin/sh\n[ {answer} = 0 ] && echo 'GPU 0: a card'\nexit {answer}\n")
    driver.chmod(0o755)
    environment = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"}
    command = ["make", "--dry-run", "--always-make", "env"]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=True)
    assert f"tools/env.sh {flavour}" in done.stdout


def test_help_lists_the_targets():
    done = subprocess.run(["make", "help"], cwd=ROOT, capture_output=True, text=True, check=True)
    listed = {line.split()[1] for line in done.stdout.splitlines()}
    assert listed >= {"run", "model", "serve", "test", "lint", "bench", "image", "clean"}


def test_what_is_up_to_date_is_not_made_again(embedded):
    """`make model` just ran for these tests; asked again it has nothing to do."""
    done = subprocess.run(["make", "--question", "model"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, "make model has something to do: run these tests by make test"


def test_every_package_of_the_repository_is_a_folder_of_small_modules():
    for room in ("finetune", "export", "engine", "bento"):
        for path in (ROOT / room).glob("*.py"):
            text = path.read_text(encoding="utf-8")
            assert text.startswith('"""'), f"{path} does not say its job in its first line"
            assert text.count("\n") < 400, path
