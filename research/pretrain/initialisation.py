"""A T5 whose initial weights can copy from the first step: an induction circuit (Olsson et al. 2022) set by hand.

A summarizer's first skill is to copy a name from the text. From random weights it appears late or, on a small budget,
never. It takes two parts, and both are initialized here: an encoder head that stores at each position which token came
before, and cross-attention that finds the position whose stored token is the one just written, and passes on the token
there. All other output matrices are zero at first, so that the rest of the network learns around the circuit.
"""

import torch
from transformers import T5Config, T5ForConditionalGeneration

from research.pretrain.recipe import Network

SENTINELS = 64
PREVIOUS, NEXT = 1, 17  # buckets of T5's relative positions -1 and +1 (the encoder's; the decoder has the first alone)
ATTENTION = 8.0  # a neighbour's bias against some 250 others at about 0: nine tenths of the head's attention
# A match then scores about 8, a mismatch about 0 +- 1; sharper ones copy worse (docs/log.md#copy-initialisation).
SHARPNESS = 0.1


def fresh_model(network: Network, seed: int) -> T5ForConditionalGeneration:
    """A T5 (gated GELU, tied embeddings) in fp32 with this module's initial weights, which depend on the seed alone."""
    torch.manual_seed(seed)
    config = T5Config(
        vocab_size=network.vocabulary + SENTINELS,
        d_model=network.d_model,
        d_kv=network.d_kv,
        d_ff=network.d_ff,
        num_layers=network.layers,
        num_decoder_layers=network.layers,
        num_heads=network.heads,
        feed_forward_proj="gated-gelu",
        dropout_rate=0.0,
        decoder_start_token_id=0,
        tie_word_embeddings=True,
    )
    model = T5ForConditionalGeneration(config)
    with torch.no_grad():
        initialize_copying(model)
    return model


def initialize_copying(model: T5ForConditionalGeneration) -> None:
    """Writes the circuit into the weights of `model`, in place."""
    config = model.config
    model.shared.weight.mul_(0.5)
    for stack in (model.encoder, model.decoder):
        for block in stack.block:
            for layer in block.layer:
                for name, weight in layer.named_parameters():
                    if name.endswith((".o.weight", ".wo.weight")):
                        weight.zero_()
    encoder = model.encoder.block[0].layer[0].SelfAttention
    decoder = model.decoder.block[0].layer[0].SelfAttention
    encoder.relative_attention_bias.weight[PREVIOUS, 0] += ATTENTION
    encoder.relative_attention_bias.weight[NEXT, 1] += ATTENTION
    decoder.relative_attention_bias.weight[PREVIOUS, 0] += ATTENTION

    reads, writes = (torch.nn.init.orthogonal_(torch.empty(config.d_kv, config.d_model)) for _ in range(2))
    encoder.v.weight[: config.d_kv] = reads
    encoder.o.weight[:, : config.d_kv] = writes.T
    for block in (model.decoder.block[len(model.decoder.block) // 2], model.decoder.block[-1]):
        cross = block.layer[1].EncDecAttention
        cross.q.weight.copy_(reads.repeat(config.num_heads, 1) * SHARPNESS)
        cross.k.weight.copy_(writes.repeat(config.num_heads, 1))
        torch.nn.init.orthogonal_(cross.v.weight)
        cross.o.weight.copy_(cross.v.weight.T)
