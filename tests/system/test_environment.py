"""The locks, which of them `make env` uses, what is known to be vulnerable in them, and what `make` rebuilds."""

import json
import os
import re
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from tests.conftest import ROOT

TRAINING = ("train", "bulk", "bench", "test", "lint")
EXTRAS = {
    "train-cpu": (*TRAINING, "cpu"),
    "train-cuda": (*TRAINING, "gpu"),
    "serve-cpu": ("serve", "cpu"),
    "serve-cuda": ("serve", "cuda"),
    "test": ("test", "bulk"),
    "next": ("train", "next", "cpu", "test"),
}
OVERRIDDEN = {"transformers", "optimum-onnx"}  # by next.in


def entries(name: str) -> list[str]:
    """The requirements of a lock, one a line, with their markers and hashes."""
    text = (ROOT / f"requirements/{name}.txt").read_text().replace("\\\n", " ")
    return [line for line in text.splitlines() if not line.startswith("#")]


def lock(name: str) -> dict[str, str]:
    """Pinned versions by package name, for this Python and platform."""
    pinned = {}
    for entry in entries(name):
        requirement = Requirement(entry.split(" --hash")[0])
        if requirement.marker is None or requirement.marker.evaluate():
            [specifier] = requirement.specifier
            pinned[requirement.name] = specifier.version
    return pinned


def project() -> dict:
    """The [project] table of pyproject.toml."""
    return tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


@pytest.mark.parametrize("name", EXTRAS)
def test_lock_pins_every_requirement_of_its_extras(name):
    extras = project()["optional-dependencies"]
    requirements = project()["dependencies"] + [text for extra in EXTRAS[name] for text in extras[extra]]
    pinned = lock(name) | (lock("torch-cpu") if name in ("train-cpu", "next") else {})
    for requirement in map(Requirement, requirements):
        if requirement.name not in OVERRIDDEN or name != "next":
            assert requirement.specifier.contains(pinned[requirement.name.lower()]), requirement


def test_locks_with_the_same_role_agree_and_contain_one_onnx_runtime_each():
    runtimes = {"onnxruntime", "onnxruntime-gpu"}
    locks = {name: lock(name) for name in EXTRAS}
    installed = {name: runtimes & pinned.keys() for name, pinned in locks.items()}
    cpu, gpu = {"onnxruntime"}, {"onnxruntime-gpu"}
    assert installed == {
        "train-cpu": cpu, "train-cuda": gpu, "serve-cpu": cpu, "serve-cuda": gpu, "test": set(), "next": cpu
    }  # fmt: skip
    for one, other in (("train-cpu", "train-cuda"), ("serve-cpu", "serve-cuda"), ("serve-cpu", "test")):
        shared = locks[one].keys() & locks[other].keys()
        assert {name: locks[one][name] for name in shared} == {name: locks[other][name] for name in shared}


def test_cuda_locks_contain_one_set_of_cuda_libraries_and_the_others_none():
    """They are three gigabytes, which torch's CUDA build needs."""
    cuda = {
        name: {entry.split()[0] for entry in entries(name) if re.match(r"(?!nvidia-ml-py)nvidia-|cuda-|triton", entry)}
        for name in EXTRAS
    }
    assert [name for name, packages in cuda.items() if packages] == ["train-cuda", "serve-cuda"]
    assert cuda["serve-cuda"] <= cuda["train-cuda"]


@pytest.mark.parametrize("name", [*EXTRAS, "torch-cpu"])
def test_locks_have_the_hash_of_every_file(name):
    assert entries(name)
    assert all("--hash=sha256:" in entry for entry in entries(name))


@pytest.mark.parametrize("name", ["serve-cpu", "serve-cuda", "test"])
def test_serving_locks_contain_no_training_packages(name):
    assert not {"torch", "transformers", "optimum", "optimum-onnx", "peft", "datasets"} & lock(name).keys()


def test_judged_vulnerabilities_are_of_the_pinned_version():
    """A new pin needs a new judgement."""
    statements = json.loads((ROOT / "requirements/vex.json").read_text())["statements"]
    assert len(statements) >= 3
    version = lock("train-cpu")["transformers"]
    for statement in statements:
        assert statement["products"][0]["subcomponents"] == [{"@id": f"pkg:pypi/transformers@{version}"}]
        assert statement["impact_statement"]


@pytest.mark.parametrize(("answer", "flavour"), [(0, "cuda"), (9, "cpu")])
def test_make_env_uses_cuda_locks_if_driver_answers(tmp_path, answer, flavour):
    driver = tmp_path / "nvidia-smi"
    driver.write_text(f"#!/bin/sh\n[ {answer} = 0 ] && echo 'GPU 0: NVIDIA'\nexit {answer}\n")
    driver.chmod(0o755)
    environment = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"}
    command = ["make", "--dry-run", "--always-make", "env"]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=True)
    assert f"tools/env.sh .venv train-{flavour}.txt" in done.stdout
    assert f"tools/env.sh .venv-serve serve-{flavour}.txt test.txt" in done.stdout


def test_make_serve_passes_a_bundle_in_a_folder_with_a_space(tmp_path):
    """In a checkout of its own, whose environments count as installed and whose Python prints what it gets."""
    root = tmp_path / "my checkout"
    for name in (".venv", ".venv-serve"):
        (root / name / "bin").mkdir(parents=True)
    python = root / ".venv-serve/bin/python"
    python.write_text('#!/bin/sh\necho "$PRECIS_BUNDLE from $PWD"\n')
    python.chmod(0o755)
    for name in ("requirements", "tools", "Makefile"):
        (root / name).symlink_to(ROOT / name)
    (tmp_path / "nvidia-smi").write_text("#!/bin/sh\nexit 9\n")
    (tmp_path / "nvidia-smi").chmod(0o755)
    for stamp in (".venv/installed-cpu", ".venv-serve/installed-cpu"):
        (root / stamp).touch()
    environment = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"}
    command = ["make", "--silent", "serve", "BUNDLE=artifacts/my run/bundle"]
    done = subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True, check=True)
    assert done.stdout == f"artifacts/my run/bundle from {root}\n"


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
        stamps = re.findall(r"touch (artifacts/\S+)$", output, re.M)
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


@pytest.mark.parametrize(
    ("device", "precisions"), [("cpu", "--precision fp32 int8 --base"), ("cuda", "--precision fp32 fp16 ")]
)
def test_model_service_and_image_are_for_the_same_device(tmp_path, device, precisions):
    """Graphs for the CPU do not run on CUDA, so the bundles have to be exported for the device that is to run them."""
    made = dry_run("image", f"DEVICE={device}", f"RUN={tmp_path}")
    assert f"-m export {tmp_path} --device {device} {precisions}" in made
    assert f"-m tools.image {tmp_path} --device {device} " in made
    assert f"PRECIS_DEVICE={device} " in dry_run("run", f"DEVICE={device}", f"RUN={tmp_path}")
    stamps = {other: re.search(r"touch (\S+/exported-\S+)", dry_run("model", f"DEVICE={other}", f"RUN={tmp_path}"))[1]
              for other in ("cpu", "cuda")}  # fmt: skip
    assert stamps["cpu"] != stamps["cuda"], "bundles for one device are not up to date for the other"


@pytest.mark.parametrize("script", sorted((ROOT / "tools").glob("*.sh")), ids=lambda path: path.name)
def test_scripts_run_in_the_bash_of_macos(script):
    """Version 3.2, which has no mapfile and no ${x,,}, and to which an empty array is an unbound variable (set -u)."""
    text = script.read_text(encoding="utf-8")
    assert not re.findall(r"\b(?:mapfile|readarray|declare -A)\b|\$\{\w+[,^]", text)
    for array in re.findall(r"^\s*(\w+)=\(\)", text, re.M):
        bare = text.replace(f'${{{array}[@]+"${{{array}[@]}}"}}', "")
        assert f'"${{{array}[@]}}"' not in bare, f"{array} may be empty: ${{{array}[@]+...}}"


def test_make_test_unit_trains_nothing():
    assert "-m finetune" not in dry_run("test-unit")
