"""The default number of threads: physical cores, and the container's CPU quota of both cgroup versions."""

import os

import pytest

from precis.runtime import threads


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({}, 4),
        ({"cpu.max": "max 100000\n"}, 4),
        ({"cpu.max": "150000 100000\n"}, 2),
        ({"cpu.max": "50000 100000\n"}, 1),
        ({"cpu.max": "900000 100000\n"}, 4),
        ({"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, 4),
        ({"cpu/cpu.cfs_quota_us": "250000\n", "cpu/cpu.cfs_period_us": "100000\n"}, 3),
        ({"cpu/cpu.cfs_quota_us": "20000\n", "cpu/cpu.cfs_period_us": "100000\n"}, 1),
        ({"cpu/cpu.cfs_quota_us": "200000\n"}, 4),
    ],
)
def test_threads_are_limited_by_the_cpu_quota(tmp_path, monkeypatch, files, expected):
    for name, content in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(content)
    monkeypatch.setattr(threads, "CGROUP_FOLDER", tmp_path)
    monkeypatch.setattr(threads, "CORE_SIBLINGS", str(tmp_path / "no-topology-{}"))
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1, 2, 3})
    assert threads.default_threads() == expected


def test_two_hardware_threads_of_one_core_count_once(tmp_path, monkeypatch):
    for number, siblings in enumerate(["0,2", "1,3", "0,2", "1,3"]):
        (tmp_path / f"siblings-{number}").write_text(siblings)
    monkeypatch.setattr(threads, "CGROUP_FOLDER", tmp_path)
    monkeypatch.setattr(threads, "CORE_SIBLINGS", str(tmp_path / "siblings-{}"))
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1, 2, 3})
    assert threads.default_threads() == 2


def test_all_processors_count_where_there_is_no_affinity_as_on_macos(tmp_path, monkeypatch):
    monkeypatch.setattr(threads, "CGROUP_FOLDER", tmp_path)
    monkeypatch.delattr(os, "sched_getaffinity")
    monkeypatch.setattr(os, "cpu_count", lambda: 8)
    assert threads.default_threads() == 8
