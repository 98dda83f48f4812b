"""What a training can die of (a kill, memory, the disk, a loss that is no number) and what follows: one sentence."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time

import pytest
from transformers import AutoTokenizer

from finetune.__main__ import main
from finetune.training.checkpoints import claim
from tests.conftest import ROOT

STEPS = ["training.max_steps=60", "training.batch_size=3", "training.checkpoint_seconds=0", "training.precision=fp32"]


def command(recipe, output, *overrides) -> list[str]:
    return [sys.executable, "-m", "finetune", str(recipe), f"output={output}", *overrides]


def losses(run) -> list[tuple[int, str, float]]:
    log = json.loads((run / "run.json").read_text())["log"]
    return [(row["step"], key, row[key]) for row in log for key in ("loss", "eval_loss") if key in row]


def test_a_killed_run_goes_on_with_the_same_losses(tiny_recipe, tmp_path):
    settings = [*STEPS, "lora.dropout=0.1", "data.validation_documents=4"]
    threads = {**os.environ, "OMP_NUM_THREADS": "1"}
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    unbroken = subprocess.Popen(command(tiny_recipe, whole, *settings), cwd=ROOT, env=threads)
    process = subprocess.Popen(command(tiny_recipe, broken, *settings), cwd=ROOT, env=threads)
    checkpoints = tmp_path / ".broken.checkpoints"
    end = time.monotonic() + 120
    while not (checkpoints / "checkpoint-30/trainer_state.json").is_file() and time.monotonic() < end:
        assert process.poll() is None, "ended before it could be killed"
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert unbroken.wait(120) == 0
    assert not broken.exists()
    again = subprocess.run(command(tiny_recipe, broken, *settings), cwd=ROOT, env=threads, capture_output=True)
    assert again.returncode == 0, again.stderr
    assert b"Going on from step" in again.stderr
    assert json.loads((broken / "run.json").read_text())["resumed_from_step"] >= 20
    assert losses(broken) == losses(whole)
    first, second = ((run / "merged/model.safetensors").read_bytes() for run in (whole, broken))
    assert first == second
    assert not checkpoints.exists()


def test_only_whole_checkpoints_of_the_same_run_are_gone_on_from(tmp_path):
    folder = tmp_path / ".run.checkpoints"
    assert claim(folder, {"seed": 0}) is None
    for step, state in ((9, "{}"), (10, "{}"), (20, '{"global_step": 2'), (30, None)):
        (folder / f"checkpoint-{step}").mkdir()
        if state is not None:
            (folder / f"checkpoint-{step}/trainer_state.json").write_text(state)
    assert claim(folder, {"seed": 0}) == folder / "checkpoint-10"
    assert sorted(path.name for path in folder.glob("checkpoint-*")) == ["checkpoint-10", "checkpoint-9"]
    assert claim(folder, {"seed": 1}) is None
    assert not list(folder.glob("checkpoint-*"))


def test_a_loss_that_is_no_number_names_the_step_and_the_last_good_checkpoint(
    tiny_recipe, tmp_path, capsys, monkeypatch
):
    from finetune.training.trainer import FineTuner

    compute = FineTuner.compute_loss

    def broken(self, *args, **kwargs):
        loss = compute(self, *args, **kwargs)
        return loss * float("nan") if self.model.training and self.state.global_step == 4 else loss

    monkeypatch.setattr(FineTuner, "compute_loss", broken)
    overrides = ["training.max_steps=9", "training.evaluate_every=3", "data.validation_documents=4"]
    assert main([str(tiny_recipe), f"output={tmp_path / 'run'}", *overrides]) == 1
    sentence = capsys.readouterr().err.splitlines()[-1]
    assert "no longer a number at step 5" in sentence
    named = re.search(r"last good checkpoint is (\S+);", sentence)[1]
    assert named.endswith("checkpoint-3")
    assert os.path.isfile(f"{named}/adapter_model.safetensors")


@pytest.mark.slow
def test_out_of_memory_names_a_batch_that_fits(tiny_recipe, tmp_path):
    """A real allocator that refuses: the process may not map more than two GiB over what it has at the first step."""
    script = """
import resource, sys
from finetune.__main__ import main
from finetune.trainer import FineTuner
step = FineTuner.training_step
def limited(self, *args, **kwargs):
    used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + 2**31, -1))
    return step(self, *args, **kwargs)
FineTuner.training_step = limited
sys.exit(main(sys.argv[1:]))
"""
    rows = [{"document": "one two three four. " * 40, "summary": "Some words."}] * 512
    (tmp_path / "long.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    overrides = [
        f"output={tmp_path / 'run'}",
        f"data.train={tmp_path / 'long.jsonl'}",
        "data.validation_documents=2",
        "data.max_document_tokens=256",
        "training.batch_size=512",
        "training.precision=fp32",
    ]
    done = subprocess.run(
        [sys.executable, "-c", script, str(tiny_recipe), *overrides],
        cwd=ROOT,
        capture_output=True,
        text=True,
        env={**os.environ, "MALLOC_ARENA_MAX": "1"},
    )
    assert done.returncode == 1, done.stderr
    sentence = done.stderr.splitlines()[-1]
    found = re.fullmatch(
        r"training\.batch_size: 512 pairs of \d+ tokens do not fit into memory; (\d+) do, "
        r"with training\.gradient_accumulation=(\d+) for steps of the same size\.",
        sentence,
    )
    assert found, sentence
    assert 1 <= int(found[1]) <= 256
    assert int(found[1]) * int(found[2]) == 512
    assert "Traceback" not in done.stderr


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
def test_a_disk_that_fills_is_one_sentence(tiny_recipe, tmp_path, size):
    place = tmp_path / "disk"
    place.mkdir()
    words = " ".join(command(tiny_recipe, place / "run", "data.validation_documents=2"))
    done = subprocess.run(
        [*MOUNT, f"mount -t tmpfs -o size={size} none {place} && exec {words}"],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1, done.stderr
    assert re.match(r"output: the disk that holds \S+ is full", done.stderr.splitlines()[-1]), done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("kind", ["bert", "swapped"])
def test_a_tokenizer_of_another_model_is_refused(tiny_base, tiny_recipe, tmp_path, capsys, kind):
    shutil.copytree(tiny_base, tmp_path / "model")
    if kind == "bert":
        from transformers import BertTokenizerFast

        for path in (tmp_path / "model").glob("*token*"):
            path.unlink()
        words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "b"]
        (tmp_path / "vocab.txt").write_text("\n".join(words))
        BertTokenizerFast(str(tmp_path / "vocab.txt")).save_pretrained(tmp_path / "model")
    else:
        tokenizer = AutoTokenizer.from_pretrained(tiny_base)
        tokenizer.eos_token = "<pad>"
        tokenizer.save_pretrained(tmp_path / "model")
    assert main([str(tiny_recipe), f"output={tmp_path / 'run'}", f"model.name={tmp_path / 'model'}"]) == 1
    sentence = capsys.readouterr().err.splitlines()[-1]
    assert sentence.startswith("model.name: ")
    assert "tokenizer" in sentence


@pytest.mark.slow
def test_two_processes_train_as_one_with_twice_the_batch(tiny_recipe, tmp_path):
    """By accelerate's launcher, as on two GPUs; where there is none, the processes compute on the CPU."""
    overrides = ["training.max_steps=8", "training.precision=fp32", "training.metric=rouge1"]
    launched = [sys.executable, "-m", "accelerate.commands.launch", "--multi_gpu", "--num_processes", "2"]
    two = [
        *launched,
        "-m",
        "finetune",
        str(tiny_recipe),
        f"output={tmp_path / 'two'}",
        "training.batch_size=2",
        *overrides,
    ]
    one = command(tiny_recipe, tmp_path / "one", "training.batch_size=4", *overrides)
    for words in (two, one):
        done = subprocess.run(
            words, cwd=ROOT, capture_output=True, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"}
        )
        assert done.returncode == 0, done.stderr
    info = {name: json.loads((tmp_path / name / "run.json").read_text()) for name in ("one", "two")}
    assert (info["one"]["processes"], info["two"]["processes"]) == (1, 2)
    # Each process takes the mean over its own half, so that the two differ a little where lengths do.
    for (step, _, alone), (same, _, shared) in zip(losses(tmp_path / "one"), losses(tmp_path / "two"), strict=True):
        assert step == same
        assert shared == pytest.approx(alone, rel=0.02)
    scores = [json.loads((tmp_path / name / "rouge.json").read_text()) for name in ("one", "two")]
    assert scores[0]["base"] == scores[1]["base"]
    assert scores[1]["documents"] == 24
