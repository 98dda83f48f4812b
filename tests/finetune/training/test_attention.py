"""The fused attention against transformers' own: equal loss and gradients, fewer saved tensors."""

from contextlib import contextmanager

import pytest
import torch
from torch import nn
from transformers import AutoModelForSeq2SeqLM

from finetune.recipe import Lora
from finetune.training.attention import IS_TRANSFORMERS_5, fused_attention, set_dropout
from finetune.training.model import add_adapter
from tests.support.models import tiny_t5


@pytest.fixture(scope="module", params=["v1.0", "v1.1", "mt5"])
def folder(request, tmp_path_factory):
    return tiny_t5(tmp_path_factory.mktemp("attention") / "t5", request.param)


def network(folder, dropout: float):
    """A model with large position biases, so that a missing bias changes the result."""
    model = AutoModelForSeq2SeqLM.from_pretrained(folder)
    torch.manual_seed(1)
    for module in model.modules():
        if getattr(module, "has_relative_attention_bias", False):
            nn.init.normal_(module.relative_attention_bias.weight, std=3.0)
    set_dropout(model, dropout)
    return model


def adapted(folder, dropout: float = 0.0):
    model = add_adapter(network(folder, dropout), Lora(rank=4))
    torch.manual_seed(2)
    for name, values in model.named_parameters():
        if "lora_B" in name:
            nn.init.normal_(values, std=0.1)
    return model.train()


def step(model, context, bf16: bool = False):
    """Loss, gradients by name, and bytes that autograd saves, of three pairs of different length."""
    draw = torch.Generator().manual_seed(3)
    ids, labels = (torch.randint(3, 200, shape, generator=draw) for shape in ((3, 200), (3, 12)))
    mask = torch.ones_like(ids)
    for row, length in enumerate((200, 111, 9)):
        mask[row, length:] = 0
    labels[1, 5:] = -100
    own = {values.untyped_storage().data_ptr() for values in model.parameters()}
    saved = {}

    def pack(values):
        if values.untyped_storage().data_ptr() not in own:
            saved[values.untyped_storage().data_ptr()] = values.untyped_storage()
        return values

    torch.manual_seed(4)
    with context(model), torch.autocast("cpu", torch.bfloat16, enabled=bf16):
        with torch.autograd.graph.saved_tensors_hooks(pack, lambda values: values):
            loss = model(input_ids=ids, attention_mask=mask, labels=labels, use_cache=False).loss
        loss.backward()
    gradients = {name: values.grad for name, values in model.named_parameters() if values.grad is not None}
    return loss.detach(), gradients, sum(storage.nbytes() for storage in saved.values())


@contextmanager
def unfused_attention(model):
    """Inside the block, transformers' attention in single operations, which transformers 4 always has for T5."""
    model.set_attn_implementation("eager")
    yield


def test_adapter_gets_the_same_gradients_from_less_memory(folder):
    plain, fused = (step(adapted(folder), context) for context in (unfused_attention, fused_attention))
    torch.testing.assert_close(fused[0], plain[0], rtol=1e-5, atol=0)
    assert fused[1].keys() == plain[1].keys()
    for name, values in plain[1].items():
        assert (fused[1][name] - values).norm() / values.norm() < 1e-4, name
    if not IS_TRANSFORMERS_5:  # which keeps a mask of (batch, heads, queries, keys) for each layer
        assert fused[2] < 0.8 * plain[2]


def test_compiled_model_computes_the_same_loss(folder):
    @contextmanager
    def compiled(model):
        model.compile(backend="eager")  # traced by Dynamo, without a C compiler
        with fused_attention(model):
            yield

    plain, fused = (step(adapted(folder), context) for context in (unfused_attention, compiled))
    torch.testing.assert_close(fused[0], plain[0], rtol=1e-5, atol=0)


def test_bf16_is_as_close_to_fp32_as_transformers(folder):
    def flat(gradients):
        return torch.cat([gradients[name].flatten() for name in sorted(gradients)])

    exact = flat(step(adapted(folder), unfused_attention)[1])
    plain, fused = (
        flat(step(adapted(folder), context, bf16=True)[1]) for context in (unfused_attention, fused_attention)
    )
    assert (fused - exact).norm() < 1.3 * (plain - exact).norm()


def test_trained_biases_and_dropout_use_transformers_attention(folder):
    plain, fused = (step(network(folder, 0.0).train(), context) for context in (unfused_attention, fused_attention))
    assert any("relative_attention_bias" in name for name in plain[1])
    for name, values in plain[1].items():
        assert (fused[1][name] - values).norm() <= 1e-4 * values.norm(), name
    plain, fused = (step(adapted(folder, 0.5), context) for context in (unfused_attention, fused_attention))
    assert fused[0] == plain[0] != step(adapted(folder), unfused_attention)[0]


def test_block_restores_the_model_and_keeps_the_adapters_dropout(folder):
    model = add_adapter(network(folder, 0.0), Lora(rank=4, dropout=0.25))
    with fused_attention(model):
        pass
    assert not [module for module in model.modules() if "forward" in vars(module)]
    set_dropout(model, 0.0)
    rates = {module.p for name, module in model.named_modules() if isinstance(module, nn.Dropout)}
    assert rates == {0.0, 0.25}
