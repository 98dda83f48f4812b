"""The locks, which of them `make env` uses, and what `make` rebuilds."""

import os
import re
import shutil
import subprocess
import tomllib
from pathlib import Path

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
    """Pinned versions by package name."""
    text = (ROOT / f"requirements/{name}.txt").read_text()
    return dict(re.findall(r"^([\w.-]+)==(\S+)", text, re.M))


@pytest.mark.parametrize("name", EXTRAS)
def test_lock_pins_every_requirement_of_its_extras(name):
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    requirements = project["dependencies"] + [text for extra in EXTRAS[name] for text in extras[extra]]
    pinned = lock(name)
    for requirement in map(Requirement, requirements):
        assert requirement.specifier.contains(pinned[requirement.name.lower()]), requirement


def test_locks_agree_and_contain_one_onnx_runtime_each():
    runtimes = {"onnxruntime", "onnxruntime-gpu"}
    locks = {name: lock(name) for name in EXTRAS}
    installed = {name: runtimes & pinned.keys() for name, pinned in locks.items()}
    cpu, gpu = {"onnxruntime"}, {"onnxruntime-gpu"}
    assert installed == {"cpu": cpu, "gpu": gpu, "serve-cpu": cpu, "serve-cuda": gpu}
    everything = dict(item for pinned in locks.values() for item in pinned.items())
    assert all(pinned.items() <= everything.items() for pinned in locks.values())
    assert locks["cpu"].keys() - runtimes <= locks["gpu"].keys()


def test_only_gpu_locks_contain_cuda_libraries():
    """They are three gigabytes, which torch's CUDA build needs."""
    for name in EXTRAS:
        cuda = {package for package in lock(name) if re.match(r"nvidia-|cuda-|triton", package)} - {"nvidia-ml-py"}
        assert bool(cuda) == (name in {"gpu", "serve-cuda"})


@pytest.mark.parametrize("name", ["serve-cpu", "serve-cuda"])
def test_serving_locks_pin_hashes(name):
    text = (ROOT / f"requirements/{name}.txt").read_text().replace("\\\n", " ")
    assert all("--hash=sha256:" in line for line in text.splitlines())


@pytest.mark.parametrize("name", ["serve-cpu", "serve-cuda"])
def test_serving_locks_contain_no_training_packages(name):
    assert not {"torch", "transformers", "optimum", "optimum-onnx", "peft", "datasets"} & lock(name).keys()


@pytest.mark.parametrize(("answer", "flavour"), [(0, "gpu"), (9, "cpu")])
def test_make_env_uses_gpu_lock_if_driver_answers(tmp_path, answer, flavour):
    driver = tmp_path / "nvidia-smi"
    driver.write_text(f"#!/bin/sh\n[ {answer} = 0 ] && echo 'GPU 0: NVIDIA'\nexit {answer}\n")
    driver.chmod(0o755)
    environment = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"}
    command = ["make", "--dry-run", "--always-make", "env"]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=True)
    assert f"tools/env.sh {flavour}" in done.stdout


def test_make_help_lists_targets():
    done = subprocess.run(["make", "help"], cwd=ROOT, capture_output=True, text=True, check=True)
    listed = {line.split()[1] for line in done.stdout.splitlines()}
    assert listed >= {"run", "model", "serve", "test", "lint", "bench", "image", "clean"}


def test_make_model_does_nothing_if_up_to_date(embedded):
    """`make test` has just run `make model`; a second run has nothing to do."""
    done = subprocess.run(["make", "--question", "model"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, "make model would do something: run these tests with make test"


def dry_run(*arguments: str) -> str:
    """What make would do, without doing it."""
    command = ["make", "--dry-run", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout


def test_edited_sources_repeat_only_the_steps_that_read_them(tmp_path):
    """A stamp's name holds a checksum of what a step reads, so a copy of the tree shows what an edit repeats."""
    for name in ("finetune", "export", "precis", "recipes", "requirements", "tools", "Makefile"):
        source = ROOT / name  # what the stamps of the Makefile read
        shutil.copytree(source, tmp_path / name) if source.is_dir() else shutil.copy(source, tmp_path / name)

    def steps() -> list[str]:
        command = ["make", "--dry-run", "model"]
        output = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True).stdout
        stamps = re.findall(r"touch (\S+)$", output, re.M)
        (tmp_path / "artifacts/embedded").mkdir(parents=True, exist_ok=True)
        for stamp in stamps:
            (tmp_path / stamp).touch()
        return [Path(stamp).name.split("-")[0] for stamp in stamps]

    def edit(name: str) -> None:
        with (tmp_path / name).open("a") as file:
            file.write("# edited\n")

    assert steps() == ["finetuned", "exported"]
    assert steps() == []
    (tmp_path / "finetune/run.py").touch()
    assert steps() == [], "only the time of a file changed"
    edit("precis/engine.py")
    assert steps() == ["exported"]
    edit("finetune/run.py")
    assert steps() == ["finetuned", "exported"]


def test_make_test_unit_trains_nothing():
    assert "-m finetune" not in dry_run("test-unit")
