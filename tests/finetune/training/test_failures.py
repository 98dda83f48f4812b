"""A full disk is reported in one sentence."""

import re
import shutil
import subprocess

import pytest

from tests.conftest import ROOT
from tests.support.finetuning import finetune_command

MOUNT = ["unshare", "--map-root-user", "--mount", "sh", "-c"]


MAY_MOUNT = (
    shutil.which("unshare")
    and subprocess.run([*MOUNT, "mount -t tmpfs none /mnt"], capture_output=True).returncode == 0
)


@pytest.mark.skipif(not MAY_MOUNT, reason="this user may not mount a small disk")
@pytest.mark.slow
@pytest.mark.parametrize(
    "size",
    [pytest.param("64k", id="a checkpoint"), pytest.param("300k", id="the merged model")],
)
def test_full_disk_is_reported_in_one_sentence(tiny_recipe, tmp_path, size):
    place = tmp_path / "disk"
    place.mkdir()
    words = " ".join(finetune_command(tiny_recipe, place / "run", "data.validation_documents=2"))
    done = subprocess.run(
        [*MOUNT, f"mount -t tmpfs -o size={size} none {place} && exec {words}"],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1, done.stderr
    assert re.match(r"output: the disk that holds \S+ is full", done.stderr.splitlines()[-1]), done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.skipif(not MAY_MOUNT, reason="this user may not mount a small disk")
@pytest.mark.slow  # a process that imports everything
def test_full_disk_of_the_cache_is_named_before_the_base_is_scored(tiny_recipe, tmp_path):
    cache = tmp_path / "cache"
    cache.mkdir()
    words = " ".join(finetune_command(tiny_recipe, tmp_path / "run"))
    done = subprocess.run(
        [*MOUNT, f"mount -t tmpfs -o size=8k none {cache} && HF_DATASETS_CACHE={cache} exec {words}"],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1, done.stderr
    assert str(cache) in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr
    assert "summaries of the base" not in done.stderr
