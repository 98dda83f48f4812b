"""The running batch: results do not depend on other sequences, drafts change nothing, gaps are filled and closed."""

import hypothesis
import pytest
from hypothesis import strategies as st

from precis import GenerationParams
from precis.bundle.verify import open_bundle
from precis.params import resolve
from precis.runtime.model import Seq2SeqModel
from precis.scheduling.running_batch import RunningBatch
from precis.scheduling.sequence import Sequence
from precis.text.tokenizer import TextTokenizer
from tests.support.engines import LIMIT, SETTINGS, TEXTS

NEVER = 10**6  # steps
# The step of its arrival, indices of its text and settings, and after how many steps it is cancelled, if at all.
ARRIVAL = st.tuples(
    st.integers(0, 25), st.integers(0, len(TEXTS) - 1), st.integers(0, len(SETTINGS) - 1), st.none() | st.integers(1, 9)
)


def load(bundle) -> tuple[RunningBatch, TextTokenizer, dict]:
    """A batch of eight rows, the tokenizer and generation_config.json of `bundle`."""
    opened = open_bundle(bundle)
    batch = RunningBatch(Seq2SeqModel(opened, "cpu", 1), 8, LIMIT)
    return batch, TextTokenizer.load(opened), opened.generation_config


def new_sequence(tokenizer, config, text: int, settings: int, is_cancelled=lambda: False) -> Sequence:
    input_ids = tokenizer.truncate(tokenizer.encode(TEXTS[text]))
    return Sequence(input_ids, resolve(GenerationParams(**SETTINGS[settings]), config), is_cancelled)


def run_alone(batch: RunningBatch, sequence: Sequence) -> list[int]:
    batch.admit([sequence])
    while batch.sequences:
        batch.step()
    return sequence.token_ids


@pytest.fixture(scope="module", params=["bundle", "int8_bundle", "static_bundle"])
def loaded(request):
    """A batch with its tokenizer and config, and the tokens of each sequence alone, once they are known."""
    return *load(request.getfixturevalue(request.param)), {}


@hypothesis.settings(max_examples=25, deadline=None)
@hypothesis.given(arrivals=st.lists(ARRIVAL, min_size=2, max_size=9))
def test_result_does_not_depend_on_other_sequences_or_the_step_of_joining(loaded, arrivals):
    batch, tokenizer, config, tokens_alone = loaded
    step, cancel_at = 0, {}
    sequences = []
    for arrival, text, settings, lifetime in sorted(arrivals, key=lambda arrival: arrival[0]):
        sequence = new_sequence(tokenizer, config, text, settings)
        sequence.is_cancelled = lambda sequence=sequence: step >= cancel_at.get(sequence, NEVER)
        sequences.append((arrival, text, settings, lifetime, sequence))
    waiting = list(sequences)
    while waiting or batch.sequences:
        admitted, free_rows = [], batch.kv_cache.free_rows
        while waiting and waiting[0][0] <= step and waiting[0][4].rows <= free_rows:
            *_, lifetime, sequence = waiting.pop(0)
            free_rows -= sequence.rows
            admitted.append(sequence)
            cancel_at[sequence] = step + lifetime if lifetime else NEVER
        assert not batch.admit(admitted)
        batch.step()
        batch.compact_if_sparse()
        step += 1
    for _, text, settings, lifetime, sequence in sequences:
        if (text, settings) not in tokens_alone:
            tokens_alone[text, settings] = run_alone(batch, new_sequence(tokenizer, config, text, settings))
        if sequence.finish_reason:
            assert sequence.token_ids == tokens_alone[text, settings]
        else:
            assert lifetime, "only cancelled sequences have no finish reason"


def test_drafts_save_steps_and_do_not_change_the_result(bundle):
    batch, tokenizer, config = load(bundle)
    saved = 0
    for text in range(4):
        steps, tokens = {}, {}
        for drafts in (True, False):
            sequence = new_sequence(tokenizer, config, text, 0)
            batch.admit([sequence])
            if not drafts:
                batch._active[0].lookup = None
            steps[drafts] = 0
            while batch.sequences:
                batch.step()
                steps[drafts] += 1
            tokens[drafts] = sequence.token_ids
        assert tokens[True] == tokens[False]
        assert steps[True] <= steps[False]
        saved += steps[False] - steps[True]
    assert saved > 4


@pytest.mark.parametrize("kind", ["bundle", "static_bundle"])
def test_gaps_are_filled_by_new_sequences_or_closed_when_sparse(request, kind):
    batch, tokenizer, config = load(request.getfixturevalue(kind))
    cache, cancelled = batch.kv_cache, set()
    sequences = [new_sequence(tokenizer, config, text, 0) for text in range(5)]
    for number, sequence in enumerate(sequences):
        sequence.is_cancelled = lambda number=number: number in cancelled
        batch.admit([sequence])
    cancelled |= {1, 3}
    batch.step()
    assert (cache.step_rows, cache.gaps) == (5, 2)
    batch.admit([new_sequence(tokenizer, config, 6, 0)])
    assert (cache.step_rows, cache.gaps) == (5, 1)
    cancelled |= {0}
    batch.step()
    batch.compact_if_sparse()
    assert (cache.step_rows, cache.gaps) == (3, 0)
    while batch.sequences:
        batch.step()
    assert sequences[4].token_ids == run_alone(batch, new_sequence(tokenizer, config, 4, 0))
