"""Every command in the README and in the pages under docs/ is run here, or its block says what else it needs."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import httpx
import pytest

from tests.conftest import ROOT, gazette

# In this order: training.md signs and stores what the README's commands made.
PAGES = (
    "README.md", "docs/training.md", "docs/api.md", "docs/bulk.md", "docs/trust.md", "docs/deploy.md",
    "docs/development.md", "CONTRIBUTING.md",
)  # fmt: skip
MARKS = {"hub", "gpu", "container", "cluster", "files"}  # files: those that a reader brings


class Block(NamedTuple):
    """A fenced block: its language, the marks after it, and what it holds."""

    language: str
    marks: set[str]
    body: str


def blocks(page: str) -> list[Block]:
    """The fenced blocks of a page."""
    text = (ROOT / page).read_text(encoding="utf-8")
    matches = re.findall(r"^```(\w+)([^\n]*)\n(.*?)^```", text, re.S | re.M)
    return [Block(language, set(marks.split()), body) for language, marks, body in matches]


def commands(block: Block) -> list[str]:
    """The commands of a shell block; a backslash at the end of a line continues it."""
    lines = block.body.replace("\\\n", " ").splitlines()
    return [re.sub(r" {2,}", " ", line.split("  #")[0]).strip() for line in lines]


COMMANDS = dict.fromkeys(
    command
    for page in PAGES
    for block in blocks(page)
    if block.language == "sh" and not block.marks
    for command in commands(block)
)


@pytest.fixture(scope="module")
def checkout(embedded, tmp_path_factory) -> Path:
    """A folder that looks like the repository's root and may be written to."""
    folder = tmp_path_factory.mktemp("checkout")
    for name in ("finetune", "export", "precis", "bento", "recipes", "requirements", "examples"):
        shutil.copytree(ROOT / name, folder / name)  # BentoML refuses links that lead out of its folder
    shutil.copy(ROOT / "bentofile.yaml", folder)
    for name in ("models", "data"):
        (folder / name).symlink_to(ROOT / name)
    for name in (".venv", ".venv-serve"):
        (folder / name).symlink_to(ROOT / name)
    (folder / "artifacts").mkdir()
    shutil.copytree(embedded / "bundle", folder / "artifacts/embedded/bundle")
    return folder


def test_every_page_with_commands_is_listed():
    pages = [str(path.relative_to(ROOT)) for path in (ROOT / "docs").glob("*.md")]
    assert {page for page in pages if any(block.language == "sh" for block in blocks(page))} <= {*PAGES}


@pytest.mark.parametrize("page", PAGES)
def test_every_block_has_a_known_language_and_known_marks(page):
    for block in blocks(page):
        assert block.marks <= MARKS
        assert block.language in {"sh", "json", "jsonl", "python", "text", "yaml"}


@pytest.mark.parametrize("command", COMMANDS, ids=[command[:80] for command in COMMANDS])
def test_command_works(command, checkout, service):
    environment = {
        **os.environ,
        "PATH": f"{checkout / '.venv/bin'}:{os.environ['PATH']}",  # as the environment's activate sets it
        "BENTOML_HOME": str(checkout / "bentoml"),
    }
    if command.startswith("make "):
        # The gate and other tests run these for real, and make test runs this test; here, that the targets exist.
        result = subprocess.run([*command.split(), "--dry-run"], cwd=ROOT, capture_output=True, text=True)
        assert result.returncode == 0, result.stderr
        return
    if command.startswith("python -m finetune"):
        command += " training.max_steps=2"
    command = command.replace("localhost:3000", f"127.0.0.1:{service.port}").replace("curl -s", "curl -s --fail")
    result = subprocess.run(
        command, shell=True, cwd=checkout, env=environment, capture_output=True, text=True, timeout=300
    )
    assert result.returncode == 0, result.stderr
    assert result.stdout.strip() or "readyz" in command


def test_python_example_works(checkout):
    code = next(block.body for block in blocks("README.md") if block.language == "python")
    result = subprocess.run([sys.executable, "-c", code], cwd=checkout, capture_output=True, text=True, timeout=120)
    assert result.returncode == 0, result.stderr
    assert result.stdout.strip()


def test_example_answer_has_the_fields_of_a_real_one(service):
    example = json.loads(next(block.body for block in blocks("README.md") if block.language == "json"))
    request = json.loads((ROOT / "examples/request.json").read_text())
    answer = httpx.post(f"{service.url}/summarize", json=request, timeout=60).json()
    assert example.keys() - {"trust"} == answer.keys() - {"trust"}, "the certificate is that of another precision"
    assert example["evidence"].keys() == answer["evidence"].keys()
    assert [example[key] for key in ("summary", "input_tokens")] == [answer[key] for key in ("summary", "input_tokens")]


def test_sample_pairs_are_rows_of_gazette():
    import csv

    with (ROOT / "examples/pairs.csv").open(encoding="utf-8", newline="") as file:
        pairs = [(row["article"], row["summary"]) for row in csv.DictReader(file)]
    assert len(pairs) == 40
    assert set(pairs) <= {(row["document"], row["summary"]) for row in gazette("train")}


@pytest.mark.slow
def test_benchmark_prints_its_tables_and_ends_with_json(tmp_path):
    """The quick run, of greedy search alone. The test is about the output, not the speeds."""
    result = subprocess.run(
        [".venv/bin/python", "-m", "benchmarks.engine", "--quick"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert result.returncode == 0, result.stderr
    figures = json.loads(result.stdout.splitlines()[-1])
    for name in ("Precis int8", "Precis fp32", "CTranslate2 int8", "CTranslate2 fp32", "Optimum fp32", "PyTorch fp32"):
        assert name in result.stdout
        assert set(figures["greedy"][name]) == {"1", "8", "32"}
    assert set(figures["ratio_to_ctranslate2_int8"]) == {"1", "8", "32"}
    assert all(0 < share < 1 for row in figures["outside_onnxruntime"].values() for share in row.values())
