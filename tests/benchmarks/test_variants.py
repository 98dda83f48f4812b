"""Projections of the fine-tuning variants against counted operations, and the lengths of their texts."""

import pytest

from benchmarks.variants import LIMIT, epoch_minutes, lengths, operations


def test_lengths_resemble_those_of_xsum_and_an_epoch_is_projected_from_the_rate():
    documents, summaries = zip(*lengths(20_000), strict=True)
    assert max(documents) == LIMIT
    assert sum(documents) / 20_000 == pytest.approx(430, abs=5)
    assert sum(summaries) / 20_000 == pytest.approx(27, abs=0.5)
    assert epoch_minutes(204_045 / 60) == pytest.approx(1.0)


def test_operations_are_those_of_the_weights():
    """Of a frozen base twice the weights a token forward, as much for the gradients of its activations."""
    from transformers import T5Config, T5ForConditionalGeneration

    from finetune.recipe import Lora
    from finetune.training.model import add_adapter

    config = T5Config(decoder_start_token_id=0, vocab_size=2048, d_model=256, d_kv=32, d_ff=512, num_layers=3)
    network = add_adapter(T5ForConditionalGeneration(config), Lora(rank=1))
    blocks = network.encoder.block, network.decoder.block
    encoder, decoder = (sum(weight.numel() for weight in part.parameters()) for part in blocks)
    keys = 3 * 2 * 256 * 8 * 32  # of the decoder's cross-attention, computed for the document
    tokens = 96, 32
    expected = 4 * (tokens[0] * (encoder + keys) + tokens[1] * (decoder - keys + 2048 * 256))
    assert operations(network, *tokens) == pytest.approx(expected, rel=0.1)
    assert not any(weight.grad is not None and weight.grad.any() for weight in network.parameters())
