"""The wheel holds the runtime library alone, and works from any folder once installed. Needs no network."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.support.engines import TEXTS

pytest.importorskip("build", reason="the package build is not installed: it is in the extra `test`")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder), str(ROOT)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=110)
    assert done.returncode == 0, done.stdout + done.stderr
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory) -> Path:
    target = tmp_path_factory.mktemp("installed")
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-index", "--no-deps", "--no-compile"]
    subprocess.run([*pip, "--target", str(target), str(wheel)], check=True, timeout=110)
    return target


def run(installed: Path, folder: Path, *command: str) -> str:
    """What the installed package prints, started in `folder`; its own source folder is not on the path."""
    environment = {**os.environ, "PYTHONPATH": str(installed)}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_wheel_holds_the_library_and_nothing_else(wheel):
    names = set(zipfile.ZipFile(wheel).namelist())
    modules = {f"precis/{path.relative_to(ROOT / 'precis')}" for path in (ROOT / "precis").rglob("*.py")}
    assert {name for name in names if ".dist-info/" not in name} == modules | {"precis/py.typed"}
    (metadata,) = (name for name in names if name.endswith("METADATA"))
    text = zipfile.ZipFile(wheel).read(metadata).decode()
    assert "Name: precis\n" in text
    assert "torch" not in [line.split(">")[0] for line in text.splitlines() if line.startswith("Requires-Dist:")]


def test_the_installed_library_imports_from_any_folder(installed, tmp_path):
    code = "import precis; from precis import Engine; print(precis.__file__, Engine.__name__)"
    assert run(installed, tmp_path, sys.executable, "-c", code) == f"{installed}/precis/__init__.py Engine\n"


def test_the_installed_command_summarizes_from_any_folder(installed, bundle, engine, tmp_path):
    (tmp_path / "article.txt").write_text(TEXTS[3])
    assert "summarize" in run(installed, tmp_path, sys.executable, "-m", "precis", "--help")
    expected = engine.generate([TEXTS[3]])[0].text + "\n"
    for command in ([str(installed / "bin/precis")], [sys.executable, "-m", "precis"]):
        assert run(installed, tmp_path, *command, "summarize", str(bundle), "article.txt") == expected
