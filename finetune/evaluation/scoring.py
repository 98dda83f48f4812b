"""Generates summaries with a PyTorch model and scores base against fine-tuned on the same documents."""

import torch
from transformers import GenerationConfig, PreTrainedModel, PreTrainedTokenizerFast

from finetune.evaluation.rouge import lead_sentence, mean_interval, rouge_by_document, summarized
from finetune.recipe import Recipe
from finetune.reports.progress import track


def generation_config(recipe: Recipe, model: PreTrainedModel) -> GenerationConfig:
    """The model's own special tokens with the recipe's search settings.

    For `generate` with `use_model_defaults=False`: it would else prefer the model's own value of every setting that is
    transformers' default here.
    """
    own = model.generation_config
    settings = recipe.generation.model_dump(exclude_none=True)
    return GenerationConfig(
        decoder_start_token_id=own.decoder_start_token_id,
        eos_token_id=own.eos_token_id,
        pad_token_id=own.pad_token_id,
        **settings,
    )


def encode(tokenizer: PreTrainedTokenizerFast, documents: list[str], recipe: Recipe) -> list[list[int]]:
    """Input tokens of each document with prefix and end token, cut to the recipe's length."""
    texts = [recipe.model.prefix + document for document in documents]
    return tokenizer(texts, truncation=True, max_length=recipe.data.max_document_tokens).input_ids


@torch.inference_mode()
def generate(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, inputs: list[list[int]], recipe: Recipe, title: str
) -> list[list[int]]:
    """New tokens for each input, in order, end token included; inputs of like length share a batch.

    The processes of a distributed run share the batches out among themselves, and each gets all of the answer.
    """
    config = generation_config(recipe, model)
    order = sorted(range(len(inputs)), key=lambda i: -len(inputs[i]))
    outputs: list[list[int]] = [[] for _ in inputs]
    size = recipe.training.eval_batch_size
    together = torch.distributed.is_initialized()
    rank, world = (torch.distributed.get_rank(), torch.distributed.get_world_size()) if together else (0, 1)
    for start in track(range(rank * size, len(order), world * size), title):
        chosen = order[start : start + size]
        batch = tokenizer.pad({"input_ids": [inputs[i] for i in chosen]}, return_tensors="pt").to(model.device)
        found = model.generate(**batch, generation_config=config, use_model_defaults=False)
        for i, tokens in zip(chosen, found.tolist(), strict=True):
            outputs[i] = _ended(tokens[1:], config)
    if together:
        shares = [None] * world
        torch.distributed.all_gather_object(shares, outputs)
        outputs = [max(answers, key=len) for answers in zip(*shares, strict=True)]
    return outputs


def _ended(tokens: list[int], config: GenerationConfig) -> list[int]:
    """`tokens` up to their end token. What fills up the shorter ones of a batch is padding after greedy search and, in
    transformers 4.57, the end token after beam search where padding is 0."""
    ends = config.eos_token_id if isinstance(config.eos_token_id, list) else [config.eos_token_id]
    for place, token in enumerate(tokens):
        if token in ends:
            return tokens[: place + 1]
    while tokens and tokens[-1] == config.pad_token_id:
        tokens.pop()
    return tokens


def summarize(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, documents: list[str], recipe: Recipe, title: str
) -> list[str]:
    """A summary for each document, in order."""
    model.eval()
    tokens = generate(model, tokenizer, encode(tokenizer, documents, recipe), recipe, title)
    return tokenizer.batch_decode(tokens, skip_special_tokens=True)


def compare(
    documents: list[str], base: list[str], finetuned: list[str], references: list[str], recipe: Recipe
) -> dict[str, object]:
    """The content of rouge.json: lead sentences and both systems' summaries against the references."""
    systems = {"lead": [lead_sentence(document) for document in documents], "base": base, "finetuned": finetuned}
    scores = {system: rouge_by_document(summaries, references) for system, summaries in systems.items()}
    differences = {kind: scores["finetuned"][kind] - scores["base"][kind] for kind in scores["base"]}
    return {
        "split": recipe.data.validation or "held back from data.train",
        "documents": len(references),
        "generation": recipe.generation.model_dump(),
        **{system: summarized(values) for system, values in scores.items()},
        "paired_difference_ci95": {
            kind: [round(end, 2) for end in mean_interval(values)[1]] for kind, values in differences.items()
        },
    }
