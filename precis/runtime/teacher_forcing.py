"""The decoder's logits for tokens that are given instead of chosen, as parity checks need them."""

import numpy as np
import numpy.typing as npt

from precis.runtime.kv_cache import Prefill
from precis.runtime.model import Seq2SeqModel
from precis.runtime.model_runner import new_model_runner


def teacher_forced_logits(
    model: Seq2SeqModel, inputs: list[list[int]], tokens: list[list[int]], start_token: int
) -> list[npt.NDArray[np.float32]]:
    """The logits (steps, vocabulary) for each of `inputs` when the decoder is fed `start_token` and its `tokens`.

    With the sessions and the KV cache of serving, all inputs in one batch. Raises what the encoder raises.
    """
    runner = new_model_runner(model, len(inputs), max(map(len, inputs)), cuda_graphs=False)
    rows = runner.kv_cache.allocate(len(inputs))
    steps = max(map(len, tokens))
    for error in runner.prefill([Prefill(rows[i : i + 1], ids, steps) for i, ids in enumerate(inputs)]):
        if error:
            raise error
    decoder_input_ids = np.array([[start_token, *row, *row[-1:] * (steps - len(row))] for row in tokens])
    logits = []
    for step in range(steps):
        logits.append(runner.decode(decoder_input_ids[:, step : step + 1])[:, 0].copy())
        runner.kv_cache.past_length += 1
    stacked = np.stack(logits, axis=1)
    return [stacked[row, : len(tokens[row])] for row in range(len(tokens))]
