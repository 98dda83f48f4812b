"""Folders are replaced atomically."""

import json
import signal
import subprocess
import sys
import time

import pytest

from finetune.errors import UserError
from finetune.files import locked, replaced_folder, write_json
from tests.conftest import ROOT


def test_folder_appears_when_everything_is_written(tmp_path):
    place = tmp_path / "bundle"
    with replaced_folder(place) as folder:
        (folder / "a").write_text("1")
        assert not place.exists()
    with replaced_folder(place) as folder:
        (folder / "b").write_text("2")
        assert (place / "a").exists()
    assert [path.name for path in place.iterdir()] == ["b"]
    assert [path.name for path in tmp_path.iterdir()] == ["bundle"]


def test_a_failure_leaves_the_old_folder_and_nothing_else(tmp_path):
    place = tmp_path / "bundle"
    with replaced_folder(place) as folder:
        (folder / "a").write_text("1")

    def fail_half_way():
        with replaced_folder(place) as folder:
            (folder / "b").write_text("2")
            raise RuntimeError("half way")

    with pytest.raises(RuntimeError, match="half way"):
        fail_half_way()
    assert [path.name for path in place.iterdir()] == ["a"]
    assert [path.name for path in tmp_path.iterdir()] == ["bundle"]


def test_a_kill_leaves_the_old_folder_and_the_next_run_cleans_up(tmp_path):
    place = tmp_path / "bundle"
    with replaced_folder(place) as folder:
        (folder / "a").write_text("1")
    code = (
        "import sys, time, pathlib; from finetune.files import replaced_folder\n"
        f"with replaced_folder(pathlib.Path({str(place)!r})) as folder:\n"
        "    (folder / 'b').write_text('half'); print('in', flush=True); time.sleep(60)\n"
    )
    process = subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.PIPE)
    assert process.stdout.readline() == b"in\n"
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert [path.name for path in place.iterdir()] == ["a"]
    with replaced_folder(place) as folder:
        (folder / "c").write_text("3")
    assert [path.name for path in place.iterdir()] == ["c"]
    assert [path.name for path in tmp_path.iterdir()] == ["bundle"]


def test_readers_always_see_the_old_or_the_new_folder(tmp_path):
    place = tmp_path / "bundle"
    with replaced_folder(place) as folder:
        (folder / "value").write_text("x")
    code = (
        "import sys, pathlib; place = pathlib.Path(sys.argv[1]); print('in', flush=True)\n"
        "while not (place.parent / 'stop').exists(): (place / 'value').read_text()\n"
    )
    reader = subprocess.Popen([sys.executable, "-c", code, str(place)], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert reader.stdout.readline() == b"in\n"
    end = time.monotonic() + 1
    while time.monotonic() < end:
        with replaced_folder(place) as folder:
            (folder / "value").write_text("x")
    (tmp_path / "stop").touch()
    _, errors = reader.communicate()
    assert b"bundle/value" not in errors


def test_folder_behind_a_link_is_replaced_and_the_link_stays(tmp_path):
    place, link = tmp_path / "disk/bundle", tmp_path / "bundle"
    place.mkdir(parents=True)
    link.symlink_to(place)
    for name in ("a", "b"):
        with replaced_folder(link) as folder:
            (folder / name).write_text("1")
        assert [path.name for path in place.iterdir()] == [name]
        assert link.readlink() == place
    assert [path.name for path in tmp_path.rglob("*") if path.name.startswith(".")] == []


def test_lock_is_refused_to_others_and_ends_with_a_killed_process(tmp_path):
    path = tmp_path / "run.lock"
    code = (
        "import time, pathlib; from finetune.files import locked\n"
        f"with locked(pathlib.Path({str(path)!r}), ''):\n    print('in', flush=True); time.sleep(60)\n"
    )
    holder = subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.PIPE)
    assert holder.stdout.readline() == b"in\n"
    with pytest.raises(UserError, match="busy"), locked(path, "busy"):
        pass
    assert path.exists()
    holder.kill()
    holder.wait()
    with locked(path, "busy"):
        pass
    assert not path.exists()


def test_nan_is_refused_in_json(tmp_path):
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(tmp_path / "x.json", {"a": float("nan")})
    write_json(tmp_path / "x.json", {"a": "é"})
    assert json.loads((tmp_path / "x.json").read_text()) == {"a": "é"}
