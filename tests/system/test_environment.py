"""The locks, and which of them make env picks."""

import os
import re
import subprocess
import tomllib

import pytest
from packaging.requirements import Requirement

from tests.conftest import ROOT

EXTRAS = {
    "cpu": ("train", "bulk", "serve", "cpu", "bench", "dev"),
    "gpu": ("train", "bulk", "serve", "gpu", "bench", "dev"),
    "serve-cpu": ("serve", "cpu"),
    "serve-cuda": ("serve", "cuda"),
}


def lock(name: str) -> dict[str, str]:
    """Versions by name."""
    text = (ROOT / f"requirements/{name}.txt").read_text()
    return dict(re.findall(r"^([\w.-]+)==(\S+)", text, re.M))


@pytest.mark.parametrize("name", EXTRAS)
def test_a_lock_pins_all_that_its_extras_ask_for(name):
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    asked = project["dependencies"] + [text for extra in EXTRAS[name] for text in extras[extra]]
    pinned = lock(name)
    for requirement in map(Requirement, asked):
        assert requirement.specifier.contains(pinned[requirement.name.lower()]), requirement


def test_the_locks_never_hold_both_runtimes_and_agree_otherwise():
    runtimes = {"onnxruntime", "onnxruntime-gpu"}
    locks = {name: lock(name) for name in EXTRAS}
    held = {name: runtimes & pinned.keys() for name, pinned in locks.items()}
    cpu, gpu = {"onnxruntime"}, {"onnxruntime-gpu"}
    assert held == {"cpu": cpu, "gpu": gpu, "serve-cpu": cpu, "serve-cuda": gpu}
    everything = dict(item for pinned in locks.values() for item in pinned.items())
    assert all(pinned.items() <= everything.items() for pinned in locks.values())
    assert locks["cpu"].keys() - runtimes <= locks["gpu"].keys()


def test_only_the_gpu_locks_bring_the_cuda_libraries():
    """Torch's CUDA build asks for three gigabytes of them."""
    for name in EXTRAS:
        cuda = {package for package in lock(name) if re.match(r"nvidia-|cuda-|triton", package)} - {"nvidia-ml-py"}
        assert bool(cuda) == (name in {"gpu", "serve-cuda"})


@pytest.mark.parametrize("name", ["serve-cpu", "serve-cuda"])
def test_what_an_image_holds_is_pinned_by_hash(name):
    text = (ROOT / f"requirements/{name}.txt").read_text().replace("\\\n", " ")
    assert all("--hash=sha256:" in line for line in text.splitlines())


@pytest.mark.parametrize("name", ["serve-cpu", "serve-cuda"])
def test_serving_needs_nothing_of_training(name):
    assert not {"torch", "transformers", "optimum", "optimum-onnx", "peft", "datasets"} & lock(name).keys()


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
