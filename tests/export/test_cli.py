"""The command line of the export."""

import fcntl
from pathlib import Path

import pytest

from export.__main__ import _parse_export, main
from export.options import Options


@pytest.mark.parametrize(
    "arguments",
    [
        ["RUN", "--precision", "fp32", "int8", "--base"],
        ["--precision", "fp32", "int8", "--base", "RUN"],
        ["--base", "--precision", "fp32", "int8", "RUN"],
        ["--base", "RUN", "--precision", "fp32", "int8"],
    ],
)
def test_options_may_stand_before_or_after_the_run(arguments):
    assert _parse_export(arguments) == (Path("RUN"), Options(precisions=["fp32", "int8"], base=True))


def test_all_options_are_passed_on():
    arguments = ["RUN", "--device", "cuda", "--allow-cpu-fallback", "--accept-worse"]
    run, options = _parse_export(arguments)
    assert run == Path("RUN")
    assert options == Options([], "cuda", allow_cpu_fallback=True, accept_worse=True)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "name the folder of a run"),
        (["--precision", "int8"], "name the folder of a run"),
        (["RUN", "--precision", "int9"], "'int9' is not one of fp32, int8, fp16"),
        (["RUN", "--device", "tpu"], "invalid choice: 'tpu'"),
        (["RUN", "--precison", "int8"], "unrecognized arguments"),
    ],
)
def test_bad_arguments_exit_with_status_2_and_a_message(arguments, message, capsys):
    with pytest.raises(SystemExit, match="2"):
        main(arguments)
    assert message in capsys.readouterr().err.splitlines()[-1]


def test_missing_run_folder_is_one_sentence(tmp_path, capsys):
    assert main(["--precision", "fp32", str(tmp_path / "run")]) == 1
    assert capsys.readouterr().err == f"There is no run folder {tmp_path / 'run'}.\n"


@pytest.mark.parametrize("arguments", [["--help"], ["sign", "--help"]])
def test_help_shows_examples(arguments, capsys):
    with pytest.raises(SystemExit, match="0"):
        main(arguments)
    assert "python -m export" in capsys.readouterr().out.partition("example")[2]


def test_second_export_of_a_run_is_refused(tmp_path, capsys):
    with (tmp_path / ".export.lock").open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        assert main([str(tmp_path)]) == 1
    assert capsys.readouterr().err == f"Another export of {tmp_path} is running; wait for it.\n"


def test_interrupted_export_ends_with_one_sentence(tiny_run, capsys, monkeypatch):
    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("export.pipeline.make_bundles", interrupt)
    assert main([str(tiny_run)]) == 130
    assert capsys.readouterr().err.strip() == "Stopped; earlier bundles are kept."
