"""The command `precis`: options in any place, help with examples, one sentence and a status for every error."""

import json
import os
import shutil
import signal
import subprocess
import sys
import threading

import pytest

from precis import GenerationParams
from precis.cli import main
from tests.conftest import ROOT
from tests.support.engines import TEXTS, seal


@pytest.fixture
def article(tmp_path):
    path = tmp_path / "article.txt"
    path.write_text(TEXTS[3])
    return str(path)


@pytest.fixture
def run_folder(bundle, tmp_path):
    """A folder such as `python -m export` leaves, with one bundle in it."""
    shutil.copytree(bundle, tmp_path / "run/bundle")
    return tmp_path / "run"


def run(*arguments: str, **options) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "precis", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, **options)


def test_a_file_and_standard_input_give_the_same_summary(bundle, engine, article):
    expected = engine.generate([TEXTS[3]])[0].text + "\n"
    assert run("summarize", str(bundle), article).stdout == expected
    assert run("summarize", str(bundle), input=TEXTS[3]).stdout == expected
    assert run("summarize", str(bundle), "-", input=TEXTS[3]).stdout == expected


def test_options_may_stand_anywhere_and_a_run_folder_for_its_bundle(bundle, run_folder, engine, article, capsys):
    params = GenerationParams(num_beams=2, max_new_tokens=7, length_penalty=-1.5)
    expected = engine.generate([TEXTS[3]], params)[0].text + "\n"
    beams, others = ["--num-beams", "2"], ["--max-new-tokens=7", "--length-penalty", "-1.5"]
    for arguments in (
        [str(bundle), article, *beams, *others],
        [str(bundle), *beams, article, *others],
        [*beams, str(run_folder), *others, article],
        [*beams, *others, str(run_folder), article],
    ):
        assert main(["summarize", *arguments]) == 0
        assert capsys.readouterr().out == expected


def test_a_byte_order_mark_is_no_part_of_the_text(bundle, tmp_path):
    (tmp_path / "marked.txt").write_text("A short text.", encoding="utf-8-sig")
    assert run("summarize", str(bundle), str(tmp_path / "marked.txt")).stdout == "A short text.\n"
    assert run("summarize", str(bundle), input="\ufeffA short text.").stdout == "A short text.\n"


def test_standard_input_that_is_closed_is_reported(bundle):
    command = f"exec {sys.executable} -m precis summarize {bundle} <&-"
    done = subprocess.run(command, shell=True, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (1, "Standard input is closed.\n")


def test_a_character_that_the_terminal_lacks_is_escaped(bundle, tmp_path):
    (tmp_path / "euro.txt").write_text("Il coûte 5 €.", encoding="utf-8")
    environment = {**os.environ, "PYTHONIOENCODING": "latin-1"}
    done = subprocess.run(
        [sys.executable, "-m", "precis", "summarize", str(bundle), str(tmp_path / "euro.txt")],
        cwd=ROOT, env=environment, capture_output=True, timeout=60,
    )  # fmt: skip
    assert (done.returncode, done.stdout.decode("latin-1")) == (0, "Il coûte 5 \\u20ac.\n")


def test_sentences_are_extracted(bundle, engine, article, capsys):
    expected = engine.generate([TEXTS[3]], GenerationParams(mode="extract", sentences=2))[0]
    assert len(expected.extracted) == 2
    assert main(["summarize", str(bundle), "--mode", "extract", "--sentences", "2", article]) == 0
    assert capsys.readouterr().out == expected.text + "\n"


def test_options_of_bulk_may_stand_anywhere(bundle, run_folder, tmp_path, capsys):
    for name in ("a", "b"):
        (tmp_path / f"{name}.jsonl").write_text(json.dumps({"text": TEXTS[0]}) + "\n")
    a, b, out = (str(tmp_path / f"{name}.jsonl") for name in ("a", "b", "out"))
    options = ["--column", "text", "--max-new-tokens", "3"]
    assert main(["bulk", a, "--bundle", str(run_folder), b, *options, out]) == 0
    assert len((tmp_path / "out.jsonl").read_text().splitlines()) == 2
    assert "Rows: 2 read, 2 written to" in capsys.readouterr().out


def test_a_long_text_is_reported(bundle, tmp_path, capsys):
    (tmp_path / "long.txt").write_text("The bridge was closed. " * 60)
    arguments = ["summarize", str(bundle), str(tmp_path / "long.txt"), "--max-new-tokens", "4"]
    assert main(arguments) == 0
    assert "chunks: the text is longer" in capsys.readouterr().err
    assert main([*arguments, "--long-text", "truncate"]) == 0
    assert "were not read" in capsys.readouterr().err
    assert main([*arguments, "--long-text", "refuse"]) == 1
    assert "the model reads 96" in capsys.readouterr().err


def test_an_error_is_one_sentence_and_status_1(bundle, article, tmp_path, capsys):
    (tmp_path / "latin.txt").write_bytes(b"caf\xe9")
    for arguments, words in [
        ([str(bundle), str(tmp_path / "gone.txt")], "gone.txt cannot be read: No such file"),
        ([str(bundle), str(tmp_path)], "cannot be read: Is a directory"),
        ([str(bundle), str(tmp_path / "latin.txt")], "is not UTF-8 text"),
        ([str(bundle), os.devnull], "empty"),
        ([str(bundle), article, "--threads", "0"], "threads should be from 1 to 1024, not 0"),
        ([str(bundle), article, "--threads", "100000"], "threads should be from 1 to 1024"),
        ([str(bundle), article, "--num-beams", "99"], "num_beams should be a whole number from 1 to 8"),
        ([str(tmp_path / "nowhere"), article], "There is no bundle folder"),
        ([str(tmp_path), article], "There is no bundle folder"),
    ]:
        assert main(["summarize", *arguments]) == 1
        error = capsys.readouterr().err
        assert words in error
        assert error.count("\n") == 1


@pytest.mark.parametrize(
    "arguments", [[], ["summary"], ["summarize"], ["bulk", "a.csv", "b.csv"], ["summarize", "b", "--num-beams", "two"]]
)
def test_wrong_usage_is_status_2(arguments, capsys):
    with pytest.raises(SystemExit) as exit_info:
        main(arguments)
    assert exit_info.value.code == 2
    assert "usage: precis" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["summarize", "bulk", "verify"])
def test_help_has_a_description_and_examples(command, capsys):
    with pytest.raises(SystemExit) as exit_info:
        main([command, "--help"])
    output = capsys.readouterr().out
    assert exit_info.value.code == 0
    assert output.split("\n\nexamples:\n")[1].count(f"precis {command} ") >= 2
    if command != "verify":
        assert "From 1 to 8" in output


def test_help_and_errors_load_no_heavy_packages():
    code = (
        "import sys; from precis.cli import main\n"
        "try: main(['bulk', '--help'])\n"
        "except SystemExit: print(sorted({'numpy', 'onnxruntime', 'tokenizers', 'rich', 'pyarrow'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.stdout.endswith("\n[]\n")


def test_control_c_is_status_130(bundle):
    default = lambda: signal.signal(signal.SIGINT, signal.SIG_DFL)  # noqa: E731
    command = [sys.executable, "-m", "precis", "summarize", str(bundle)]
    process = subprocess.Popen(
        command, cwd=ROOT, stdin=subprocess.PIPE, stderr=subprocess.PIPE, text=True, preexec_fn=default
    )
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(3)  # it waits for its standard input
    process.send_signal(signal.SIGINT)
    assert process.wait(20) == 130
    assert process.stderr.read() == "Interrupted.\n"


def test_an_error_leaves_no_engine_running(bundle, capsys):
    before = set(threading.enumerate())
    assert main(["summarize", str(bundle), os.devnull]) == 1
    assert capsys.readouterr().err == "The text is empty.\n"
    assert not [thread for thread in set(threading.enumerate()) - before if thread.name == "precis-scheduler"]


def test_verify_prints_files_and_origin(tiny_run, capsys):
    assert main(["verify", str(tiny_run)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].endswith("files have the manifest's SHA-256, and there are no others")
    assert "no public key was given" in lines[1]
    assert ", fp32, made 20" in lines[2]
    assert lines[3] == "parity passed on 64 documents"


def test_verify_refuses_a_changed_bundle_and_a_missing_signature(run_folder, tmp_path, capsys):
    seal(run_folder / "bundle")
    assert main(["verify", str(run_folder)]) == 0
    assert "no parity was measured" in capsys.readouterr().out
    assert main(["verify", str(run_folder), "--key", str(tmp_path / "none.pem")]) == 1
    assert "none.pem cannot be read: No such file" in capsys.readouterr().err
    with (run_folder / "bundle/config.json").open("a") as file:
        file.write(" ")
    assert main(["verify", str(run_folder)]) == 1
    assert "config.json is not the file the manifest describes" in capsys.readouterr().err


@pytest.mark.parametrize(("module", "extra"), [("onnxruntime", "cpu"), ("fsspec", "bulk")])
def test_a_missing_package_names_the_extra_that_brings_it(module, extra, tiny_run, tmp_path):
    (tmp_path / "in.jsonl").write_text('{"document": "a"}\n')
    code = f"import sys; sys.modules[{module!r}] = None; from precis.cli import main; sys.exit(main())"
    files = [str(tmp_path / "in.jsonl"), str(tmp_path / "out.jsonl")]
    command = [sys.executable, "-c", code, "bulk", *files, "--bundle", str(tiny_run)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    assert done.stderr == f"The package {module} is not installed: install the extra `{extra}`.\n"
