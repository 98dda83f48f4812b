"""Shared by the tests of the engine: texts, generation settings, a sealed bundle, transformers' summary, held steps."""

import contextlib
import json
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from precis import Engine, GenerationParams
from precis.bundle.manifest import FORMAT, sha256
from tests.conftest import gazette

LIMIT = 96  # tokens that the models of the tests read
TEXTS = [row["document"][: 200 + 24 * i] for i, row in enumerate(gazette("validation")[:12])]
ODD = "🙂👩‍👩‍👧 Łódź 日本語 Nguyễn ✓ "  # characters that the tokenizer splits into bytes or does not know

GREEDY_SETTINGS = [
    {"max_new_tokens": 20},
    {"max_new_tokens": 24, "no_repeat_ngram_size": 2},
    {"max_new_tokens": 16, "repetition_penalty": 1.5, "min_new_tokens": 9},
]
BEAM_SETTINGS = [
    {"max_new_tokens": 16, "num_beams": 4, "no_repeat_ngram_size": 3},
    {"max_new_tokens": 12, "num_beams": 3, "early_stopping": True, "length_penalty": 2.0},
    {"max_new_tokens": 12, "num_beams": 2, "early_stopping": "never", "length_penalty": -1.0, "min_new_tokens": 4},
    {"max_new_tokens": 14, "num_beams": 5, "repetition_penalty": 0.8},
]
SETTINGS = GREEDY_SETTINGS + BEAM_SETTINGS


def settings_id(settings: dict) -> str:
    """The name of a parametrized test with these generation settings."""
    return "-".join(f"{value}" for value in settings.values())


def seal(folder: Path, **manifest) -> None:
    """Writes a manifest for the files in `folder`."""
    files = {path.name: sha256(path) for path in folder.iterdir() if path.name != "manifest.json"}
    content = {"format": FORMAT, "prefix": "summarize: ", "max_input_tokens": LIMIT, "files": files, **manifest}
    (folder / "manifest.json").write_text(json.dumps(content))


def reference(model, tokenizer, text: str, settings: dict) -> tuple[list[int], str]:
    """transformers' summary of one text alone: tokens without padding and end tokens, and text."""
    inputs = tokenizer("summarize: " + text, truncation=True, max_length=LIMIT, return_tensors="pt")
    tokens = model.generate(**inputs, **settings)[0].tolist()
    return [t for t in tokens if t not in (0, 1)], tokenizer.decode(tokens, skip_special_tokens=True)


def assert_batch_equals_transformers(model, tokenizer, engine, settings: dict) -> None:
    """The engine's summaries of texts in one batch are those that transformers gives of each text alone."""
    texts = [*TEXTS, ODD * 4]
    summaries = engine.generate(texts, GenerationParams(**settings, long_text="truncate", passthrough=False))
    for text, summary in zip(texts, summaries, strict=True):
        assert (summary.token_ids, summary.text) == reference(model, tokenizer, text, settings)
        assert summary.output_tokens == len(summary.token_ids)


def reference_scores(model, tokenizer, text: str, settings: dict) -> list[float]:
    """transformers' log-probability of each token of its summary of one text alone, end token included.

    They are normalized after the logits processors in greedy search and before them in beam search, as the examples of
    `compute_transition_scores` do it.
    """
    inputs = tokenizer("summarize: " + text, truncation=True, max_length=LIMIT, return_tensors="pt")
    output = model.generate(**inputs, **settings, output_scores=True, return_dict_in_generate=True)
    beams = {"beam_indices": output.beam_indices} if "beam_indices" in output else {"normalize_logits": True}
    scores = model.compute_transition_scores(output.sequences, output.scores, **beams)[0].tolist()
    tokens = output.sequences[0, 1:].tolist()
    return scores[: tokens.index(1) + 1 if 1 in tokens else len(tokens)]


def wait_until(condition: Callable[[], bool]) -> None:
    """Waits until `condition` is true; fails the test after a minute or more."""
    for _ in range(6000):
        if condition():
            return
        time.sleep(0.01)
    pytest.fail("The condition did not become true.")


@contextlib.contextmanager
def held_steps(engine: Engine) -> Iterator[Callable[[int], None]]:
    """The engine runs no decode step until the block ends, but those that are asked for by calling what it yields.

    So a test sees a state that lasts, however slow the machine is.
    """
    batch = engine._scheduler.batch
    step, waits, permits, ended = batch.step, threading.Event(), threading.Semaphore(0), threading.Event()

    def held_step():
        if not ended.is_set():
            waits.set()
            permits.acquire(timeout=120)
        return step()

    def run(steps: int) -> None:
        """Runs so many steps, and admits what may join before the next one."""
        for _ in range(steps):
            assert waits.wait(60)
            waits.clear()
            permits.release()
        assert waits.wait(60)

    batch.step = held_step
    try:
        yield run
    finally:
        ended.set()
        permits.release()
