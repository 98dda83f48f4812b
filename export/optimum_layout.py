"""The layout of Optimum, for tools that read it: ORTModelForSeq2SeqLM.from_pretrained loads the folder."""

import logging
import warnings
from pathlib import Path

import numpy as np
import torch
from optimum.exporters.onnx import main_export
from optimum.onnxruntime import ORTModelForSeq2SeqLM
from transformers import PreTrainedTokenizerFast

from export.parity.systems import Torch
from finetune.errors import UserError
from finetune.recipe import Recipe


def write_optimum(merged: Path, folder: Path) -> None:
    """Optimum's own export of the model folder `merged`: encoder, decoder and decoder with past, in fp32."""
    logging.getLogger("optimum").setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        main_export(str(merged), folder, task="text2text-generation-with-past", do_validation=False)


def load_optimum(folder: Path) -> ORTModelForSeq2SeqLM:
    """The folder in Optimum's runtime. Raises UserError where it cannot be loaded."""
    if not folder.is_dir():
        raise UserError(f"The folder {folder}, which the run was imported from, is gone: import it again.")
    try:
        model = ORTModelForSeq2SeqLM.from_pretrained(folder)
    except Exception as error:  # ONNX Runtime's exceptions share no base of their own
        raise UserError(f"{folder} cannot be loaded by Optimum: {str(error).splitlines()[0]}") from error
    # It takes d_model / heads for the width of a head, which T5 v1.1 does not keep to (optimum-onnx 0.1.0).
    for part in (model.decoder, model.decoder_with_past):
        if part is not None:
            part.embed_size_per_head = model.config.d_kv
    return model


class Optimum(Torch):
    """Optimum's runtime as a system of a chain; `generate` is transformers' own."""

    def __init__(self, name: str, folder: Path, tokenizer: PreTrainedTokenizerFast, recipe: Recipe) -> None:
        self.name, self.tokenizer, self.recipe = name, tokenizer, recipe
        self.model = load_optimum(folder)

    @torch.inference_mode()
    def logits(self, inputs: list[list[int]], tokens: list[list[int]]) -> list[np.ndarray]:
        source = self.tokenizer.pad({"input_ids": inputs}, return_tensors="pt")
        width = max(map(len, tokens))
        start = self.model.generation_config.decoder_start_token_id
        fed = torch.tensor([[start, *row[:-1], *row[-1:] * (width - len(row))] for row in tokens])
        found = self.model(**source, decoder_input_ids=fed).logits.numpy()
        return [found[row, : len(own)] for row, own in enumerate(tokens)]
