"""Every command in the README is run here, or marked as needing a hub, a GPU or a container engine."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT, gazette

BLOCKS = re.findall(r"^```(\w+)(.*?)\n(.*?)^```", (ROOT / "README.md").read_text(encoding="utf-8"), re.S | re.M)
MARKS = {"hub", "gpu", "container"}
COMMANDS = [
    line.split("  #")[0].strip()
    for language, marks, body in BLOCKS
    if language == "sh" and not marks.split()
    for line in body.splitlines()
]


@pytest.fixture(scope="module")
def desk(embedded, tmp_path_factory) -> Path:
    """A folder that looks like the repository's root and may be written to, with a user's own files in it."""
    folder = tmp_path_factory.mktemp("desk")
    for name in ("finetune", "export", "precis", "bento", "recipes", "requirements"):
        shutil.copytree(ROOT / name, folder / name)  # BentoML refuses links that lead out of its folder
    shutil.copy(ROOT / "bentofile.yaml", folder)
    for name in ("models", "data"):
        (folder / name).symlink_to(ROOT / name)
    (folder / "artifacts").mkdir()
    shutil.copytree(embedded / "bundle", folder / "artifacts/embedded/bundle")
    import pandas as pd

    rows = [{"article": row["document"], "gist": row["summary"]} for row in gazette("train")[:30]]
    pd.DataFrame(rows).to_csv(folder / "own.csv", index=False)
    (folder / "article.txt").write_text(gazette("validation")[0]["document"])
    return folder


def test_every_marked_block_has_a_known_mark():
    for language, marks, _ in BLOCKS:
        assert set(marks.split()) <= MARKS
        assert language in {"sh", "json", "python"}


@pytest.mark.parametrize("command", COMMANDS)
def test_the_command_works(command, desk, service):
    environment = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "BENTOML_HOME": str(desk / "bentoml"),
    }
    if command.startswith("make "):
        # These are what the gate and the other tests run for real (make test runs this); here, that they are there.
        done = subprocess.run([*command.split(), "--dry-run"], cwd=ROOT, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return
    if command.startswith("python -m finetune"):
        command += " training.max_steps=2"
    command = command.replace("localhost:3000", f"127.0.0.1:{service.port}").replace("curl -s", "curl -s --fail")
    done = subprocess.run(command, shell=True, cwd=desk, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() or "readyz" in command


def test_the_python_example_works(desk):
    code = next(body for language, _, body in BLOCKS if language == "python")
    done = subprocess.run([sys.executable, "-c", code], cwd=desk, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()


def test_the_example_answer_has_the_fields_of_a_real_one(service):
    from tests.bento.test_service import call

    example = json.loads(next(body for language, _, body in BLOCKS if language == "json"))
    answer = json.loads(call(f"{service.url}/summarize", {"text": "The council met on Tuesday."})[2])
    assert example.keys() == answer.keys()


@pytest.mark.slow
def test_the_benchmark_prints_its_tables_and_ends_with_json(tmp_path):
    """The quick one, of greedy search alone. Its speeds are nobody's business here."""
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.engine", "--quick"], cwd=ROOT, capture_output=True, text=True, timeout=600
    )
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout.splitlines()[-1])
    for name in ("Precis int8", "Precis fp32", "CTranslate2 int8", "CTranslate2 fp32", "Optimum fp32", "PyTorch fp32"):
        assert name in done.stdout
        assert set(result["greedy"][name]) == {"1", "8", "32"}
    assert set(result["ratio_to_ctranslate2_int8"]) == {"1", "8", "32"}
    assert all(0 < share < 1 for row in result["outside_onnxruntime"].values() for share in row.values())
