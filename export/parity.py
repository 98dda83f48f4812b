"""Measures whether the engine on a bundle says what PyTorch `generate` says on the merged model."""

from dataclasses import dataclass

import numpy as np
import torch
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from engine import Engine, Generation
from finetune.progress import track
from finetune.recipe import Recipe
from finetune.rouge import KINDS, mean_interval, rouge_by_document
from finetune.scoring import encode, generate, generation_config

TIE = 1e-4  # scores of PyTorch's two best tokens that lie nearer than this may fall either way


@dataclass(frozen=True)
class Parity:
    """The content of parity.json, and what explains a failure."""

    report: dict
    differing: list[int]  # documents whose summaries differ without a tie
    rouge: dict[str, dict[str, np.ndarray]]  # by system and kind, (documents,)


@torch.inference_mode()
def measure(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerFast,
    engine: Engine,
    documents: list[str],
    references: list[str],
    recipe: Recipe,
) -> Parity:
    """Summarizes `documents` with both and compares summaries, ROUGE and teacher-forced logits."""
    model.eval()
    inputs = encode(tokenizer, documents, recipe)
    expected = generate(model, tokenizer, inputs, recipe, "PyTorch's summaries")
    served = engine.generate(documents, Generation(long_text="truncate"))
    texts = {
        "pytorch": [tokenizer.decode(tokens, skip_special_tokens=True) for tokens in expected],
        "onnx": [summary.text for summary in served],
    }
    rouge = {system: rouge_by_document(summaries, references) for system, summaries in texts.items()}
    delta = {kind: rouge["onnx"][kind] - rouge["pytorch"][kind] for kind in KINDS}

    special = {model.generation_config.pad_token_id, *np.atleast_1d(model.generation_config.eos_token_id)}
    plain = [[token for token in tokens if token not in special] for tokens in expected]
    unlike = [
        i for i, summary in enumerate(served) if summary.token_ids != plain[i] or summary.text != texts["pytorch"][i]
    ]
    ties = [i for i in unlike if _is_tie(model, inputs[i], expected[i], served[i].token_ids, recipe)]
    largest, mean = _logit_difference(model, engine, inputs, expected)
    differing = sorted(set(unlike) - set(ties))
    report = {
        "documents": len(documents),
        "pytorch": {kind: round(float(values.mean()), 3) for kind, values in rouge["pytorch"].items()},
        "onnx": {kind: round(float(values.mean()), 3) for kind, values in rouge["onnx"].items()},
        "delta": {kind: round(float(values.mean()), 3) for kind, values in delta.items()},
        "delta_ci95": {kind: [round(end, 3) for end in mean_interval(values)[1]] for kind, values in delta.items()},
        "identical_summaries": len(documents) - len(unlike),
        "ties": len(ties),
        "max_abs_logit_difference": largest,
        "mean_abs_logit_difference": mean,
        "tolerance": recipe.export.tolerance,
        "passed": not differing and largest <= recipe.export.tolerance,
    }
    return Parity(report, differing, rouge)


def _is_tie(model: PreTrainedModel, ids: list[int], expected: list[int], served: list[int], recipe: Recipe) -> bool:
    """Whether PyTorch itself was undecided where the two part: `expected` with, `served` without its end token.

    Greedy: its scores of the two tokens at the first step that differs; beams: its scores of the two whole summaries.
    """
    end = model.generation_config.eos_token_id
    config = generation_config(recipe, model)
    if config.num_beams == 1:
        step = next(
            (i for i, (a, b) in enumerate(zip(expected, served, strict=False)) if a != b),
            min(len(expected), len(served)),
        )
        config.output_scores = config.return_dict_in_generate = True
        scores = model.generate(torch.tensor([ids]), generation_config=config).scores
        if step >= len(scores):
            return False
        token = served[step] if step < len(served) else end
        return float(scores[step][0].max() - scores[step][0][token]) < TIE
    served = [*served, end] if len(served) < config.max_new_tokens else served
    return abs(_sequence_score(model, ids, expected, config) - _sequence_score(model, ids, served, config)) < TIE


def _sequence_score(model: PreTrainedModel, ids: list[int], tokens: list[int], config) -> float:
    """Sum of log-probabilities over the length penalty, as beam search ranks finished sequences."""
    logits = model(input_ids=torch.tensor([ids]), labels=torch.tensor([tokens])).logits[0]
    chosen = logits.log_softmax(-1)[torch.arange(len(tokens)), torch.tensor(tokens)]
    return float(chosen.sum()) / len(tokens) ** config.length_penalty


def _logit_difference(
    model: PreTrainedModel, engine: Engine, inputs: list[list[int]], tokens: list[list[int]]
) -> tuple[float, float]:
    """Largest and mean absolute difference of logits where both are fed PyTorch's tokens.

    PyTorch sees all steps at once, the engine one after another through its caches, batched as it serves.
    """
    largest, total, count = 0.0, 0.0, 0
    for first in track(range(0, len(inputs), 32), "logits, step by step"):
        batch = range(first, min(first + 32, len(inputs)))
        stepped = engine.teacher_forced_logits([inputs[i] for i in batch], [tokens[i] for i in batch])
        for i, ours in zip(batch, stepped, strict=True):
            theirs = model(input_ids=torch.tensor([inputs[i]]), labels=torch.tensor([tokens[i]])).logits[0].numpy()
            difference = np.abs(ours - theirs)
            # NaN compares false with everything; it must not pass for small.
            largest = max(largest, float(np.nan_to_num(difference, nan=np.inf).max()))
            total, count = total + float(difference.sum()), count + difference.size
    return largest, total / count
