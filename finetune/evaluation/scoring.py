"""Generates summaries with a PyTorch model, and compares base and fine-tuned model by ROUGE."""

from typing import Any

import torch
from peft import PeftModel
from transformers import GenerationConfig, PreTrainedModel, PreTrainedTokenizerFast

from finetune.data.tokenizing import encode
from finetune.evaluation.ranking import rank
from finetune.evaluation.rouge import lead_sentence, mean_interval, mean_scores, rouge_by_document, rounded_interval
from finetune.evaluation.sentence_ranker import SentenceRanker
from finetune.recipe import Recipe
from finetune.reports.progress import track
from precis.bundle.reports import RougeReport

# transformers' own, which its version 5 fills in only while it generates.
DEFAULTS = {"num_beams": 1, "repetition_penalty": 1.0, "length_penalty": 1.0}


def generation_config(recipe: Recipe, model: PreTrainedModel) -> GenerationConfig:
    """The model's special tokens with the recipe's generation parameters.

    To be given to `generate_by`.
    """
    own = model.generation_config or GenerationConfig()
    settings = DEFAULTS | recipe.generation.model_dump(exclude_none=True)
    return GenerationConfig(
        decoder_start_token_id=own.decoder_start_token_id,
        eos_token_id=own.eos_token_id,
        pad_token_id=own.pad_token_id,
        **settings,
    )


def generate_by(config: GenerationConfig, model: PreTrainedModel | PeftModel, **inputs: Any) -> Any:
    """What `model.generate` returns for `inputs` by the parameters of `config` alone.

    transformers takes the model's own parameters where those that it is given have its default values. So the model
    has those of `config` for the time of the call.
    """
    network: Any = model.get_base_model() if isinstance(model, PeftModel) else model
    own, network.generation_config = network.generation_config, config
    try:
        return model.generate(**inputs, generation_config=config)  # type: ignore[operator]  # typed as a Tensor
    finally:
        network.generation_config = own


@torch.inference_mode()
def generate(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, inputs: list[list[int]], recipe: Recipe, title: str
) -> list[list[int]]:
    """The new tokens for each input, in the inputs' order, end token included. `title` labels the progress bar.

    Inputs of similar length share a batch. In a distributed run each process generates a part of the batches, and all
    processes return the complete result.
    """
    config = generation_config(recipe, model)
    order = sorted(range(len(inputs)), key=lambda i: -len(inputs[i]))
    outputs: list[list[int]] = [[] for _ in inputs]
    size = recipe.training.eval_batch_size
    distributed = torch.distributed.is_initialized()
    rank, world = (torch.distributed.get_rank(), torch.distributed.get_world_size()) if distributed else (0, 1)
    for start in track(range(rank * size, len(order), world * size), title):
        rows = order[start : start + size]
        batch = tokenizer.pad({"input_ids": [inputs[i] for i in rows]}, return_tensors="pt").to(model.device)
        generated = generate_by(config, model, **batch)
        for i, tokens in zip(rows, generated.tolist(), strict=True):
            outputs[i] = strip_padding(tokens[1:], config.eos_token_id, config.pad_token_id)
    if distributed:
        gathered: list[list[list[int]]] = [[]] * world
        torch.distributed.all_gather_object(gathered, outputs)
        outputs = [max(candidates, key=len) for candidates in zip(*gathered, strict=True)]
    return outputs


def strip_padding(tokens: list[int], end: int | list[int] | None, padding: int | None) -> list[int]:
    """`tokens` up to the first `end` token, without `padding` tokens.

    Shorter rows of a batch are padded: by greedy search with the padding token and, in transformers 4.57, by beam
    search with the end token if the padding token is 0. A model may also write padding tokens before others; the
    engine's summaries have none.
    """
    ends = end if isinstance(end, list) else [end]
    length = next((index for index, token in enumerate(tokens) if token in ends), len(tokens)) + 1
    return [token for token in tokens[:length] if token != padding or token in ends]


def summarize(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerFast,
    documents: list[str],
    recipe: Recipe,
    title: str,
    ranker: SentenceRanker | None = None,
) -> list[str]:
    """The summary of each document, in the documents' order. `title` labels the progress bar.

    The recipe's `generation.mode` says whether the model writes it or chooses sentences; `ranker` is the model's
    sentence ranker, if it has one.
    """
    model.eval()
    if recipe.generation.mode == "extract":
        return [ranking.summary for ranking in rank(model, tokenizer, documents, recipe, title, ranker)]
    tokens = generate(model, tokenizer, encode(tokenizer, documents, recipe), recipe, title)
    return tokenizer.batch_decode(tokens, skip_special_tokens=True)


def rouge_report(
    documents: list[str], base: list[str], finetuned: list[str], references: list[str], recipe: Recipe
) -> RougeReport:
    """ROUGE of the lead sentences and of both models' summaries against the references: the content of rouge.json."""
    systems = {"lead": [lead_sentence(document) for document in documents], "base": base, "finetuned": finetuned}
    scores = {system: rouge_by_document(summaries, references) for system, summaries in systems.items()}
    differences = {kind: scores["finetuned"][kind] - scores["base"][kind] for kind in scores["base"]}
    return RougeReport(
        split=recipe.data.validation or "held back from data.train",
        documents=len(references),
        generation=recipe.generation.model_dump(),
        lead=mean_scores(scores["lead"]),
        base=mean_scores(scores["base"]),
        finetuned=mean_scores(scores["finetuned"]),
        paired_difference_ci95={
            kind: rounded_interval(mean_interval(values)[1]) for kind, values in differences.items()
        },
    )
