"""Uploaded files: owned by one session, bounded in sum, and deleted when they should be."""

import io
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from bento.page import limits, uploads
from bento.page.uploads import NotUploaded, UploadStore, safe_name
from bento.page.visitors import BudgetExceeded


@pytest.fixture
def store(tmp_path):
    opened = UploadStore(tmp_path)
    yield opened
    opened.close()


def upload(store, content=b"The ferry is late.", name="a.txt", visitor="visitor"):
    path = store.save(name, io.BytesIO(content))
    store.add(path, visitor)
    return path


def files_in(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file() and path.name != uploads.LOCK]


def test_only_the_first_session_that_uses_a_file_may_read_it(store):
    path = upload(store)
    assert store.claim(str(path), "mine").read_bytes() == b"The ferry is late."
    assert store.claim(str(path), "mine") == path
    with pytest.raises(NotUploaded):
        store.claim(str(path), "theirs")


def test_no_other_path_counts_as_uploaded(store):
    path = upload(store)
    for other in (
        "http://127.0.0.1/", "/etc/passwd", f"file://{path}", str(path.parent),
        f"{path.parent}/../{path.parent.name}/a.txt", str(store.folder / uploads.LOCK), "", None, 1, ["a"],
        {"path": str(path)},
    ):  # fmt: skip
        with pytest.raises(NotUploaded):
            store.claim(other, "mine")


def test_same_file_of_two_visitors_is_two_files(store):
    first, second = upload(store), upload(store, visitor="other")
    assert first != second
    store.delete(first)
    assert second.read_bytes() == b"The ferry is late."


def test_visitor_may_hold_half_of_the_sum(store, monkeypatch):
    monkeypatch.setattr(uploads, "FILE_OVERHEAD_BYTES", 0)
    store.budget.total, store.budget.share = 1000, 500
    first = upload(store, bytes(400))
    with pytest.raises(BudgetExceeded):
        upload(store, bytes(101))
    upload(store, bytes(500), visitor="other")
    assert len(files_in(store.folder)) == 2
    store.delete(first)
    upload(store, bytes(500))
    assert store.budget.held == 1000


def test_empty_files_are_bounded_too(store):
    store.budget.total, store.budget.share = 200_000, 100_000
    for _ in range(100_000 // uploads.FILE_OVERHEAD_BYTES):
        upload(store, b"")
    with pytest.raises(BudgetExceeded):
        upload(store, b"")


def test_files_are_deleted_with_their_session_and_by_age(store, monkeypatch):
    mine, unused, later = upload(store), upload(store), upload(store)
    store.claim(str(mine), "mine")
    store.claim(str(later), "later")
    store.delete_session("mine")
    assert files_in(store.folder) == [] or not mine.exists()
    assert unused.exists()
    now = time.monotonic()
    monkeypatch.setattr(uploads.time, "monotonic", lambda: now + limits.UNUSED_UPLOAD_SECONDS + 1)
    store.delete_old()
    assert (unused.exists(), later.exists()) == (False, True)
    monkeypatch.setattr(uploads.time, "monotonic", lambda: now + limits.UPLOAD_LIFETIME_SECONDS + 1)
    store.delete_old()
    assert files_in(store.folder) == []
    assert store.budget.held == 0


def test_stop_deletes_all_files(tmp_path):
    store = UploadStore(tmp_path)
    upload(store)
    store.close()
    assert list(tmp_path.iterdir()) == []


def test_start_deletes_what_a_killed_process_left_and_nothing_else(tmp_path):
    code = (
        "import io, os, pathlib, sys; from bento.page.uploads import UploadStore;"
        "store = UploadStore(pathlib.Path(sys.argv[1])); store.save('left.txt', io.BytesIO(b'secret')); os._exit(9)"
    )
    assert subprocess.run([sys.executable, "-c", code, str(tmp_path)], cwd=os.getcwd()).returncode == 9
    assert [path.name for path in files_in(tmp_path)] == ["left.txt"]
    (tmp_path / "others").write_text("not ours")
    running = UploadStore(tmp_path)
    own_file = upload(running)
    another = UploadStore(tmp_path)
    assert sorted(path.name for path in files_in(tmp_path)) == ["a.txt", "others"]
    assert own_file.exists(), "a process that runs keeps its files"
    running.close()
    another.close()


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("report.pdf", "report.pdf"),
        ("C:\\texts\\report.pdf", "report.pdf"),
        ("../../etc/passwd", "passwd"),
        ("a\nb\0.txt", "a_b_.txt"),
        ("..", "file"),
        ("", "file"),
        (".htaccess", "htaccess"),
        ("grüße 🦖.docx", "grüße 🦖.docx"),
    ],
)
def test_name_keeps_what_is_safe(name, expected):
    assert safe_name(name) == expected


def test_long_name_is_cut_before_its_suffix(store):
    path = upload(store, name="🦖" * 300 + ".docx")
    assert path.suffix == ".docx"
    assert len(path.name.encode()) <= uploads.MAX_NAME_BYTES
