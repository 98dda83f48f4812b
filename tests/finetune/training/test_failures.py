"""A full disk is reported in one sentence."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.support.finetuning import finetune_command

MOUNT = ["unshare", "--map-root-user", "--mount", "sh", "-c"]


MAY_MOUNT = (
    shutil.which("unshare")
    and subprocess.run([*MOUNT, "mount -t tmpfs none /mnt"], capture_output=True).returncode == 0
)


def errors_on_small_disk(place: Path, size: str, command: list[str]) -> list[str]:
    """The lines on standard error of a command that fails, with a disk of this size mounted at `place`."""
    place.mkdir()
    script = f"mount -t tmpfs -o size={size} none {place} && exec {' '.join(command)}"
    done = subprocess.run([*MOUNT, script], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 1, done.stderr
    assert "Traceback" not in done.stderr
    return done.stderr.splitlines()


@pytest.mark.skipif(not MAY_MOUNT, reason="this user may not mount a small disk")
@pytest.mark.slow
@pytest.mark.parametrize(
    "size",
    [pytest.param("64k", id="a checkpoint"), pytest.param("300k", id="the merged model")],
)
def test_full_disk_is_reported_in_one_sentence(tiny_recipe, tmp_path, size):
    place = tmp_path / "disk"
    command = finetune_command(tiny_recipe, place / "run", "data.validation_documents=2")
    errors = errors_on_small_disk(place, size, command)
    assert re.match(r"output: the disk that holds \S+ is full", errors[-1]), errors


@pytest.mark.skipif(not MAY_MOUNT, reason="this user may not mount a small disk")
@pytest.mark.slow  # a process that imports everything
def test_full_disk_of_the_cache_is_named_before_the_base_is_scored(tiny_recipe, tmp_path):
    cache = tmp_path / "cache"
    command = ["env", f"HF_DATASETS_CACHE={cache}", *finetune_command(tiny_recipe, tmp_path / "run")]
    errors = errors_on_small_disk(cache, "8k", command)
    assert str(cache) in errors[-1]
    assert "summaries of the base" not in "".join(errors)
