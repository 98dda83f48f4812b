"""Projections of the fine-tuning variants against counted operations, and the lengths of their texts."""

import pytest

from benchmarks.variants import LIMIT, epoch_minutes, lengths, operations


def test_lengths_resemble_those_of_xsum_and_an_epoch_is_projected_from_the_rate():
    documents, summaries = zip(*lengths(20_000), strict=True)
    assert max(documents) == LIMIT
    assert sum(documents) / 20_000 == pytest.approx(430, abs=5)
    assert sum(summaries) / 20_000 == pytest.approx(27, abs=0.5)
    assert epoch_minutes(204_045 / 60) == pytest.approx(1.0)


def test_operations_of_a_training_step_agree_with_pytorch_flop_counter():
    import torch
    from torch.utils.flop_counter import FlopCounterMode
    from transformers import T5Config, T5ForConditionalGeneration

    from finetune.recipe import Lora
    from finetune.training.model import add_adapter

    document, summary, lora = 96, 32, Lora()
    config = T5Config(decoder_start_token_id=0, vocab_size=2048, d_model=256, d_kv=32, d_ff=512, num_layers=3)
    network = add_adapter(T5ForConditionalGeneration(config), lora)
    ids = torch.randint(2, 2000, (1, document)), torch.randint(2, 2000, (1, summary))
    with FlopCounterMode(display=False) as counter:
        network(input_ids=ids[0], labels=ids[1], use_cache=False).loss.backward()
    # The lowest layers' inputs take no gradient, which is no more than a few hundredths here.
    assert operations(config, lora.rank, document, summary) == pytest.approx(counter.get_total_flops(), rel=0.05)
